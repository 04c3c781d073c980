package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
)

// leafRun bounds leaves of the frame that its worker has loaded, one a lane.
type leafRun struct {
	w      *linearWorker
	o      LeafOptions
	lanes  []*Leaf                         // of each lane: [group][lane]; a short group repeats its last
	own    [maxGroups * kernels.Lanes]bool // lanes that are no repetitions
	splits []nodeSplits                    // of each node
	top    [maxGroups * kernels.Lanes][]Candidate
	last   [maxGroups * kernels.Lanes]float32 // bounds of the last step
	window []int                              // of an output of a maximum
}

func newLeafRun(w *linearWorker) *leafRun {
	return &leafRun{w: w, splits: make([]nodeSplits, len(w.g.nodes))}
}

func (t *leafRun) clear() {
	t.lanes = t.lanes[:0]
	for i := range t.splits {
		t.splits[i].clear()
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
			t.split(g, l, k, s, leaf.multiplier(k))
		}
	}
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
	if p := planesOf(w); i == 0 && p != nil {
		for j, leaf := range t.lanes {
			switch all := w.frame.planes; {
			case leaf.planes != nil:
				p.set(w, j/kernels.Lanes, j%kernels.Lanes, leaf.planes)
			case all != nil && leaf.Target.Row >= 0:
				p.set(w, j/kernels.Lanes, j%kernels.Lanes, all[leaf.Target.Row])
			}
			if leaf.again {
				p.settle, p.solve = 0, true
			}
		}
	}
	n := &t.splits[i]
	n.places(func(p *place) { p.at = w.within(p.group, i+1, p.k) })
	for k := range n.points {
		n.points[k].narrow(w, i)
	}
	for k := range n.pairs {
		n.pairs[k].narrow(w, i)
	}
	if !w.g.nodes[i].sloped() {
		return
	}
	params, all := w.params[i], w.frame.nodes[i].slopes
	for j, n := 0, 0; j < len(t.lanes); j += n {
		leaf, g, l := t.lanes[j], j/kernels.Lanes, j%kernels.Lanes
		n = t.alike(j)
		alpha := w.group(w.ascent.alpha[i+1], i+1, g)[l:]
		set := func(at int, s float32) {
			to := alpha[at*kernels.Lanes:][:n]
			for l := range to {
				to[l] = s
			}
		}
		switch {
		case leaf.slopes != nil && leaf.slopes[i] != nil:
			open, own := leaf.open[i], leaf.slopes[i]
			w.eachOf(open, g, i+1, func(n, at int) {
				if params[int(open[n])*kernels.RelaxParams+kernels.RelaxIntercept] != 0 { // in another frame it may be stable
					set(at, own[n])
				}
			})
		case all != nil && leaf.Target.Row >= 0:
			open, own := w.openAt[i], all[leaf.Target.Row]
			w.eachOf(open, g, i+1, func(n, at int) { set(at, own[open[n]]) })
		}
	}
}

// alike is the number of lanes of a group, from lane j on, that start with the same slopes.
func (t *leafRun) alike(j int) int {
	leaf := t.lanes[j]
	n := 1
	for j += n; j%kernels.Lanes != 0 && j < len(t.lanes); j, n = j+1, n+1 {
		if from := t.lanes[j].Optimised(); from != leaf.Optimised() || from == nil && t.lanes[j].Target != leaf.Target {
			break
		}
	}
	return n
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
		for _, c := range t.best(t.top[j]) {
			leaf.Choice = append(leaf.Choice, w.outward(c))
		}
		if leaf.Target.Row >= 0 {
			leaf.Point, leaf.Spread = w.point(leaf.Point, leaf.Spread, g, l)
			leaf.last = t.last[j]
		}
	}
	if t.o.Steps == 0 {
		return
	}
	for i := range t.splits {
		t.splits[i].each(func(p *place, b *multiplier) {
			if j := p.group*kernels.Lanes + p.lane; t.own[j] {
				t.lanes[j].beta[b.split] = b.kept
			}
		})
	}
}

// take copies the slopes that gave a lane its bound, and makes room for its multipliers.
func (t *leafRun) take(leaf *Leaf, g, l int) {
	w := t.w
	leaf.slopes, leaf.open = make([][]float32, len(w.g.nodes)), w.openAt
	for i := range w.g.nodes {
		if !w.ascent.used[i+1] || !w.g.nodes[i].sloped() {
			continue
		}
		row, kept := make([]float32, len(w.openAt[i])), w.group(w.ascent.kept[i+1], i+1, g)
		w.eachOf(w.openAt[i], g, i+1, func(n, at int) { row[n] = kept[at*kernels.Lanes+l] })
		leaf.slopes[i] = row
	}
	if p := planesOf(w); p != nil && w.ascent.used[1] {
		leaf.planes = p.kept(w, g, l)
	}
	leaf.beta = make([]float32, len(leaf.Splits))
}

// eachOf calls f for those of a list of elements, in memory order, that lie in the window of a
// group: with their place in the list, and in the window.
func (w *linearWorker) eachOf(list []int32, g, act int, f func(n, at int)) {
	m, win := w.g.maps[act], w.placed[g][act]
	begin := 0
	for y := win.Y0; y < win.Y1; y++ {
		from, to := (y*m.w+win.X0)*m.c, (y*m.w+win.X1)*m.c
		n, _ := slices.BinarySearch(list, int32(from))
		for ; n < len(list) && int(list[n]) < to; n++ {
			f(n, begin+int(list[n])-from)
		}
		begin += to - from
	}
}

// within is where element k of an activation lies in the window of a group; −1: beyond it.
func (w *linearWorker) within(g, act, k int) int {
	m, win := w.g.maps[act], w.placed[g][act]
	y, x := k/(m.w*m.c), k/m.c%m.w
	if y < win.Y0 || y >= win.Y1 || x < win.X0 || x >= win.X1 {
		return -1
	}
	return ((y-win.Y0)*win.W()+x-win.X0)*m.c + k%m.c
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
