package train

import (
	"github.com/epsball/epsball/net"
)

// SABR is κ·CE(clean) + (1−κ)·CE(interval bounds over a small box) (Müller et al. 2023):
// the box of radius τ = λ·ε around an adversarial point x′ that was found in the ball of
// radius ε − τ, and so within the ball of radius ε. The paper has κ = 0.
const SABR Method = "sabr"

var sabr = objective{
	name:  SABR,
	about: "cross-entropy on interval bounds of small boxes around adversarial examples (Müller et al. 2023)",
	defaults: func(c *Config) {
		c.TrainEps = net.MustEpsilon("0.1")
		c.Epochs, c.WarmupEpochs, c.RampEpochs, c.KappaStart = 30, 1, 9, 0
		c.Subbox, c.PGDSteps, c.PGDStepSize = 0.4, 8, 0.5
	},
	settings: []*Setting{&pgdSteps, &pgdStepSize, &kappaFinal, &subbox, &tightness},
	accepts:  acceptsIntervals,
	needs: needs{
		clean:  gradient,
		attack: &inner{start: startUniform, ascend: ascendCrossEntropy, radius: aroundSubbox, length: shareOf(aroundSubbox)},
		boxes:  subboxes,
		boxed:  ibp.needs.boxed,
	},
	loss: ibp.loss,
}

// aroundSubbox is the radius of the ball of the small boxes' centres.
func aroundSubbox(c *Config, at point) float64 { return at.eps - float64(c.Subbox*at.eps) }

// shareOf is the length of the steps of an attack whose ball grows with the schedule:
// PGDStepSize of its radius.
func shareOf(radius func(c *Config, at point) float64) func(c *Config, at point) float64 {
	return func(c *Config, at point) float64 { return c.PGDStepSize * radius(c, at) }
}

// subboxes bounds the boxes of radius τ around the points, within ball and pixel range.
func subboxes(c *Config, lo, hi, x, points []float32, at point) {
	box(lo, hi, x, at.eps)
	tau := float32(c.Subbox * at.eps)
	lo, hi = lo[:len(points)], hi[:len(points)]
	for i, v := range points {
		lo[i], hi[i] = max(lo[i], v-tau), min(hi[i], v+tau)
	}
}
