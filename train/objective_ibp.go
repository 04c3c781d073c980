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
	settings: []*Setting{&kappaFinal},
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

// acceptsIntervals refuses the models that type intervals cannot bound.
func acceptsIntervals(m *model.Model) error {
	if !m.Arch.Sequential() {
		return fieldErr("model", "a graph of layers", "a list, each reading the one before, for interval bounds")
	}
	layers := m.Arch.Layers
	for i := range layers {
		switch l := &layers[i]; {
		case l.Kind == model.ReLU && i > 0 && layers[i-1].HasMatrix():
		case l.Kind == model.Normalize, l.HasMatrix() && l.Groups == 0 && l.Dilation == [2]int{}:
		default:
			return fieldErr("model", fmt.Sprintf("%q as layer %d", l.Kind, i), "dense conv, fc and relu after them for interval bounds")
		}
	}
	if last := layers[len(layers)-1].Kind; last != model.FC {
		return fieldErr("model", fmt.Sprintf("%q as the last layer", last), "%q for clean images and on interval bounds (Gowal et al. 2018)", model.FC)
	}
	return nil
}
