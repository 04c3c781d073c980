package attack

import (
	"math"

	"github.com/epsball/epsball/net"
)

func (s *Space) stepL2(x, g []float32, alpha *each64) { StepL2(s.Layout, x, g, alpha) }

func (s *Space) projectL2(x, lo, hi, centre []float32) {
	ProjectL2(s.Layout, x, lo, hi, centre, s.eps)
}

// StepL2 is x ← x + α·g/‖g‖₂ on a block of points, each image with its α, in
// float64 with every product rounded explicitly: the same bits everywhere. Points whose
// gradient is zero or not finite stay.
func StepL2(layout net.Layout, x, g []float32, alpha *[net.LaneGroups]float64) {
	w := int(layout)
	var norm2 each64
	for i := 0; i < len(g); i += w {
		for l, v := range g[i : i+w] {
			norm2[l] += float64(float64(v) * float64(v))
		}
	}
	var step each64
	for l, v := range norm2 {
		if v > 0 && !math.IsInf(v, 0) {
			step[l] = alpha[l] / math.Sqrt(v)
		}
	}
	for i := 0; i < len(g); i += w {
		for l := range w {
			if step[l] != 0 {
				x[i+l] += float32(step[l] * float64(g[i+l]))
			}
		}
	}
}

// ProjectL2 scales x − centre, a block of points less their images, into the ball of radius
// eps, each pixel rounded towards centre so that no rounding leads out again, and clamps it
// to [lo, hi], the pixel range or a box that holds centre, which only brings x nearer to
// centre.
func ProjectL2(layout net.Layout, x, lo, hi, centre []float32, eps float64) {
	w := int(layout)
	var norm2 each64
	for i := 0; i < len(x); i += w {
		for l := range w {
			d := float64(x[i+l]) - float64(centre[i+l])
			norm2[l] += float64(d * d)
		}
	}
	// The float64 norm of n pixels errs by less than (n + 8)/2·2⁻⁵³ of itself.
	limit := eps * (1 - max(1e-9, float64(len(x)/w+8)*0x1p-53))
	var scale each64
	for l, v := range norm2 {
		scale[l] = 1
		if n := math.Sqrt(v); n > limit {
			scale[l] = limit / n
		}
	}
	for i := 0; i < len(x); i += w {
		for l := range w {
			k := i + l
			if scale[l] != 1 {
				x[k] = towards(centre[k], float64((float64(x[k])-float64(centre[k]))*scale[l]))
			}
			x[k] = min(max(x[k], lo[k]), hi[k])
		}
	}
}

// towards returns c + d in float32, rounded towards c.
func towards(c float32, d float64) float32 {
	f := float32(float64(c) + d)
	if math.Abs(float64(f)-float64(c)) > math.Abs(d) {
		f = math.Nextafter32(f, c)
	}
	return f
}
