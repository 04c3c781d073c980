package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// linearWorker bounds one image at a time: intervals forward, rows backward. It belongs
// to one goroutine at a time.
type linearWorker struct {
	*rows
	c, r, m    []float32 // of a source: centre, radius, magnitude
	cOut, rOut []float32
	vOut, dOut []float32
	rest       []float64 // of errors, by channel
	list       []neuron
	open       []bool         // neurons whose bounds are worth a row
	largest    []bool         // those that a maximum asks for
	count      [maxGroups]int // rows of each group
	mid        [][]float32    // activations of the centre; nil if not needed

	ascent *ascent
	planes hull      // nil: none
	team   helpers   // a team that works for it; nil: it works alone
	leaves rider     // a leafRun, once there were leaves
	lanes  any       // imageLanes, once images have shared lanes
	openAt [][]int32 // of a frame, neurons of each node whose lower line is free
	frame  *Domain   // that is loaded; nil: none, or something else is
	proved []float32 // lower bounds of the goal's rows

	rowsOf []neuron // whose rows go backward with optimised slopes
	keeper keeper   // once radii were searched for
}

func newLinearWorker(g *graph) *linearWorker {
	w := &linearWorker{rows: newRows(g)}
	alloc := func(n int) []float32 { return kernels.Alloc(kernels.Groups(n) * kernels.Lanes) }
	if g.planes != nil {
		w.planes = g.planes(g)
	}
	largest, channels := 0, 0
	for _, m := range g.maps {
		largest, channels = max(largest, m.size()), max(channels, m.c)
		if !g.whole {
			w.mid = append(w.mid, alloc(m.size()))
		}
	}
	for _, p := range []*[]float32{&w.c, &w.r, &w.m, &w.cOut, &w.rOut, &w.vOut, &w.dOut} {
		*p = alloc(largest)
	}
	w.open, w.largest = make([]bool, largest), make([]bool, largest)
	w.rest = make([]float64, channels)
	return w
}

// load sets the region.
func (w *linearWorker) load(a *area) {
	w.frame, w.first = nil, nil
	in := w.g.net.Input()
	size := in.Size()
	lo, hi, centre := w.c[:size], w.r[:size], w.m[:size] // channels first
	w.scaling.load(a, lo, hi, centre)
	w.norm, w.eps = a.norm, a.eps()
	net.Singles.Pack(w.actLo[0], lo, in, 0)
	net.Singles.Pack(w.actHi[0], hi, in, 0)
	net.Singles.Pack(w.centre, centre, in, 0)
	inputParams(w.input, w.actLo[0], w.actHi[0])
	if w.norm != net.Linf {
		dualParams(w.dual, w.centre, w.actLo[0], w.actHi[0])
	}
	w.less = keep(termUnderflow, eta*8*float64(size))
}

// split turns the box of activation a into centres, inflated radii for a layer of
// constants b, and magnitudes M, of which it returns the sum as well, and whether all of them
// are at least 0.
func (w *linearWorker) split(a int, b rounding) (c, r, m []float32, sumM float64, positive bool) {
	srcLo, srcHi := w.actLo[a], w.actHi[a]
	n := kernels.Groups(len(srcLo)) * kernels.Lanes
	c, r, m = w.c[:n], w.r[:n], w.m[:n]
	copy(c, srcLo)
	copy(r, srcHi)
	positive = true
	for k, l := range srcLo {
		positive = positive && l >= 0
		v := max(float32(math.Abs(float64(l))), float32(math.Abs(float64(srcHi[k]))))
		m[k] = v
		sumM += float64(v)
	}
	w.g.net.ISA().IntervalBox(&w.sc, c, r, b.interval(false))
	return c, r, m, sumM, positive
}

// sumsOf bounds node i and sets its errors from C, R, V and, if it is known, D, of a layer with a
// bias for each channel that adds the activation skip; −1: none. sumM is that of its source.
func (w *linearWorker) sumsOf(i int, bias []float32, skip int, sumM float64, bySign bool) {
	d := &w.g.nodes[i]
	lo, hi, p := w.lo[i], w.hi[i], w.params[i]
	ofV, ofD, ofSkip := d.rounding.errors(w.rest, bias, bySign)
	vOut, dOut := w.vOut, w.dOut
	if !bySign {
		dOut = vOut
	}
	ofLate := keep(termSkipBox, d.rounding.exec*(1+slack))
	rest := w.rest[:len(bias)]
	sumZ, ch := 0.0, 0
	for k := range lo {
		c, r := w.cOut[k], w.rOut[k]
		l, h := c-r, c+r
		l -= float32(float32(math.Abs(float64(l)))*relStep) + float32(tiny)
		h += float32(float32(math.Abs(float64(h)))*relStep) + float32(tiny)
		v := float64(vOut[k])
		e := float64(ofV*v) + float64(ofD*(v+math.Abs(float64(dOut[k])))) + rest[ch]
		if skip >= 0 {
			sl, sh := float64(w.actLo[skip][k]), float64(w.actHi[skip][k])
			m := max(math.Abs(sl), math.Abs(sh))
			late := float64(ofLate * m)
			l, h = widenOut(float64(l)+sl-late, float64(h)+sh+late)
			e += float64(ofSkip * m)
		}
		lo[k], hi[k] = l, h
		q := p[k*kernels.RelaxParams:][:kernels.RelaxParams]
		q[kernels.RelaxBias], q[kernels.RelaxError] = bias[ch], float32(float64(e*(1+slack)))
		sumZ += max(-float64(l), float64(h))
		if ch++; ch == len(rest) {
			ch = 0
		}
	}
	w.less += d.rounding.underflow(sumM, sumZ, len(lo))
}

// settle fixes the slopes of node i, a linear one, and the box of its output.
func (w *linearWorker) settle(i int) {
	d := &w.g.nodes[i]
	lo, hi, p := w.lo[i], w.hi[i], w.params[i]
	outLo, outHi := w.actLo[i+1], w.actHi[i+1]
	for k, l := range lo {
		h := hi[k]
		q := p[k*kernels.RelaxParams:][:kernels.RelaxParams]
		low, up, t := float32(1), float32(1), float32(0)
		switch {
		case !d.relu || l >= 0:
		case h <= 0:
			low, up, l, h = 0, 0, 0, 0
		default:
			low, up, t = reluLines(l, h)
			l = max(l, 0) // NaN stays
		}
		q[kernels.RelaxLower], q[kernels.RelaxUpper], q[kernels.RelaxIntercept] = low, up, t
		outLo[k], outHi[k] = l, h
	}
}

// trace computes the activations of the ball's centre in a network of dense layers. They
// steer the order of work, no bound.
func (w *linearWorker) trace() {
	copy(w.mid[0], w.centre)
	for i := range w.g.nodes {
		w.g.nodes[i].op.(*relaxAffine).point(w, i)
		if w.g.nodes[i].relu {
			out := w.mid[i+1][:w.g.maps[i+1].size()]
			for k, v := range out {
				out[k] = max(v, 0)
			}
		}
	}
}

// upperFirst reports which end of neuron k of node i to bound first. What is bounded depends
// on it, where the first end is enough; without backward there is no trace of this region.
func (w *linearWorker) upperFirst(t *attempt, i, k int) bool {
	if w.g.whole || !t.backward {
		return w.hi[i][k] < -w.lo[i][k]
	}
	return !(w.mid[i+1][k] > 0)
}

// ask marks the neurons of node i whose better bounds would make lines better: those
// of its ReLU, or of what reads it. For maxima again keeps those of the first time.
func (w *linearWorker) ask(t *attempt, i int, again bool) {
	d, lo, hi := &w.g.nodes[i], w.lo[i], w.hi[i]
	open := w.open[:len(lo)]
	all := t.pure || w.whole(d)
	for k, l := range lo {
		open[k] = all || d.relu && l < 0 && hi[k] > 0
	}
	if len(d.bends) == 0 || all {
		return
	}
	if d.relu { // what reads it sees these
		lo, hi = w.c[:len(lo)], w.r[:len(lo)]
		for k, l := range w.lo[i] {
			lo[k], hi[k] = max(l, 0), max(w.hi[i][k], 0)
		}
	}
	largest := w.largest[:len(lo)]
	if !again {
		clear(largest)
	}
	for _, b := range d.bends {
		if _, ok := b.(*relaxMax); !ok {
			b.open(lo, hi, open)
		} else if !again {
			b.open(lo, hi, largest)
		}
	}
	for k, l := range largest {
		open[k] = open[k] || l
	}
}

// whole reports whether all elements of a node are bounded by the dual norm.
func (w *linearWorker) whole(d *node) bool { return w.g.whole && d.dual() && w.norm != net.Linf }

// tighten bounds neurons of node i by rows: first the side that may show a neuron
// to be stable, then, unless that was enough, the other. What is bounded better by its
// interval keeps it.
func (w *linearWorker) tighten(t *attempt, i int) {
	w.list = w.list[:0]
	w.ask(t, i, false)
	for k, open := range w.open[:len(w.lo[i])] {
		if open {
			w.list = append(w.list, neuron{int32(k), w.upperFirst(t, i, k)})
		}
	}
	w.boundNeurons(t, i, w.list, 0)
	w.boundNeurons(t, i, w.still(t, i, t.bothSides, true), 0)
	if t.steps > 0 && !t.rowsOnly && w.g.nodes[i].stops { // once more, with optimised slopes
		w.optimise(t, i, w.still(t, i, false, false))
		w.optimise(t, i, w.still(t, i, false, true))
	}
}

// still asks again, and returns what is open of the list, or all of it: the same ends or the
// others.
func (w *linearWorker) still(t *attempt, i int, all, others bool) []neuron {
	w.ask(t, i, true)
	n := 0
	for _, r := range w.list {
		if all || w.open[r.index] {
			w.list[n] = neuron{r.index, r.minus != others}
			n++
		}
	}
	w.list = w.list[:n]
	return w.list
}

// optimise bounds the rows of list, sorted by position, with optimised slopes: in fewer steps
// those whose slopes are known from another radius.
func (w *linearWorker) optimise(t *attempt, i int, list []neuron) {
	if t.warm != nil {
		var known []neuron
		known, list = t.warm.divide(w, i, list)
		w.boundNeurons(t, i, known, (t.steps+warmShare-1)/warmShare)
	}
	w.boundNeurons(t, i, list, t.steps)
}

// helpers take rows of a worker: a team. (As an interface, so that programs that have no
// use for one do not carry it.)
type helpers interface {
	// neurons and goal do nothing where there is nothing to divide, and say whether they did.
	// (Attempts are values here, so that they need no heap.)
	neurons(t attempt, node int, list []neuron, steps int) (did, gaveUp bool)
	goal(t attempt, last int, low []float32, atOnce int) (did, gaveUp bool)

	// changed says that the lines of a node are new.
	changed(node int)
}

// boundNeurons bounds the rows of list, sorted by position, with helpers if there are any.
func (w *linearWorker) boundNeurons(t *attempt, i int, list []neuron, steps int) {
	if w.team != nil {
		did, gaveUp := w.team.neurons(*t, i, list, steps)
		if t.gaveUp = t.gaveUp || gaveUp; did {
			return
		}
	}
	w.boundList(t, i, list, steps)
}

// boundList bounds the rows of list, sorted by position. Eight of one position make a
// group; groups of several positions go backward together.
func (w *linearWorker) boundList(t *attempt, i int, list []neuron, steps int) {
	m := w.g.maps[i+1]
	last, groups, atOnce, first := -1, 0, 0, 0
	flush := func(end int) {
		if groups > 0 && !t.stopped() {
			w.boundGroups(t, i, groups, list[first:end], steps)
		}
		groups, first = 0, end
	}
	for from, to := 0, 0; from < len(list) && !t.gaveUp; from = to {
		p := int(list[from].index) / m.c
		to = groupEnd(list, from, m.c)
		if p != last {
			atOnce = w.begin(i, kernels.Window{Y0: p / m.w, Y1: p/m.w + 1, X0: p % m.w, X1: p%m.w + 1})
			last = p
		}
		if groups > 0 && (groups >= atOnce || !w.fits()) {
			flush(from)
		}
		w.place(groups)
		w.fill(i, groups, list[from:to])
		w.count[groups] = to - from
		groups++
	}
	flush(len(list))
}

// boundGroups takes groups of rows that are filled backward.
func (w *linearWorker) boundGroups(t *attempt, i, groups int, list []neuron, steps int) {
	if steps > 0 {
		w.rowsOf = list
		w.ascend(t, i-1, groups, steps, -1, func() {
			rest := list
			for g := range groups {
				w.sums[g] = kernels.RelaxSums{}
				w.fill(i, g, rest[:w.count[g]])
				rest = rest[w.count[g]:]
			}
			w.take(i, groups)
		})
		if t.warm != nil && !t.gaveUp {
			t.warm.store(w, i, groups)
		}
	} else {
		w.take(i, groups)
		w.run(i-1, groups, nil)
		w.finish(groups)
	}
	for g := range groups {
		for l, n := range list[:w.count[g]] {
			low := w.low[g][l]
			switch {
			case n.minus && t.pure:
				w.hi[i][n.index] = up32(-low)
			case n.minus:
				w.hi[i][n.index] = min(w.hi[i][n.index], up32(-low))
			case t.pure:
				w.lo[i][n.index] = down32(low)
			default:
				w.lo[i][n.index] = max(w.lo[i][n.index], down32(low))
			}
		}
		list = list[w.count[g]:]
	}
}

// boundNodes carries the loaded region to the last node but for the rows of the goal;
// backward, neurons before what bends are bounded by rows, and with steps by optimised
// ones. Bounds of a domain stay within those that it has.
func (w *linearWorker) boundNodes(t *attempt) {
	if t.backward && !w.g.whole {
		w.trace()
	}
	for i := range w.g.nodes {
		if t.stopped() {
			return
		}
		d := &w.g.nodes[i]
		d.op.forward(w, i)
		w.sparse[i].known = false
		if w.team != nil {
			w.team.changed(i)
		}
		if t.empty = t.domain != nil && !t.domain.narrow(w, i); t.empty {
			return
		}
		if d.bent { // forward has set all; rows from behind lines are no better than boxes
			continue
		}
		exact := d.exact && w.norm == net.Linf
		dual := w.norm != net.Linf && (d.dual() || d.first && !w.g.whole && !t.boxes)
		if i >= t.from && (t.backward || dual) && (d.relu || len(d.bends) > 0 || w.whole(d)) && !exact {
			w.tighten(t, i)
			if t.empty = t.domain != nil && crossed(w.lo[i], w.hi[i]); t.empty {
				return
			}
		}
		w.settle(i)
		if i == 0 && w.planes != nil && (t.steps > 0 || t.domain != nil) {
			w.planes.know(w)
		}
	}
	for a, p := range w.stop {
		if p != nil {
			inputParams(p, w.actLo[a], w.actHi[a])
		}
	}
}

// widenOut rounds sums of float32 outward, and covers one rounding of theirs.
func widenOut(lo, hi float64) (float32, float32) {
	return float32(lo - float64(math.Abs(lo)*relStep) - tiny), float32(hi + float64(math.Abs(hi)*relStep) + tiny)
}
