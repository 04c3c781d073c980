package train

import (
	"fmt"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// IBP is κ·CE(clean) + (1−κ)·CE(interval bounds) (Gowal et al. 2018).
const IBP Method = "ibp"

var ibp = objective{
	name:  IBP,
	about: "cross-entropy on clean images and on interval bounds (Gowal et al. 2018)",
	defaults: func(c *Config) {
		c.TrainEps = net.MustEpsilon("0.1")
		c.Epochs, c.WarmupEpochs, c.RampEpochs, c.KappaFinal = 30, 1, 9, 0.5
	},
	settings: []*Setting{&kappaFinal, &tightness},
	accepts:  acceptsIntervals,
	needs: needs{
		clean: gradient,
		boxes: wholeBall,
		boxed: func(_ *Config, at point) bool { return at.kappa < 1 },
	},
	loss: func(_ *Config, e *example) {
		kappa := float32(e.at.kappa)
		e.loss = net.CrossEntropy.Gradient(e.dClean, e.clean, e.y, net.Untargeted) * kappa
		scaleBy(e.dClean, e.scale*kappa)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, false
		if e.worst == nil {
			return
		}
		rest := float32(1 - e.at.kappa)
		e.loss += float32(net.CrossEntropy.Gradient(e.dWorst, e.worst, e.y, net.Untargeted) * rest)
		scaleBy(e.dWorst, e.scale*rest)
		e.robustRight = certified(e.worst, e.y)
	},
}

// certified reports whether worst-case logits relative to the label's prove it.
func certified(worst []float32, y int) bool {
	for j, v := range worst {
		if j != y && !(v < 0) {
			return false
		}
	}
	return true
}

// wholeBall bounds the ball of the training radius.
func wholeBall(_ *Config, lo, hi, x, _ []float32, at point) { box(lo, hi, x, at.eps) }

// acceptsIntervals refuses the models whose last layer cannot be merged with the margins.
func acceptsIntervals(m *model.Model) error {
	if last := m.Arch.Layers[len(m.Arch.Layers)-1].Kind; last != model.FC {
		return fieldErr("model", fmt.Sprintf("%q as the last layer", last), "%q, which is merged with the margins", model.FC)
	}
	return nil
}
