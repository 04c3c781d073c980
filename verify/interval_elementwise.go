package verify

import (
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// 7a. Functions of one number. r′ ≥ r by (i), so an activation lies within r′ of c, and
// by step 3 between lo and hi, rounded outward as there. Where one of them, or hi − lo,
// is not finite both become NaN, lest a function that is bounded hides an overflow.
//
//   - ReLU and Clip are exact and monotone: lo and hi go through them.
//   - LeakyReLU with a slope s: sx is rounded once, rounding is monotone, and float64
//     holds s·lo and s·hi exactly. Rounded outward to float32 they bound sx, exact and
//     executed, of x ≤ 0; with s < 0 they change places, and 0 is a lower end where both
//     signs occur.
//   - Sigmoid and tanh are monotone. A certificate covers every implementation that is
//     within 2⁻²⁰ of the real function and in [0, 1] or [−1, 1]. Ours, with which the ends
//     are computed, errs by less than 2⁻²³, and the sum that widens an end by 2⁻²⁴ at most:
//     2⁻²⁰ + 2⁻²² cover all, and the range may be cut off. (Real arithmetic, (a), needs
//     2⁻²³ of it.)
//
// IntervalBox makes centre and r′ of the ends (3).

// smoothError is what the ends of a sigmoid or tanh are widened by.
const smoothError = 0x1p-20 + 0x1p-22

// elementwiseInterval is that of an Elementwise.
type elementwiseInterval struct{ op *net.Elementwise }

func (*elementwiseInterval) form() form                { return ends }
func (*elementwiseInterval) bytes() int                { return 0 }
func (*elementwiseInterval) room() (tensors, size int) { return 0, 0 }

func (e *elementwiseInterval) forward(p *pass, n *net.Node, lo, hi []float32) {
	p.ends(lo, hi, n.In[0])
	isa := p.net.ISA()
	switch e.op.Kind {
	case model.ReLU:
		isa.ReLU(lo, lo)
		isa.ReLU(hi, hi)
	case model.Clip:
		isa.Clip(lo, lo, e.op.Min, e.op.Max)
		isa.Clip(hi, hi, e.op.Min, e.op.Max)
	case model.LeakyReLU:
		e.slopes(int(p.layout), p.used(n.Shape.Size()), func(k int, s float32) {
			lo[k], hi[k] = leakyEnds(lo[k], hi[k], float64(s))
		})
	case model.Sigmoid:
		isa.Sigmoid(lo, lo)
		isa.Sigmoid(hi, hi)
		p.smooth(lo, hi, 0)
	case model.Tanh:
		isa.Tanh(lo, lo)
		isa.Tanh(hi, hi)
		p.smooth(lo, hi, -1)
	}
}

// smooth widens the ends of a function that goes from least to 1.
func (p *pass) smooth(lo, hi []float32, least float32) {
	if p.plain {
		return
	}
	by := float32(keep(termSmooth, smoothError))
	hi = hi[:len(lo)]
	for k, l := range lo {
		lo[k], hi[k] = max(l-by, least), min(hi[k]+by, 1)
	}
}

// slopes calls f for n elements with the slope of each.
func (e *elementwiseInterval) slopes(lanes, n int, f func(k int, s float32)) {
	for k := 0; k < n; k += lanes {
		s := e.op.Slope[k/lanes%len(e.op.Slope)]
		for l := k; l < k+lanes; l++ {
			f(l, s)
		}
	}
}

// leakyEnds takes ends through a LeakyReLU.
func leakyEnds(lo, hi float32, s float64) (float32, float32) {
	if s >= 0 {
		if !(lo > 0) {
			lo = down32(float64(lo) * s)
		}
		if !(hi > 0) {
			hi = up32(float64(hi) * s)
		}
		return lo, hi
	}
	l, h := lo, up32(float64(lo)*s)
	switch {
	case lo > 0:
		h = hi
	case !(hi > 0):
		l = down32(float64(hi) * s)
	default:
		l, h = 0, max(h, hi)
	}
	return l, h
}

// backward hands on the gradients to the ends, each through the slope at its end.
func (e *elementwiseInterval) backward(v *IntervalView, i int, dc, dr []float32) {
	k := v.steps[i].node.In[0]
	v.hand(k, func(c, r []float32) {
		xc, xr, yc, yr := v.c[k], v.r[k], v.c[i+1], v.r[i+1]
		if e.op.Kind == model.LeakyReLU {
			e.slopes(int(v.layout), len(dc), func(j int, s float32) {
				lo, hi := (dc[j]-dr[j])*0.5, (dc[j]+dr[j])*0.5
				lo, hi = leakyBack(lo, hi, xc[j]-xr[j], xc[j]+xr[j], s)
				c[j], r[j] = lo+hi, hi-lo
			})
			return
		}
		for j := range dc {
			lo := float32((dc[j] - dr[j]) * 0.5 * e.slope(xc[j]-xr[j], yc[j]-yr[j]))
			hi := float32((dc[j] + dr[j]) * 0.5 * e.slope(xc[j]+xr[j], yc[j]+yr[j]))
			c[j], r[j] = lo+hi, hi-lo
		}
	})
}

// slope returns the derivative of a function that never falls, at x where it is y.
func (e *elementwiseInterval) slope(x, y float32) float32 {
	switch op := e.op; op.Kind {
	case model.Sigmoid:
		return y * (1 - y)
	case model.Tanh:
		return 1 - float32(y*y)
	case model.Clip:
		if !(op.Min < x && x < op.Max) {
			return 0
		}
	case model.ReLU:
		if !(x > 0) {
			return 0
		}
	}
	return 1
}

// leakyBack takes gradients to what leakyEnds gives back to the ends it was given.
func leakyBack(dlo, dhi, lo, hi, s float32) (float32, float32) {
	switch {
	case lo > 0:
		return dlo, dhi
	case s >= 0 && hi > 0:
		return float32(dlo * s), dhi
	case s >= 0:
		return float32(dlo * s), float32(dhi * s)
	case !(hi > 0):
		return float32(dhi * s), float32(dlo * s)
	case float32(lo*s) > hi:
		return float32(dhi * s), 0
	}
	return 0, dhi
}
