package verify

import (
	"cmp"
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
)

// weakScore is what neurons that only their lower lines bound are worth against others.
const weakScore = 0.05

// judge ranks the neurons that rows pass, by the lines that they passed last, where a bound
// is not above 0.
func (t *leafRun) judge(from, groups int) {
	r, a := t.w.rows, t.w.ascent
	open := false
	for j := range t.lanes {
		t.top[j] = t.top[j][:0]
		open = open || !(a.best[j/kernels.Lanes][j%kernels.Lanes] > 0)
	}
	if t.o.Candidates == 0 || !open {
		return
	}
	for j := range t.lanes {
		t.last[j] = down32(r.low[j/kernels.Lanes][j%kernels.Lanes])
	}
	r.corners(a, groups)
	planes := planesOf(t.w)
	if planes != nil && a.used[1] {
		planes.restore(t.w, groups)
		planes.ahead(t.w, groups)
	}
	for i := range from + 1 {
		if a.used[i+1] {
			r.g.nodes[i].op.values(r, a, i, groups)
			t.score(i, groups)
			t.climb(i, 0, 0)
			r.update(a, i, groups, 0, 0)
			t.pass(i)
			if i == 0 && planes != nil {
				planes.give(t.w, groups)
			}
		}
	}
}

// score ranks the neurons of node i that can be split.
func (t *leafRun) score(i, groups int) {
	switch SplitsOf(&t.w.g.net.Nodes()[i]) {
	case SignSplits:
		t.scoreSigns(i, groups)
	case PointSplits, KinkSplits:
		t.scorePoints(i, groups)
	case PairSplits:
		t.scorePairs(i, groups)
	}
}

// scoreSigns ranks neurons of ReLUs and LeakyReLUs. With a negative coefficient λ a neuron's
// upper line gives away up to |λ|t (the intercept score of BaBSR, Bunel et al. 2020; Wang et al.
// 2021). With a positive one what counts is what the lower line gives away at the
// minimising input, and little: any slope may be optimised away. (Of a LeakyReLU steeper than 1
// below 0 it is the other way round, but its lines are not optimised.)
func (t *leafRun) scoreSigns(i, groups int) {
	w := t.w
	d := &w.g.nodes[i]
	lo, hi := w.actLo[d.in[0]], w.actHi[d.in[0]]
	if d.relu {
		lo, hi = w.lo[i], w.hi[i]
	}
	o, _ := d.op.(*relaxElementwise)
	general, planes := d.lines == generalLines, planesOf(w)
	for g := range groups {
		v, z, alpha := w.group(w.v[i+1], i+1, g), w.group(w.ascent.z[i+1], i+1, g), w.group(w.ascent.alpha[i+1], i+1, g)
		w.each(g, i+1, func(at, k int) {
			p := w.params[i][k*kernels.RelaxParams:][:kernels.RelaxParams]
			b := p[kernels.RelaxIntercept]
			if b == 0 || !(lo[k] < 0 && hi[k] > 0) {
				return
			}
			leak := float32(0)
			if o != nil {
				leak = o.slope(k)
			}
			for l := range kernels.Lanes {
				n := at*kernels.Lanes + l
				x, row := z[n], v[n]
				var s float32
				if row < 0 && i == 0 && planes != nil {
					s = -row * (planes.value(w, g, at)[l] - max(x, 0))
				} else if row < 0 {
					s = -row * b
				} else {
					slope, below := alpha[n], float32(0)
					if general {
						slope, below = p[kernels.RelaxLower], -p[kernels.RelaxBias]
					}
					gap := max(x, 0) + float32(leak*min(x, 0)) - float32(slope*x)
					s = float32(weakScore*row*(gap+float32(1e-4*min(hi[k], -lo[k])))) + float32(row*below)
				}
				if s > 0 && t.own[g*kernels.Lanes+l] {
					t.rank(g*kernels.Lanes+l, Candidate{Split{Node: i, Neuron: k}, s})
				}
			}
		})
	}
}

// scorePoints ranks neurons of Sigmoids, Tanhs and Clips by what their lines give away at the minimising
// input, and a part of what they do elsewhere.
func (t *leafRun) scorePoints(i, groups int) {
	w := t.w
	src := w.g.nodes[i].in[0]
	o, errs := w.g.nodes[i].op.(*relaxElementwise), 0.0 // what lines leave for executions
	if o.curve != nil {
		errs = 2 * curveDistance
	}
	one := func(lane, k int, row, x, lo, hi float32, b *bent) {
		if row == 0 || !t.own[lane] || !(lo < hi) {
			return
		}
		slope, at, sign := b.high, b.highAt, float64(1)
		if row > 0 {
			slope, at, sign = b.low, b.lowAt, -1
		}
		gap := func(z float32) float64 {
			return float64(sign*(float64(float64(slope)*float64(z))+float64(at)-o.value(float64(z)))) - errs
		}
		x = min(max(x, lo), hi)
		cuts, n := o.cuts(lo, hi)
		for _, cut := range cuts[:n] {
			s := float32(max(gap(x), gap(cut)) + float64(elsewhere*max(gap(lo), gap(hi))))
			if s *= float32(math.Abs(float64(row))); s > 0 && lo < cut && cut < hi {
				t.rank(lane, Candidate{Split{Node: i, Neuron: k, At: cut}, s})
			}
		}
	}
	for g := range groups {
		v, z := w.group(w.v[i+1], i+1, g), w.group(w.ascent.z[i+1], i+1, g)
		w.each(g, i+1, func(at, k int) {
			p := w.params[i][k*kernels.RelaxParams:][:kernels.RelaxParams]
			b := bent{low: p[kernels.RelaxLower], lowAt: p[kernels.RelaxBias], high: p[kernels.RelaxUpper], highAt: p[kernels.RelaxIntercept]}
			for l := range kernels.Lanes {
				n := at*kernels.Lanes + l
				one(g*kernels.Lanes+l, k, v[n], z[n], w.actLo[src][k], w.actHi[src][k], &b)
			}
		})
	}
	for n := range t.splits[i].points {
		if f := &t.splits[i].points[n]; f.at >= 0 {
			one(f.group*kernels.Lanes+f.lane, f.k, f.coef, *t.of(w.ascent.z, i, &f.place), f.lo, f.hi, &f.lines)
		}
	}
}

// value is what the function, a Clip, Sigmoid or Tanh, has at z.
func (o *relaxElementwise) value(z float64) float64 {
	if o.curve != nil {
		return o.curve.value(z)
	}
	return min(max(z, float64(o.op.Min)), float64(o.op.Max))
}

// cuts are where a range may be split, the first n: a Clip at its kinks.
func (o *relaxElementwise) cuts(lo, hi float32) (at [2]float32, n int) {
	if o.curve != nil {
		return [2]float32{o.curve.cut(lo, hi)}, 1
	}
	return [2]float32{o.op.Min, o.op.Max}, 2
}

// cut is where to split a range [lo, hi]: in the middle of what is not flat of it.
func (o *curve) cut(lo, hi float32) float32 {
	l, h := float64(lo), float64(hi)
	if flat := flatFrom / o.scale; l < flat && h > -flat {
		l, h = max(l, -flat), min(h, flat)
	}
	return float32((l + h) / 2)
}

// scorePairs ranks outputs of maxima: by the bend that an upper plane cuts off, or by how much
// larger than the lower plane's another element is at the minimising input.
func (t *leafRun) scorePairs(i, groups int) {
	w := t.w
	src := w.g.nodes[i].in[0]
	o := w.g.nodes[i].op.(*relaxMax)
	at := func(q, p int32) int { return (int(q)*o.from.w + int(p)) * o.from.c }
	for g := range groups {
		v, z := w.group(w.v[i+1], i+1, g), w.group(w.ascent.z[src], src, g)
		w.each(g, i+1, func(n, k int) {
			p, q := w.params[i][k*kernels.RelaxParams:][:kernels.RelaxParams], &w.picks[i][k]
			c := k % o.to.c
			f := pairFix{place: place{group: g, at: n, k: k}, low: at(q.lowY, q.lowX) + c, high: at(q.highY, q.highX) + c, s: p[kernels.RelaxUpper], t: p[kernels.RelaxIntercept]}
			t.window = windowOf(t.window[:0], o.sliding, k)
			for l := range kernels.Lanes {
				if f.lane, f.coef = l, v[n*kernels.Lanes+l]; f.coef != 0 {
					t.scorePair(i, src, &f, z)
				}
			}
		})
	}
	for n := range t.splits[i].pairs {
		if f := &t.splits[i].pairs[n]; f.at >= 0 && f.coef != 0 {
			t.window = windowOf(t.window[:0], o.sliding, f.k)
			t.scorePair(i, src, f, w.group(w.ascent.z[src], src, f.group))
		}
	}
}

// scorePair ranks an output whose window t.window is.
func (t *leafRun) scorePair(i, src int, f *pairFix, z []float32) {
	w, lane := t.w, f.group*kernels.Lanes+f.lane
	if !t.own[lane] || f.s == 1 && f.t == 0 && f.low == f.high { // it is decided
		return
	}
	hi := w.actHi[src]
	value := func(k int) float32 { return z[w.within(f.group, src, k)*kernels.Lanes+f.lane] }
	rival, largest := -1, -1 // besides the upper plane's, by its bound; besides the lower plane's, by its value
	for _, k := range t.window {
		if f.lost(k) {
			continue
		}
		if k != f.high && (rival < 0 || hi[k] > hi[rival]) {
			rival = k
		}
		if k != f.low && (largest < 0 || value(k) > value(largest)) {
			largest = k
		}
	}
	if rival < 0 || largest < 0 {
		return
	}
	first, second := f.high, rival
	bend := float32(f.s*hi[rival]) + f.t - hi[rival]
	s := -f.coef * bend
	if f.coef > 0 {
		if gap := value(largest) - value(f.low); gap > 0 {
			first, second = f.low, largest
			s = f.coef * (gap + float32(elsewhere*bend))
		} else {
			s = f.coef * elsewhere * bend
		}
	}
	if s > 0 {
		t.rank(lane, Candidate{Split{Node: i, Neuron: f.k, First: int32(first), Second: int32(second)}, s})
	}
}

const (
	elsewhere = 0.1 // what counts of gaps that are not at the minimising input
	flatFrom  = 6   // times the scale: where Sigmoid and Tanh are flat
)

// outward is a candidate with elements channels first.
func (w *linearWorker) outward(c Candidate) Candidate {
	c.Neuron = channelFirst(c.Neuron, w.g.maps[c.Node+1])
	if o, ok := w.g.nodes[c.Node].op.(*relaxMax); ok {
		c.First, c.Second = int32(channelFirst(int(c.First), o.from)), int32(channelFirst(int(c.Second), o.from))
	}
	return c
}

// ranked is the number of candidates up to which those of a lane are kept in order.
const ranked = 32

// rank puts a candidate among those of a lane, of which the best are kept.
func (t *leafRun) rank(lane int, c Candidate) {
	list, most := t.top[lane], t.o.Candidates
	switch {
	case most > ranked:
		if list = append(list, c); len(list) >= 2*most {
			list = t.best(list)
		}
		t.top[lane] = list
		return
	case len(list) < most:
		list = append(list, c)
		t.top[lane] = list
	case !(c.Score > list[most-1].Score):
		return
	default:
		list[most-1] = c
	}
	for i := len(list) - 1; i > 0 && list[i].Score > list[i-1].Score; i-- {
		list[i], list[i-1] = list[i-1], list[i]
	}
}

// best sorts candidates, the first of equals before the others, and cuts off what is too much.
func (t *leafRun) best(list []Candidate) []Candidate {
	slices.SortStableFunc(list, func(a, b Candidate) int { return cmp.Compare(b.Score, a.Score) })
	return list[:min(len(list), t.o.Candidates)]
}
