package kernels

import (
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

type intervalFunc = func(c, r unsafe.Pointer, n int, a *asm.IntervalArgs)

// The element-wise passes over the batch-lane layout. Slices of one call have
// equal lengths, a multiple of Lanes but for AdamStep.

// PGDStep moves each x by alpha along the sign of g (not at all where g is
// zero or NaN) and clamps it to [lo, hi], in place.
func (i *ISA) PGDStep(x, g, lo, hi []float32, alpha float32) {
	mustLen("gradient", len(g), len(x))
	mustLen("lower box", len(lo), len(x))
	mustLen("upper box", len(hi), len(x))
	if n := vectors(x); n > 0 {
		raceRead(g)
		raceRead(lo)
		raceRead(hi)
		raceWrite(x)
		i.pgdStep(base(x), base(g), base(lo), base(hi), n, alpha)
	}
}

// SelectLanes copies the lanes chosen by take from src to dst.
func (i *ISA) SelectLanes(sc *Scratch, dst, src []float32, take *[Lanes]bool) {
	mustLen("source", len(src), len(dst))
	for l, t := range take {
		sc.mask[l] = 0
		if t {
			sc.mask[l] = math.MaxUint32
		}
	}
	if n := vectors(dst); n > 0 {
		raceRead(src)
		raceWrite(dst)
		i.selectMask(base(dst), base(src), unsafe.Pointer(&sc.mask), n)
	}
}

// BoxEnd stores x + e1 + e2, exact but for one rounding, up or down, clamped to
// [0, 1]. Where the sum is within doubt of the float32 nearest to it but not equal,
// or below 2⁻²⁰ in magnitude, it stores NaN instead. |e2| is to be at most half
// a unit in the last place of e1.
func (i *ISA) BoxEnd(dst, x []float32, e1, e2, doubt float32, up bool) {
	mustLen("box", len(dst), len(x))
	mask := uint32(0)
	if up {
		mask = math.MaxUint32
	}
	if n := vectors(x); n > 0 {
		raceRead(x)
		raceWrite(dst)
		i.boxEnd(base(dst), base(x), n, e1, e2, doubt, mask)
	}
}

// AdamConstants are the numbers of an update: the decays of both moments, what
// the gradient and its square are multiplied with, step size, and what is added
// to the root.
type AdamConstants struct{ Beta1, Rest1, Beta2, Rest2, Alpha, Tiny float32 }

// AdamStep updates weights w with gradient g and their moments m and v, of any
// one length, in place:
//
//	m = m·Beta1 + g·Rest1
//	v = v·Beta2 + g²·Rest2
//	w −= (m·Alpha) / (√v + Tiny)
//
// with every operation rounded.
func (i *ISA) AdamStep(sc *Scratch, w, g, m, v []float32, k AdamConstants) {
	mustLen("gradient", len(g), len(w))
	mustLen("first moment", len(m), len(w))
	mustLen("second moment", len(v), len(w))
	a := &sc.adam
	*a = asm.AdamArgs(k)
	n := len(w) / Lanes
	if n > 0 {
		raceRead(g)
		raceWrite(w)
		raceWrite(m)
		raceWrite(v)
		i.adamStep(base(w), base(g), base(m), base(v), n, a)
	}
	n *= Lanes
	adamValues(w[n:], g[n:], m[n:], v[n:], a)
}

// Add stores e(dst + src) in dst for any epilogue e. gate is read only for Gate.
func (i *ISA) Add(dst, src []float32, e Epilogue, gate []float32) {
	mustLen("summand", len(src), len(dst))
	n := vectors(dst)
	if n == 0 {
		return
	}
	raceRead(src)
	raceWrite(dst)
	if e == Gate {
		mustLen("gate", len(gate), len(dst))
		raceRead(gate)
		i.addGate(base(dst), base(src), base(gate), n)
		return
	}
	relu := uint32(0)
	if e == ReLU {
		relu = math.MaxUint32
	}
	i.add(base(dst), base(src), n, relu)
}

// IntervalConstants are the factors of the interval passes; package verify
// derives values that make the bounds sound.
type IntervalConstants struct {
	Rel, Abs        float32 // widening of C ± R, relative and absolute
	MulR, MulC, Add float32 // r' = (r·MulR + |c|·MulC) + Add
	ReLU            bool    // clamp the bounds at zero first
}

// IntervalAffine turns, in place, centre c and radius r of an affine layer's
// output into centre and inflated radius of the next layer's input:
//
//	hi = c + r; hi += |hi|·Rel + Abs; lo = c − r; lo −= |lo|·Rel + Abs
//	clamped at zero if ReLU; then as IntervalBox.
func (i *ISA) IntervalAffine(sc *Scratch, c, r []float32, k IntervalConstants) {
	i.interval(sc, i.affine, c, r, k)
}

// IntervalBox turns, in place, lower bounds (in c) and upper bounds (in r)
// into centres mid = (lo+hi)·½ and inflated radii max(hi−mid, mid−lo)·MulR +
// |mid|·MulC + Add. NaN in a bound gives NaN in centre and radius.
func (i *ISA) IntervalBox(sc *Scratch, c, r []float32, k IntervalConstants) {
	i.interval(sc, i.box, c, r, k)
}

// IntervalAdd adds the interval of centre sc and radius sr to that of c and r, in
// place:
//
//	c += sc; r = ((r + sr)·MulR + |c|·MulC) + Add
func (i *ISA) IntervalAdd(s *Scratch, c, r, sc, sr []float32, k IntervalConstants) {
	mustLen("radius", len(r), len(c))
	mustLen("centre added", len(sc), len(c))
	mustLen("radius added", len(sr), len(c))
	a := &s.interval
	a.MulR, a.MulC, a.Add = k.MulR, k.MulC, k.Add
	if n := vectors(c); n > 0 {
		raceRead(sc)
		raceRead(sr)
		raceWrite(c)
		raceWrite(r)
		i.boxAdd(base(c), base(r), base(sc), base(sr), n, a)
	}
}

func vectors(s []float32) int {
	if len(s)%Lanes != 0 {
		panic("kernels: length is not a multiple of Lanes")
	}
	return len(s) / Lanes
}

func (i *ISA) interval(sc *Scratch, f intervalFunc, c, r []float32, k IntervalConstants) {
	mustLen("radius", len(r), len(c))
	a := &sc.interval
	a.Rel, a.Abs, a.MulR, a.MulC, a.Add, a.ReLU = k.Rel, k.Abs, k.MulR, k.MulC, k.Add, 0
	if k.ReLU {
		a.ReLU = math.MaxUint32
	}
	if n := vectors(c); n > 0 {
		raceWrite(c)
		raceWrite(r)
		f(base(c), base(r), n, a)
	}
}
