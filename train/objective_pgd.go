package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// PGD is cross-entropy on adversarial examples (Madry et al. 2018): projected
// gradient ascent of the cross-entropy from a random point of the ball.
const PGD Method = "pgd"

var pgd = objective{
	name:  PGD,
	about: "cross-entropy on adversarial examples (Madry et al. 2018)",
	defaults: func(c *Config) {
		c.Epochs, c.TrainEps = 12, net.MustEpsilon("0.12")
		c.PGDSteps, c.PGDStepSize = 7, 0.35
	},
	settings: []*Setting{&pgdSteps, &pgdStepSize, &norm, &overfitting, &awp, &awpWarmup, &labelSmoothing},
	needs: needs{
		clean: logits, points: gradient,
		attack: &inner{start: startUniform, noise: wholeBallNoise, ascend: ascendCrossEntropy, crossEntropy: true},
	},
	loss: func(c *Config, e *example) {
		e.loss = crossEntropy(c, e.dPoints, e.points, e.y)
		scaleBy(e.dPoints, e.scale)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, net.Argmax(e.points) == e.y
	},
}

// startUniform draws from the whole box.
func startUniform(_ *Config, _ point, s *kernels.Stream, _, lo, hi float32) float32 {
	return lo + float32(s.Float32()*(hi-lo))
}

// wholeBallNoise does so in L2.
func wholeBallNoise(*Config) float64 { return 1 }

func ascendCrossEntropy(dz, z, _ []float32, y int) {
	net.CrossEntropy.Gradient(dz, z, y, net.Untargeted)
}
