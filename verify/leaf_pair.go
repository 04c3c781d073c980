package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
)

// pairFix is what splits of a maximum leave of its window in a lane.
//
// 9f. A trace belongs to a part with x_a ≥ x_b by its own values; maxima are exact, executed or
// not. There the largest of the window without b is the largest of all. So each split takes
// an element away, its loser, if both elements are there still: then each element that was
// taken away is at most one that is left. (Other splits do not count.) What is left has planes
// as in 9a, with the bounds of the frame: y ≥ xⱼ and y ≤ s·xᵢ + t. With multipliers β ≥ 0
//
//	λy ≥ p·xⱼ + n(s·xᵢ + t) − Σβ(x_a − x_b).
//
// The coefficients v that this adds to those of what the node reads are added after those of
// its other outputs: each sum, of value d, errs by u|d|, and v passes R more of them at most.
// So it is Σ(γ_{n+R}|v| + u|d|)M, M ≥ |x|, which has the rounding of fl(ns), too.
type pairFix struct {
	place
	duels     []duel
	low, high int // j, i
	s, t      float32
}

// duel is a split that counts: elements of what the node reads, in memory order.
type duel struct {
	multiplier
	win, lose int
}

// addPair adds a split.
func (n *nodeSplits) addPair(p place, b multiplier, s Split, o *relaxMax) {
	var f *pairFix
	for k := len(n.pairs) - 1; k >= 0 && n.pairs[k].group == p.group && n.pairs[k].lane == p.lane; k-- {
		if n.pairs[k].k == p.k {
			f = &n.pairs[k]
		}
	}
	if f == nil {
		if len(n.pairs) < cap(n.pairs) { // with the room of its list
			n.pairs = n.pairs[:len(n.pairs)+1]
		} else {
			n.pairs = append(n.pairs, pairFix{})
		}
		f = &n.pairs[len(n.pairs)-1]
		*f = pairFix{place: p, duels: f.duels[:0]}
	}
	d := duel{b, at(int(s.First), o.from), at(int(s.Second), o.from)}
	if s.Phase == Inactive {
		d.win, d.lose = d.lose, d.win
	}
	if !f.lost(d.win) && !f.lost(d.lose) {
		f.duels = append(f.duels, d)
	}
}

// lost reports whether an element has been taken away.
func (f *pairFix) lost(k int) bool {
	return slices.ContainsFunc(f.duels, func(d duel) bool { return d.lose == k })
}

// narrow finds the planes of what is left of the window.
func (f *pairFix) narrow(w *linearWorker, i int) {
	if f.at < 0 {
		return
	}
	o, src := w.g.nodes[i].op.(*relaxMax), w.g.nodes[i].in[0]
	lo, hi := w.actLo[src], w.actHi[src]
	var room [16]int
	left := windowOf(room[:0], o.sliding, f.k)
	for _, k := range left {
		if lo[k]-lo[k] != 0 || hi[k]-hi[k] != 0 {
			f.at = -1 // the frame's planes are no numbers, either
			return
		}
	}
	left = slices.DeleteFunc(left, f.lost)
	first, second, low := left[0], float32(math.Inf(-1)), lo[left[0]]
	for _, k := range left[1:] {
		low = max(low, lo[k])
		if hi[k] > hi[first] {
			first, second = k, hi[first]
		} else {
			second = max(second, hi[k])
		}
	}
	f.low, f.high, f.s, f.t = first, first, 1, 0
	if lo[first] >= second {
		return
	}
	f.s, f.t = maxPlane(float64(lo[first]), float64(hi[first]), float64(second))
	most := math.Inf(-1)
	for _, k := range left {
		most = max(most, float64(lo[k])+float64(hi[k]))
	}
	width := float64(hi[first]) - float64(low)
	f.low = left[slices.IndexFunc(left, func(k int) bool { return float64(lo[k])+float64(hi[k]) >= most-width*0x1p-10 })]
}

func (t *leafRun) handPair(i int, f *pairFix) {
	if f.at < 0 {
		return
	}
	w, d := t.w, &t.w.g.nodes[i]
	src, s := d.in[0], &t.w.sums[f.group]
	dst := w.group(w.v[src], src, f.group)
	add := func(k int, v float32) {
		c := &dst[w.within(f.group, src, k)*kernels.Lanes+f.lane]
		*c += v
		m := max(math.Abs(float64(w.actLo[src][k])), math.Abs(float64(w.actHi[src][k])))
		e := float64(d.rounding.back*math.Abs(float64(v))) + float64(u*(1+slack)*math.Abs(float64(*c)))
		s.E[f.lane] += float64(e * m)
	}
	if f.coef > 0 {
		add(f.low, f.coef)
	} else {
		add(f.high, float32(f.coef*f.s))
		constant := float64(f.coef) * float64(f.t)
		s.B[f.lane] += constant
		s.E[f.lane] += float64(math.Abs(constant) * sumError)
	}
	for k := range f.duels {
		add(f.duels[k].win, -f.duels[k].beta)
		add(f.duels[k].lose, f.duels[k].beta)
	}
}

func (t *leafRun) climbPair(i int, f *pairFix, rate, scale float32) {
	w, src := t.w, t.w.g.nodes[i].in[0]
	z := w.group(w.ascent.z[src], src, f.group)
	value := func(k int) float32 { return z[w.within(f.group, src, k)*kernels.Lanes+f.lane] }
	if f.coef > 0 {
		f.post = value(f.low)
	} else {
		f.post = float32(f.s*value(f.high)) + f.t
	}
	for k := range f.duels {
		d := &f.duels[k]
		d.climb(value(d.lose)-value(d.win), rate, scale)
	}
}

// windowOf appends the elements, in memory order, that output k of a maximum reads.
func windowOf(list []int, s kernels.Sliding, k int) []int {
	y, x, c := k/(s.OutW()*s.C), k/s.C%s.OutW(), k%s.C
	w := s.Reads(kernels.Window{Y0: y, Y1: y + 1, X0: x, X1: x + 1})
	for y := w.Y0; y < w.Y1; y++ {
		for x := w.X0; x < w.X1; x++ {
			list = append(list, (y*s.InW+x)*s.C+c)
		}
	}
	return list
}
