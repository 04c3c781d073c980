package train

import (
	"github.com/epsball/epsball/net"
)

// MTLIBP is (1−α)·CE(f(x′)) + α·CE(interval bounds) (De Palma et al. 2024): between the
// loss under an attack and that of the bounds lies the loss of the worst case, which a
// small α can approach from above. The attack may search another ball than is bounded, a
// larger one in their experiments on CIFAR-10.
const MTLIBP Method = "mtl-ibp"

var mtlibp = objective{
	name:  MTLIBP,
	about: "cross-entropy on adversarial examples and on interval bounds (De Palma et al. 2024)",
	defaults: func(c *Config) {
		c.TrainEps = net.MustEpsilon("0.1")
		c.Epochs, c.WarmupEpochs, c.RampEpochs = 30, 1, 9
		c.Alpha, c.AttackScale, c.PGDSteps, c.PGDStepSize = 0.1, 1, 1, 2
	},
	settings: []*Setting{&pgdSteps, &pgdStepSize, &alpha, &attackScale, &tightness},
	accepts:  acceptsIntervals,
	needs: needs{
		clean: logits, points: gradient,
		attack: &inner{start: startUniform, ascend: ascendCrossEntropy, radius: attackRadius, length: shareOf(attackRadius)},
		boxes:  wholeBall,
		boxed:  func(c *Config, _ point) bool { return c.Alpha > 0 },
	},
	loss: func(c *Config, e *example) {
		rest := float32(1 - c.Alpha)
		e.loss = float32(net.CrossEntropy.Gradient(e.dPoints, e.points, e.y, net.Untargeted) * rest)
		scaleBy(e.dPoints, e.scale*rest)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, false
		if e.worst == nil {
			return
		}
		a := float32(c.Alpha)
		e.loss += float32(net.CrossEntropy.Gradient(e.dWorst, e.worst, e.y, net.Untargeted) * a)
		scaleBy(e.dWorst, e.scale*a)
		e.robustRight = certified(e.worst, e.y)
	},
}

// attackRadius is the radius of the ball of adversarial points.
func attackRadius(c *Config, at point) float64 { return float64(c.AttackScale * at.eps) }
