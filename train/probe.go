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
// The difference is wrong by h times the curvature along the probe. Its gradient is a noisy
// one in networks with kinks: of the few probes that cross one, in proportion to h, the
// gradient differs at their ends by what does not depend on h, which is then divided by h.
// That is no error of the mean over many probes: second derivatives miss that the kinks
// move. The rounding of float32 matters far below the least h.
func probe(a inner) *inner {
	a.start = func(_ *Config, _ point, _ *kernels.Stream, x, _, _ float32) float32 { return x }
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
