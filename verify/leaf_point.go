package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
)

// pointFix is what splits of a LeakyReLU, Clip, Sigmoid or Tanh leave of a neuron's range in a lane.
//
// 9e. A trace belongs to a part with z ≥ c, c a float32, by its own z, which the node reads, be
// it exact or executed. So in a leaf l′ ≤ z ≤ h′, where l′ is the largest of l and those c, and
// h′ likewise. Let αz + β and sz + t be lines on [l′, h′] as in 9b, which has what an execution
// of y = f(z) may be off in them, or, of a LeakyReLU in the kernel, in E. With multipliers
// μ, ν ≥ 0 of the largest c and the smallest c′
//
//	λy ≥ p(αz + β) + n(sz + t) − μ(z − c) + ν(z − c′).
//
// λ′ is what the coefficients of z come to, summed up in float64 and rounded: it errs by u|λ′| +
// η/2 and by 2⁻⁵¹ of S = |pα + ns| + μ + ν, which |λ′| can be far below. So in place of |λ′|E
// it is (1 + 2⁻¹⁶)S·E: S counts for the rounding, and for the error of an execution, which is
// one of y, and |λ′| ≤ (1 + 2u)S for the sum of the readers. Constants are exact products in
// float64, their sum errs as in 9b.
//
// Splits that others imply have multipliers of 0. A c beyond the range that others leave makes a
// part without traces, of which anything holds; the splits of the neuron then do not count.
type pointFix struct {
	place
	lo, hi float32       // l′, h′
	cut    [2]float32    // c, c′
	by     [2]multiplier // of these; split −1: there is none
	lines  bent
}

// addPoint adds a split.
func (n *nodeSplits) addPoint(p place, b multiplier, s Split) {
	var f *pointFix
	for k := len(n.points) - 1; k >= 0 && n.points[k].group == p.group && n.points[k].lane == p.lane; k-- {
		if n.points[k].k == p.k {
			f = &n.points[k]
		}
	}
	if f == nil {
		inf := float32(math.Inf(1))
		n.points = append(n.points, pointFix{place: p, cut: [2]float32{-inf, inf}})
		f = &n.points[len(n.points)-1]
		f.by[0].split, f.by[1].split = -1, -1
	}
	switch {
	case s.Phase == Active && s.At > f.cut[0]:
		f.cut[0], f.by[0] = s.At, b
	case s.Phase == Inactive && s.At < f.cut[1]:
		f.cut[1], f.by[1] = s.At, b
	}
}

// narrow finds the range that the splits leave of the frame's, and its lines.
func (f *pointFix) narrow(w *linearWorker, i int) {
	if f.at < 0 {
		return
	}
	src := w.g.nodes[i].in[0]
	f.lo, f.hi = max(w.actLo[src][f.k], f.cut[0]), min(w.actHi[src][f.k], f.cut[1])
	if !(f.lo <= f.hi && f.lo-f.lo == 0 && f.hi-f.hi == 0) {
		f.at = -1
		return
	}
	f.lines = w.g.nodes[i].op.(*relaxElementwise).bend(f.k, f.lo, f.hi)
}

// line is the one for a coefficient λ.
func (f *pointFix) line() (slope, at float32) {
	if f.coef > 0 {
		return f.lines.low, f.lines.lowAt
	}
	return f.lines.high, f.lines.highAt
}

func (t *leafRun) putPoint(i int, f *pointFix) {
	if f.at < 0 {
		return
	}
	slope, at := f.line()
	v := float64(f.coef) * float64(slope)
	constant := float64(f.coef) * float64(at)
	size, sizes := math.Abs(v), math.Abs(constant)
	for side, sign := range [2]float64{-1, 1} {
		if b := &f.by[side]; b.split >= 0 {
			v += sign * float64(b.beta)
			c := float64(b.beta) * float64(f.cut[side])
			constant -= float64(sign * c)
			size, sizes = size+float64(b.beta), sizes+math.Abs(c)
		}
	}
	*t.of(t.w.ascent.out, i, &f.place) = float32(v)
	s := &t.w.sums[f.group]
	s.B[f.lane] += constant
	e := float64(t.w.params[i][f.k*kernels.RelaxParams+kernels.RelaxError])
	s.E[f.lane] += float64(size*e*(1+0x1p-16)) + float64(sizes*sumError)
}

// climb moves the multipliers up their gradients at z, and finds the value behind the line.
func (f *pointFix) climb(z, rate, scale float32) {
	slope, at := f.line()
	f.post = float32(slope*z) + at
	if f.by[0].split >= 0 {
		f.by[0].climb(f.cut[0]-z, rate, scale)
	}
	if f.by[1].split >= 0 {
		f.by[1].climb(z-f.cut[1], rate, scale)
	}
}
