package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
)

// probe finds the points x + h·g/‖g‖₂, g being the gradient at x of what is ascended and h
// Config.Probe; it is x where g is 0. Differences over a probe give the gradient of ‖g‖² to
// the weights without second derivatives, g/‖g‖ being a constant (Finlay & Oberman 2021,
// section 3.2). Probes may leave the pixel range: a difference there is as good as any.
//
// The norm is wrong by about h/2 times the curvature along the probe. Where a probe crosses
// the kink of a ReLU, the gradient of the difference has a jump over h: noise that grows as h
// falls. Much of it is what second derivatives miss, that kinks move with the weights.
// Float32 rounds far below either (testdata/golden/measure_probes.py).
func probe(a inner) *inner {
	a.start = startThere
	a.steps = func(*Config) int { return 1 }
	a.move = moveProbe
	a.probe, a.unclipped = true, true
	return &a
}

// moveProbe moves each image by h along its gradient. Norms are summed in float64, an
// image's pixels in order.
func moveProbe(s *stepper, p *part, grad []float32, groups int) {
	size := len(grad) / groups
	for g := range groups {
		d, x := grad[g*size:][:size], p.adv[g*size:][:size]
		var rate [kernels.Lanes]float64
		for i, v := range d {
			rate[i%kernels.Lanes] += float64(v) * float64(v)
		}
		for l, squares := range rate {
			if squares > 0 {
				rate[l] = s.c.Probe / math.Sqrt(squares)
			}
		}
		for i, v := range d {
			x[i] = float32(float64(x[i]) + float64(rate[i%kernels.Lanes]*float64(v)))
		}
	}
}
