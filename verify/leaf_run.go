package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
)

// leafRun bounds leaves of the frame that its worker has loaded, one a lane.
//
// 9d. Splits. In a leaf a trace's own sign decides: it belongs to a part in which a neuron
// is Active only if its ẑ ≥ 0, and Inactive only if ẑ ≤ 0, be it exact or executed. With
// β ≥ 0 and λ the coefficient behind the ReLU
//
//	Active:   λ·max(ẑ, 0) = λẑ ≥ (λ − β)ẑ,    Inactive: λ·max(ẑ, 0) = 0 ≥ βẑ.
//
// Rounding is monotone and λ a float: fl(λ − β) ≤ λ, so it is λ − β′ for some β′ ≥ 0 exactly.
// So splits have no rounding to be covered, but for what their coefficients λ′ take part in
// like all others: λ′b and |λ′|E, here in float64. Where h ≤ 0 in the frame, 0 ≥ 0·ẑ holds
// in any case, and λ′ = 0: the adjoint may leave such neurons out.
type leafRun struct {
	w     *linearWorker
	o     LeafOptions
	lanes []*Leaf                         // of each lane: [group][lane]; a short group repeats its last
	own   [maxGroups * kernels.Lanes]bool // lanes that are no repetitions
	fixes [][]fix                         // of each node
	top   [maxGroups * kernels.Lanes][]Candidate
}

// fix is a split in a lane.
type fix struct {
	group, lane, split int
	at, k              int // in the window, −1 beyond it; in the map
	active             bool
	beta, kept         float32 // now, and of the best bound
	m, s, scale        float32 // of Adam
	coef               float32 // λ
	post               float32 // value behind the ReLU
}

// weakScore is what neurons that only their lower lines bound are worth against others.
const weakScore = 0.05

func newLeafRun(w *linearWorker) *leafRun {
	return &leafRun{w: w, fixes: make([][]fix, len(w.g.nodes))}
}

func (t *leafRun) clear() {
	t.lanes = t.lanes[:0]
	for i := range t.fixes {
		t.fixes[i] = t.fixes[i][:0]
	}
}

// add gives up to eight leaves the next group, which has its place.
func (t *leafRun) add(leaves []*Leaf) {
	g := len(t.lanes) / kernels.Lanes
	for l := range kernels.Lanes {
		leaf := leaves[min(l, len(leaves)-1)]
		t.own[len(t.lanes)] = l < len(leaves)
		t.lanes = append(t.lanes, leaf)
		for k, s := range leaf.Splits {
			f := fix{
				group: g, lane: l, split: k, k: atShape(s.Neuron, t.w.g.net.Nodes()[s.Node].Shape),
				active: s.Phase == Active, beta: leaf.multiplier(k),
			}
			if !t.fixed(s.Node, &f) {
				t.fixes[s.Node] = append(t.fixes[s.Node], f)
			}
		}
	}
}

// fixed reports whether a neuron of a lane has a phase already: the first one counts.
func (t *leafRun) fixed(node int, f *fix) bool {
	list := t.fixes[node]
	for n := len(list) - 1; n >= 0 && list[n].group == f.group && list[n].lane == f.lane; n-- {
		if list[n].k == f.k {
			return true
		}
	}
	return false
}

// boundRows bounds rows of the property.
func (t *leafRun) boundRows(a *attempt, leaves []*Leaf) {
	w := t.w
	last := len(w.g.nodes) - 1
	m := w.g.maps[last+1]
	w.begin(last, m.full())
	t.clear()
	groups := kernels.Groups(len(leaves))
	for g := range groups {
		w.place(g)
		t.add(leaves[g*kernels.Lanes : min((g+1)*kernels.Lanes, len(leaves))])
	}
	w.ascend(a, last, groups, t.o.Steps, 0, func() {
		v := w.v[last+1][:groups*m.size()*kernels.Lanes]
		clear(v)
		w.started[last+1] = true
		clear(w.sums[:groups])
		for j, leaf := range t.lanes {
			g, l := j/kernels.Lanes, j%kernels.Lanes
			w.sums[g].B[l] = a.goal.fill(w.group(v, last+1, g), l, leaf.Target.Row, m)
		}
	})
	t.store(a)
}

// boundNeurons bounds neurons of node i. Those of a position make groups; groups of several
// positions go backward together where their windows allow it.
func (t *leafRun) boundNeurons(a *attempt, i int, leaves []*Leaf) {
	w := t.w
	m, shape := w.g.maps[i+1], w.g.net.Nodes()[i].Shape
	position := func(l *Leaf) int { return atShape(l.Target.Neuron, shape) / m.c }
	flush := func() {
		defer t.clear()
		if len(t.lanes) == 0 || a.stopped() {
			return
		}
		groups := len(t.lanes) / kernels.Lanes
		w.ascend(a, i-1, groups, t.o.Steps, 0, func() {
			clear(w.sums[:groups])
			for g := range groups {
				var list [kernels.Lanes]neuron
				for l, leaf := range t.lanes[g*kernels.Lanes:][:kernels.Lanes] {
					list[l] = neuron{int32(atShape(leaf.Target.Neuron, shape)), leaf.Target.Minus}
				}
				w.fill(i, g, list[:])
			}
			w.take(i, groups)
		})
		t.store(a)
	}
	t.clear()
	for from, to, last, atOnce := 0, 0, -1, 0; from < len(leaves); from = to {
		p := position(leaves[from])
		for to = from + 1; to < len(leaves) && to < from+kernels.Lanes && position(leaves[to]) == p; to++ {
		}
		if p != last {
			atOnce = w.begin(i, kernels.Window{Y0: p / m.w, Y1: p/m.w + 1, X0: p % m.w, X1: p%m.w + 1})
			last = p
		}
		if groups := len(t.lanes) / kernels.Lanes; groups > 0 && (groups >= atOnce || !w.fits()) {
			flush()
		}
		w.place(len(t.lanes) / kernels.Lanes)
		t.add(leaves[from:to])
	}
	flush()
}

// start sets the slopes of node i to those that leaves have.
func (t *leafRun) start(i int) {
	w := t.w
	m := w.g.maps[i+1]
	inWindow := func(g, k int) int { // −1: not in it
		win, y, x := w.placed[g][i+1], k/(m.w*m.c), k/m.c%m.w
		if y < win.Y0 || y >= win.Y1 || x < win.X0 || x >= win.X1 {
			return -1
		}
		return ((y-win.Y0)*win.W()+x-win.X0)*m.c + k%m.c
	}
	for n := range t.fixes[i] {
		f := &t.fixes[i][n]
		f.at = inWindow(f.group, f.k)
	}
	if !w.g.nodes[i].sloped() {
		return
	}
	params, all := w.params[i], w.frame.nodes[i].slopes
	for j, leaf := range t.lanes {
		g, l := j/kernels.Lanes, j%kernels.Lanes
		alpha := w.group(w.ascent.alpha[i+1], i+1, g)
		set := func(k int, s float32) {
			if at := inWindow(g, k); at >= 0 && params[k*kernels.RelaxParams+kernels.RelaxIntercept] != 0 {
				alpha[at*kernels.Lanes+l] = s
			}
		}
		switch {
		case leaf.slopes != nil && leaf.slopes[i] != nil:
			for n, k := range leaf.open[i] {
				set(int(k), leaf.slopes[i][n])
			}
		case all != nil && leaf.Target.Row >= 0:
			for _, k := range w.openAt[i] {
				set(int(k), all[leaf.Target.Row][k])
			}
		}
	}
}

// scales sets the lengths of first steps of multipliers of node i: the mean magnitude of its
// coefficients, of the first step that has any.
func (t *leafRun) scales(i int) {
	group, mean := -1, [kernels.Lanes]float32{}
	for n := range t.fixes[i] {
		f := &t.fixes[i][n]
		if f.group != group {
			group, mean = f.group, [kernels.Lanes]float32{}
			v, count := t.w.group(t.w.v[i+1], i+1, group), [kernels.Lanes]float32{}
			for k := 0; k < len(v); k += kernels.Lanes {
				for l, x := range v[k : k+kernels.Lanes] {
					if x != 0 {
						mean[l] += float32(math.Abs(float64(x)))
						count[l]++
					}
				}
			}
			for l, c := range count {
				mean[l] /= max(1, c)
			}
		}
		if f.scale == 0 {
			f.scale = mean[f.lane]
		}
	}
}

// of returns the number of a split neuron among values of node i.
func (t *leafRun) of(values [][]float32, i int, f *fix) *float32 {
	return &t.w.group(values[i+1], i+1, f.group)[f.at*kernels.Lanes+f.lane]
}

// lift takes the coefficients of split neurons of node i off the rows.
func (t *leafRun) lift(i, step int) {
	if t == nil || len(t.fixes[i]) == 0 {
		return
	}
	if step == 0 || slices.ContainsFunc(t.fixes[i], func(f fix) bool { return f.scale == 0 }) {
		t.scales(i)
	}
	for n := range t.fixes[i] {
		if f := &t.fixes[i][n]; f.at >= 0 {
			p := t.of(t.w.v, i, f)
			f.coef, *p = *p, 0
		}
	}
}

// put gives split neurons of node i their coefficients before the ReLU (9d).
func (t *leafRun) put(i int) {
	if t == nil {
		return
	}
	for n := range t.fixes[i] {
		f := &t.fixes[i][n]
		if f.at < 0 {
			continue
		}
		p, s := t.w.params[i][f.k*kernels.RelaxParams:][:kernels.RelaxParams], &t.w.sums[f.group]
		v := f.beta
		switch {
		case p[kernels.RelaxUpper] == 0:
			v = 0
		case f.active:
			v = f.coef - f.beta
		}
		*t.of(t.w.ascent.out, i, f) = v
		s.B[f.lane] += float64(v) * float64(p[kernels.RelaxBias])
		s.E[f.lane] += math.Abs(float64(v)) * float64(p[kernels.RelaxError])
	}
}

// climb moves the multipliers of node i up their gradients, which are the neurons' values
// at the minimising inputs.
func (t *leafRun) climb(i int, rate, scale float32) {
	if t == nil {
		return
	}
	for n := range t.fixes[i] {
		f := &t.fixes[i][n]
		if f.at < 0 {
			continue
		}
		grad := *t.of(t.w.ascent.z, i, f)
		if f.post = 0; f.active {
			grad, f.post = -grad, grad
		}
		f.m = float32(beta1*f.m) + float32((1-beta1)*grad)
		f.s = float32(beta2*f.s) + float32((1-beta2)*float32(grad*grad))
		step := float32(float32(rate*f.scale)*f.m) / (float32(math.Sqrt(float64(f.s*scale))) + 1e-12)
		if f.beta = max(f.beta+step, 0); f.beta-f.beta != 0 {
			f.beta = 0
		}
	}
}

// pass gives split neurons of node i their values behind the ReLU.
func (t *leafRun) pass(i int) {
	if t == nil {
		return
	}
	for n := range t.fixes[i] {
		if f := &t.fixes[i][n]; f.at >= 0 {
			*t.of(t.w.ascent.z, i, f) = f.post
		}
	}
}

// keep keeps the multipliers of a lane.
func (t *leafRun) keep(group, lane int) {
	if t == nil {
		return
	}
	for i := range t.fixes {
		for n := range t.fixes[i] {
			if f := &t.fixes[i][n]; f.group == group && f.lane == lane {
				f.kept = f.beta
			}
		}
	}
}

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
	r.corners(a, groups)
	for i := range from + 1 {
		if a.used[i+1] {
			r.g.nodes[i].op.values(r, a, i, groups)
			t.score(i, groups)
			t.climb(i, 0, 0)
			r.update(a, i, groups, 0, 0)
			t.pass(i)
		}
	}
}

// score ranks the open neurons of node i. With a negative coefficient λ a neuron's upper
// line gives away up to |λ|t (the intercept score of BaBSR, Bunel et al. 2020; Wang et al.
// 2021). With a positive one what counts is what the lower line gives away at the
// minimising input, and little: any slope may be optimised away.
func (t *leafRun) score(i, groups int) {
	w := t.w
	if !w.g.nodes[i].sloped() || !hasPhases(&w.g.net.Nodes()[i]) {
		return
	}
	lo, hi := w.actLo[w.g.nodes[i].in[0]], w.actHi[w.g.nodes[i].in[0]]
	if w.g.nodes[i].relu {
		lo, hi = w.lo[i], w.hi[i]
	}
	for g := range groups {
		v, z, alpha := w.group(w.v[i+1], i+1, g), w.group(w.ascent.z[i+1], i+1, g), w.group(w.ascent.alpha[i+1], i+1, g)
		w.each(g, i+1, func(at, k int) {
			b := w.params[i][k*kernels.RelaxParams+kernels.RelaxIntercept]
			if b == 0 {
				return
			}
			for l := range kernels.Lanes {
				n := at*kernels.Lanes + l
				x, row := z[n], v[n]
				var s float32
				if row < 0 {
					s = -row * b
				} else {
					s = weakScore * row * (max(x, 0) - float32(alpha[n]*x) + 1e-4*min(hi[k], -lo[k]))
				}
				if s > 0 && t.own[g*kernels.Lanes+l] {
					t.rank(g*kernels.Lanes+l, Candidate{i, k, s})
				}
			}
		})
	}
}

// rank puts a candidate among those of a lane.
func (t *leafRun) rank(lane int, c Candidate) {
	list := t.top[lane]
	n := len(list)
	for n > 0 && list[n-1].Score < c.Score {
		n--
	}
	if n >= t.o.Candidates {
		return
	}
	if len(list) < t.o.Candidates {
		list = append(list, c)
	}
	copy(list[n+1:], list[n:])
	list[n] = c
	t.top[lane] = list
}

// store hands results to the leaves.
func (t *leafRun) store(a *attempt) {
	if a.gaveUp {
		return
	}
	w := t.w
	for j, leaf := range t.lanes {
		if !t.own[j] {
			continue
		}
		g, l := j/kernels.Lanes, j%kernels.Lanes
		leaf.Low = max(leaf.Low, down32(w.low[g][l]))
		if t.o.Steps > 0 {
			t.take(leaf, g, l)
		}
		if leaf.Low > 0 || t.o.Candidates == 0 {
			continue
		}
		leaf.Choice = leaf.Choice[:0]
		for _, c := range t.top[j] {
			leaf.Choice = append(leaf.Choice, Candidate{c.Node, channelFirst(c.Neuron, w.g.maps[c.Node+1]), c.Score})
		}
		leaf.Point, leaf.Spread = w.point(leaf.Point, leaf.Spread, g, l)
	}
}

// take copies the slopes and multipliers that gave a lane its bound.
func (t *leafRun) take(leaf *Leaf, g, l int) {
	w := t.w
	leaf.slopes, leaf.open = make([][]float32, len(w.g.nodes)), w.openAt
	for i := range w.g.nodes {
		if !w.ascent.used[i+1] || !w.g.nodes[i].sloped() {
			continue
		}
		open, n := w.openAt[i], 0
		row, kept := make([]float32, len(open)), w.group(w.ascent.kept[i+1], i+1, g)
		w.each(g, i+1, func(at, k int) {
			for n < len(open) && int(open[n]) < k {
				n++
			}
			if n < len(open) && int(open[n]) == k {
				row[n] = kept[at*kernels.Lanes+l]
			}
		})
		leaf.slopes[i] = row
	}
	leaf.beta = make([]float32, len(leaf.Splits))
	for i := range t.fixes {
		for n := range t.fixes[i] {
			if f := &t.fixes[i][n]; f.group == g && f.lane == l {
				leaf.beta[f.split] = f.kept
			}
		}
	}
}

// point writes what a lane attains its bound at, and what the widths of inputs cost it.
func (w *linearWorker) point(at, spread []float32, g, l int) (point, cost []float32) {
	m := w.g.maps[0]
	if at == nil {
		at, spread = make([]float32, m.size()), make([]float32, m.size())
	}
	for o := range at { // beyond the window anything will do
		k := atShape(o, w.g.net.Input())
		at[o], spread[o] = (w.actLo[0][k]+w.actHi[0][k])/2, 0
	}
	z, v := w.group(w.ascent.z[0], 0, g), w.group(w.v[0], 0, g)
	w.each(g, 0, func(n, k int) {
		o := channelFirst(k, m)
		at[o] = z[n*kernels.Lanes+l]
		spread[o] = float32(math.Abs(float64(v[n*kernels.Lanes+l]))) * (w.actHi[0][k] - w.actLo[0][k])
	})
	return at, spread
}

// channelFirst is the output, channels first, that lies at k in memory.
func channelFirst(k int, m extent) int { return k%m.c*m.h*m.w + k/m.c }
