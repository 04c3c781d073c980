package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// relaxElementwise is a function of each element: a ReLU that is part of no other node,
// LeakyReLU, Clip, Sigmoid, Tanh.
//
// 9b. Let f be the function, z what it reads, l ≤ z ≤ h, and y = f(z) or what is executed
// of it, within d of that. With lines αz + β ≤ f(z) − d and sz + t ≥ f(z) + d on [l, h],
// p = max(λ, 0), n = min(λ, 0)
//
//	λy ≥ p(αz + β) + n(sz + t),
//
// and λ′ = fl(pα) + fl(ns), one of them zero, is within u|λ′| + η/2 of pα + ns. So E = (u +
// γ_R)·M, R being the readers of the activation that rows are handed on to, covers all
// roundings but the sum of pβ + nt: that is taken in float64, where the products are
// exact, and errs by at most 2⁻²⁴ of the terms' magnitudes (2²⁸ of them), which are added
// to Σ|λ′|E. Slopes may be any float32 numbers; intercepts are computed for them as they
// are, in float64, and rounded outward.
//
// d is 0 for ReLU and Clip, 2⁻²⁰ for Sigmoid and Tanh, by definition, and u|fz| + η for a
// LeakyReLU where z < 0 (f: its slope).
//
// A ReLU goes through the kernel of 9, E = γ_R·M. So does a LeakyReLU whose slopes f are
// in [0, 1], with α in [f, 1], s in [f, 1] and β = 0: |λ′| is at least |λ|f but for its
// rounding, so the u|fz| of an execution is below u(1 + 2u)|λ′|M, and η/2 below |λ′|η/f
// where λf is no denormal, and counted in 12 where it is: E = (3u + γ_R)·M + η/f.
type relaxElementwise struct {
	op     *net.Elementwise
	c      int // channels
	kernel bool
	curve  *curve // of Sigmoid and Tanh
}

func newRelaxElementwise(op *net.Elementwise, p *net.Node) *relaxElementwise {
	o := &relaxElementwise{op: op, c: p.Shape.C, kernel: op.Kind == model.ReLU}
	switch op.Kind {
	case model.LeakyReLU:
		o.kernel = true
		for _, f := range op.Slope {
			o.kernel = o.kernel && f >= 0 && f <= 1
		}
	case model.Sigmoid:
		o.curve = &sigmoidCurve
	case model.Tanh:
		o.curve = &tanhCurve
	}
	return o
}

func (o *relaxElementwise) lines() lineKind {
	if o.kernel {
		return kernelLines
	}
	return generalLines
}

// slope is that of a LeakyReLU below zero at element k; 0 of a ReLU.
func (o *relaxElementwise) slope(k int) float32 {
	switch s := o.op.Slope; len(s) {
	case 0:
		return 0
	case 1:
		return s[0]
	default:
		return s[k%o.c]
	}
}

func (*relaxElementwise) reads(_ int, w kernels.Window) kernels.Window { return w }
func (*relaxElementwise) key(sig []int, w kernels.Window) []int        { return append(sig, w.H(), w.W()) }

// bent is what forward finds of an element: bounds of f and its two lines.
type bent struct {
	lo, hi       float32
	low, lowAt   float32
	high, highAt float32
	more         float64 // E beyond γ·M
}

func (o *relaxElementwise) forward(w *linearWorker, i int) {
	d := &w.g.nodes[i]
	src := d.in[0]
	par, outLo, outHi := w.params[i], w.lo[i], w.hi[i]
	ofM := keep(termBack, d.rounding.back)
	sumM := 0.0
	for k, l := range w.actLo[src] {
		h := w.actHi[src][k]
		var b bent
		if float64(l)-float64(l) != 0 || float64(h)-float64(h) != 0 { // fail closed
			nan := float32(math.NaN())
			b = bent{lo: nan, hi: nan, low: nan, high: nan}
		} else {
			b = o.bend(k, l, h)
		}
		outLo[k], outHi[k] = b.lo, b.hi
		m := max(math.Abs(float64(l)), math.Abs(float64(h)))
		setParams(par[k*kernels.RelaxParams:], b.low, b.high, b.highAt, b.lowAt, over(float64(ofM*m)+b.more))
		sumM += m
	}
	copy(w.actLo[i+1], outLo)
	copy(w.actHi[i+1], outHi)
	w.less += d.rounding.underflow(sumM, sumM, len(outLo))
}

// bend bounds element k on [l, h].
func (o *relaxElementwise) bend(k int, l, h float32) bent {
	switch o.op.Kind {
	case model.ReLU:
		low, high, t := reluLines(l, h)
		return bent{lo: max(l, 0), hi: max(h, 0), low: low, high: high, highAt: t}
	case model.LeakyReLU:
		if o.kernel {
			return leakyKernelLines(o.slope(k), l, h)
		}
		return leakyLines(o.slope(k), l, h)
	case model.Clip:
		return clipLines(o.op.Min, o.op.Max, l, h)
	}
	return o.curve.lines(l, h)
}

// leakyRange returns bounds of a LeakyReLU of slope f and the error d of an execution.
func leakyRange(f, l, h float32) (lo, hi float32, d float64) {
	at := func(z float32) float64 {
		if z > 0 {
			return float64(z)
		}
		return float64(f) * float64(z) // exact
	}
	a, b := at(l), at(h)
	least, most := min(a, b), max(a, b)
	if l < 0 && h > 0 {
		least, most = min(least, 0), max(most, 0)
	}
	if l < 0 {
		d = float64(math.Abs(float64(f)*float64(l))*u*(1+slack)) + eta
	}
	return down32(least - d), up32(most + d), d
}

// adaptive returns 1 if the line with that slope cuts off less than that with slope f,
// both through 0.
func adaptive(f, l, h float32) float32 {
	if farther(l, 0, h) {
		return 1
	}
	return f
}

// leakyKernelLines are those for the kernel, f in [0, 1].
func leakyKernelLines(f, l, h float32) bent {
	var b bent
	b.lo, b.hi, _ = leakyRange(f, l, h)
	switch {
	case l >= 0:
		b.low, b.high = 1, 1
		return b
	case h <= 0:
		b.low, b.high = f, f
	default:
		b.low = adaptive(f, l, h)
		s, t := chord(f, l, h)
		b.high, b.highAt = s, max(intercept(t), 0)+0x1p-120
	}
	if f > 0 {
		b.more = eta / float64(f)
	}
	return b
}

// chord returns a slope between f and 1, about that between the ends of a LeakyReLU,
// and the intercept above both ends for it, rounded upward.
func chord(f, l, h float32) (s float32, t float64) {
	lo, hi := float64(f)*float64(l), float64(h)
	s = float32((hi - lo) / (float64(h) - float64(l)))
	s = max(min(f, 1), min(max(f, 1), s))
	return s, max(above(lo, float64(s)*float64(l)), above(hi, float64(s)*float64(h)))
}

// leakyLines are general lines. The function is convex if f ≤ 1, else concave; one of
// its lines goes through 0, with a slope between 1 and f, the other through its ends.
// Minus any line it is as it was, convex or concave, so its ends decide.
func leakyLines(f, l, h float32) bent {
	var b bent
	var d float64
	b.lo, b.hi, d = leakyRange(f, l, h)
	switch {
	case l >= 0:
		b.low, b.high = 1, 1
	case h <= 0:
		b.low, b.high = f, f
		b.lowAt, b.highAt = down32(-d), up32(d)
	case f <= 1:
		s, t := chord(f, l, h)
		b.low, b.lowAt = adaptive(f, l, h), down32(-d)
		b.high, b.highAt = s, intercept(t+d)
	default: // of the opposite function at −z, whose ends are −h and −l
		s, _ := chord(f, l, h)
		lo, hi := float64(f)*float64(l), float64(h)
		t := min(below(lo, float64(s)*float64(l)), below(hi, float64(s)*float64(h)))
		b.low, b.lowAt = s, -intercept(-(t - d))
		b.high, b.highAt = adaptive(f, l, h), up32(d)
	}
	return b
}

// above returns a − b for float64 numbers that are exact, rounded upward; below the
// same downward.
func above(a, b float64) float64 { return a - b + (math.Abs(a)+math.Abs(b))*0x1p-50 }
func below(a, b float64) float64 { return a - b - (math.Abs(a)+math.Abs(b))*0x1p-50 }

// intercept rounds one upward, with what float64 rounded before.
func intercept(t float64) float32 { return up32(t + math.Abs(t)*0x1p-50) }

// clipLines. Clip is min(max(z, least), most), with a line below it through (h, f(h)) and
// the first kink, or (l, f(l)) if l is beyond that, or flatter: a constant, if the kink is
// nearer to h; and the same above. Minus the lower line the function is linear but for
// two kinks, of which the second one turns down, so l, h and the first kink decide.
func clipLines(least, most, l, h float32) bent {
	f := func(z float32) float64 { return float64(min(max(z, least), most)) }
	b := bent{lo: float32(f(l)), hi: float32(f(h))}
	switch {
	case h <= least || l >= most:
		b.lowAt, b.highAt = b.lo, b.lo
		return b
	case least <= l && h <= most:
		b.low, b.high = 1, 1
		return b
	}
	low, high := clipSlopes(least, most, l, h)
	if l < least && !farther(l, least, h) {
		low = 0
	}
	if h > most && farther(l, most, h) {
		high = 0
	}
	b.low, b.high = low, high
	t := min(below(f(l), float64(low)*float64(l)), below(f(h), float64(low)*float64(h)))
	if l < least {
		t = min(t, below(float64(least), float64(low)*float64(least)))
	}
	b.lowAt = -intercept(-t)
	t = max(above(f(l), float64(high)*float64(l)), above(f(h), float64(high)*float64(h)))
	if h > most {
		t = max(t, above(float64(most), float64(high)*float64(most)))
	}
	b.highAt = intercept(t)
	return b
}

// farther reports whether h is farther from a kink than l, by a thousandth, so that
// rounding does not decide where it is in the middle: certificates do not always state it.
func farther(l, kink, h float32) bool {
	k := float64(kink)
	return float64(h)-k > (1+0x1p-10)*(k-float64(l))
}

// clipSlopes returns the slopes of the steepest lines below and above that touch twice.
func clipSlopes(least, most, l, h float32) (low, high float32) {
	slope := func(from, to float32) float32 {
		f := func(z float32) float64 { return float64(min(max(z, least), most)) }
		return float32(max(0, min(1, (f(to)-f(from))/(float64(to)-float64(from)))))
	}
	return slope(max(l, least), h), slope(l, min(h, most))
}

func (o *relaxElementwise) open(lo, hi []float32, mark []bool) {
	for k, l := range lo {
		h := hi[k]
		switch o.op.Kind {
		case model.ReLU, model.LeakyReLU:
			mark[k] = mark[k] || l < 0 && h > 0
		case model.Clip:
			mark[k] = mark[k] || l < o.op.Min && h > o.op.Min || l < o.op.Max && h > o.op.Max
		default:
			mark[k] = mark[k] || l < h
		}
	}
}

func (*relaxElementwise) back(r *rows, i int, v []float32, groups int) {
	r.add(r.g.nodes[i].in[0], r.placed[0][i+1], v, groups)
}

func (*relaxElementwise) values(r *rows, a *ascent, i, groups int) {
	src := r.g.nodes[i].in[0]
	r.window(a.z[i+1], src, r.placed[0][i+1], a.z[src], groups)
}

// stated returns the slope in [0, 1] that a certificate states of element k, whose lines
// are those of q; α is the slope of its lower line. (docs/certificate.md)
func (o *relaxElementwise) stated(k int, q []float32, alpha, l, h float32) float32 {
	within := func(v float64) float32 { return float32(max(0, min(1, v))) }
	f := o.slope(k)
	switch {
	case o.op.Kind == model.ReLU || f == 1:
		return alpha
	case o.op.Kind == model.LeakyReLU:
		if f > 1 { // the upper one is free
			alpha = q[kernels.RelaxUpper]
		}
		return within((float64(alpha) - float64(f)) / (1 - float64(f)))
	case l >= h:
		return 0
	}
	low, high := clipSlopes(o.op.Min, o.op.Max, l, h)
	if h > o.op.Max {
		low, alpha = high, q[kernels.RelaxUpper]
	}
	if low == 0 || alpha == 0 {
		return 0
	}
	return 1
}

// bendLanes takes the coefficients v of eight rows on an element through its two lines
// (9b): what is left of them is added to low where they are positive, else to high.
func bendLanes(v []float32, q *[kernels.RelaxParams]float32, low, high []float32, s *kernels.RelaxSums) {
	for l, x := range v[:kernels.Lanes] {
		out, at := float32(x*q[kernels.RelaxUpper]), q[kernels.RelaxIntercept]
		to := high
		if x > 0 {
			out, at, to = float32(x*q[kernels.RelaxLower]), q[kernels.RelaxBias], low
		}
		to[l] += out
		t := float64(x) * float64(at)
		s.B[l] += t
		s.E[l] += float64(math.Abs(float64(out))*float64(q[kernels.RelaxError])) + float64(math.Abs(t)*sumError)
	}
}

// sumError is what float64 sums of intercepts may lose.
const sumError = 0x1p-24
