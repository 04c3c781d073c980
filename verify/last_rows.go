package verify

import (
	"math"

	"github.com/epsball/epsball/net"
)

// lastRows bounds the margins of a last layer that is not merged with them, one that
// ends in a ReLU, an add or a map, as rows over the box that it reads, its
// ReLU replaced by lines: beside the difference of two intervals, the other way to bound
// a row without going back further (docs/certificate.md). It computes in float64, for
// one image at a time, what 13 proves.
//
// 13. Before their ReLU, outputs are ẑ = Wa + b + s, |a − c| ≤ r, |s − κ| ≤ ρ, within
// E = γ_T·S + Kη, S = |W|(|c| + r) + |b| + |κ| + ρ. Float64 computes their centres, radii
// and S with fewer than K + 8 roundings of a term, each below 2⁻⁵³ of it, and so for
// the coefficients λ_y·W_y − s·W_j of a margin and what follows from them; g = 4(K +
// 8)2⁻⁵³ is enough for both, and D = E + g·S, rounded up, is taken off each output. With
// α in [0, 1] and a line sẑ + t above max(ẑ, 0) on [l, h] (9)
//
//	max(ẑ_y, 0) − max(ẑ_j, 0) ≥ αẑ_y − sẑ_j − t.
//
// Without a ReLU α = s = 1 and t = 0. If s is a, its coefficients are added to those of a.
type lastRows struct {
	affine   *net.Affine
	rounding rounding
	w        []float32
	tap      []tap     // of an output
	lo, hi   []float64 // of each output before its ReLU, [H][W][C]
	d        []float64
	coef     []float64 // of a row, over what the layer reads

	// Of the image prepared: centres and radii, whose elements lie stride apart.
	c, r, skipC, skipR []float32
	stride             int
}

// tap is a weight and the element it reads, [H][W][C].
type tap struct {
	w  float64
	in int
}

// newLastRows returns nil where the last node is no dense layer, is merged, or has so many
// outputs that rows for them all would take longer than all else.
func newLastRows(v *intervalRung) *lastRows {
	n := v.margins.outputs.Size()
	if v.margins.merged || n > maxMerged {
		return nil
	}
	last := &v.steps[len(v.steps)-1]
	a, ok := last.node.Op.(*net.Affine)
	if !ok {
		return nil
	}
	s := a.Shape
	return &lastRows{
		affine: a, rounding: last.rounding, w: a.Weights(), lo: make([]float64, n), hi: make([]float64, n), d: make([]float64, n),
		coef: make([]float64, s.In()), tap: make([]tap, 0, s.FanIn()),
	}
}

// prepare bounds the outputs of the image in slot, which propagate has carried through w.
func (t *lastRows) prepare(w *intervalWorker, slot int) {
	a := t.affine
	s := a.Shape
	t.stride = int(w.layout)
	of := func(b [][]float32, act, size int) []float32 { return w.layout.Slot(b[act], size, slot) }
	t.c, t.r = of(w.c, a.Src, s.In()), of(w.r, a.Src, s.In())
	if a.Skip >= 0 {
		t.skipC, t.skipR = of(w.c, a.Skip, s.Out()), of(w.r, a.Skip, s.Out())
	}
	k := float64(s.FanIn())
	ofSum, products := keep(termLastRows, t.rounding.delta)+4*(k+8)*0x1p-53, keep(termProducts, (k+4)*eta)
	for o := range t.lo {
		b := float64(a.B[o%s.OutC])
		c, r, sum := b, 0.0, math.Abs(b)
		for _, p := range t.taps(o) {
			x, e, w := float64(t.c[p.in*t.stride]), float64(t.r[p.in*t.stride]), math.Abs(p.w)
			c += float64(p.w * x)
			r += float64(w * e)
			sum += float64(w * (math.Abs(x) + e))
		}
		if a.Skip >= 0 {
			x, e := float64(t.skipC[o*t.stride]), float64(t.skipR[o*t.stride])
			c, r, sum = c+x, r+e, sum+math.Abs(x)+e
		}
		t.d[o] = (float64(ofSum*sum) + products) * (1 + slack)
		t.lo[o], t.hi[o] = c-r-t.d[o], c+r+t.d[o]
	}
}

// taps lists the weights of output o, until the next call.
func (t *lastRows) taps(o int) []tap {
	t.tap = t.tap[:0]
	s := t.affine.Shape
	ch, p := o%s.OutC, o/s.OutC
	y0, x0 := p/s.OutW()*s.StrideH-s.PadH, p%s.OutW()*s.StrideW-s.PadW
	w := t.w[ch*s.FanIn():]
	for c := range s.InC {
		for ky := range s.KH {
			for kx := range s.KW {
				y, x := y0+ky, x0+kx
				if y >= 0 && y < s.InH && x >= 0 && x < s.InW {
					t.tap = append(t.tap, tap{float64(w[(c*s.KH+ky)*s.KW+kx]), (y*s.InW+x)*s.InC + c})
				}
			}
		}
	}
	return t.tap
}

// low returns a lower bound of output y minus output j, both counted as in memory;
// −Inf for anything not finite.
func (t *lastRows) low(y, j int) float32 {
	a := t.affine
	alpha, slope, intercept := 0.0, 0.0, 0.0
	if lo, hi := t.lo[y], t.hi[y]; !a.ReLU || lo >= 0 || hi > -lo {
		alpha = 1
	}
	switch lo, hi := t.lo[j], t.hi[j]; {
	case !a.ReLU || lo >= 0:
		slope = 1
	case !(hi <= 0): // NaN goes on
		slope = min(1, hi/(hi-lo))
		up := 1 + 0x1p-50
		intercept = max(0, float64(-slope*lo)*up, (hi-float64(slope*hi))*up+float64(hi*0x1p-50))
	}
	clear(t.coef)
	for _, p := range t.taps(y) {
		t.coef[p.in] += float64(alpha * p.w)
	}
	for _, p := range t.taps(j) {
		t.coef[p.in] -= float64(slope * p.w)
	}
	if a.Skip == a.Src {
		t.coef[y] += alpha
		t.coef[j] -= slope
	}
	b := a.B
	low := float64(alpha*float64(b[y%len(b)])) - float64(slope*float64(b[j%len(b)]))
	for i, v := range t.coef {
		low += float64(v*float64(t.c[i*t.stride])) - float64(math.Abs(v)*float64(t.r[i*t.stride]))
	}
	if a.Skip >= 0 && a.Skip != a.Src {
		low += float64(alpha*(float64(t.skipC[y*t.stride])-float64(t.skipR[y*t.stride]))) -
			float64(slope*(float64(t.skipC[j*t.stride])+float64(t.skipR[j*t.stride])))
	}
	low -= intercept + float64(alpha*t.d[y]) + float64(slope*t.d[j])
	if low -= float64(math.Abs(low)+intercept) * 0x1p-48; !(math.Abs(low) <= math.MaxFloat32) {
		return float32(math.Inf(-1))
	}
	return down32(low)
}

// memory returns where output o, channels first, lies in memory.
func (t *lastRows) memory(o int) int {
	s := t.affine.Shape
	return at(o, extent{s.OutH(), s.OutW(), s.OutC})
}
