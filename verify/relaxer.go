package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// relaxer bounds one image at a time: intervals forward, rows backward. It belongs
// to one goroutine at a time.
type relaxer struct {
	*rows
	c, r, m    []float32 // of a source: centre, radius, magnitude
	cOut, rOut []float32
	vOut       []float32
	rest       []float64 // of errors, by channel
	list       []neuron
	open       []bool         // neurons whose bounds are worth a row
	largest    []bool         // those that a maximum asks for
	count      [maxGroups]int // rows of each group
	mid        [][]float32    // activations of the centre; nil if not needed

	deep      bool // the neurons of the loaded image are bounded by rows
	ascent    *ascent
	steps     int    // gradient steps for the rows of neurons
	rowsOnly  bool   // optimise the slopes of the statement alone
	proof     *Proof // wanted; else nil
	early     bool   // stop optimising when the statement is proved
	bothSides bool   // bound stable neurons from both sides
	pure      bool   // rows alone, no interval: tests compare with other implementations
}

func newRelaxer(g *graph) *relaxer {
	w := &relaxer{rows: newRows(g)}
	alloc := func(n int) []float32 { return kernels.Alloc(kernels.Groups(n) * kernels.Lanes) }
	largest, channels := 0, 0
	for _, m := range g.maps {
		largest, channels = max(largest, m.size()), max(channels, m.c)
		if !g.whole {
			w.mid = append(w.mid, alloc(m.size()))
		}
	}
	for _, p := range []*[]float32{&w.c, &w.r, &w.m, &w.cOut, &w.rOut, &w.vOut} {
		*p = alloc(largest)
	}
	w.open, w.largest = make([]bool, largest), make([]bool, largest)
	w.rest = make([]float64, channels)
	return w
}

// load sets the ball around an image, channels first.
func (w *relaxer) load(x []float32, ball net.Ball, box net.Box) {
	in := w.g.net.Input()
	hw := in.H * in.W
	mean, std := w.g.net.Normalization()
	lo, hi := w.c[:len(x)], w.r[:len(x)]
	box.Outer(lo, hi, x)
	w.norm, w.eps, w.less, w.gaveUp = ball.Norm, box.EpsHi(), 0, false
	for c := range in.C {
		for p := range hw {
			k, i := p*in.C+c, c*hw+p
			l, h, v := lo[i], hi[i], x[i]
			if mean != nil {
				m, s := mean[c], std[c]
				l, h = normalizeOut((l-m)/s, (h-m)/s)
				v = (v - m) / s
			}
			w.actLo[0][k], w.actHi[0][k], w.centre[k] = l, h, v
		}
	}
	inputParams(w.input, w.actLo[0], w.actHi[0])
	if w.norm != net.Linf {
		dualParams(w.dual, w.centre, w.actLo[0], w.actHi[0])
	}
	w.less += keep(termUnderflow, eta*8*float64(len(x)))
}

// split turns the box of activation a into centres, inflated radii for a layer of
// constants b, and magnitudes M, of which it returns the sum as well.
func (w *relaxer) split(a int, b bound) (c, r, m []float32, sumM float64) {
	srcLo, srcHi := w.actLo[a], w.actHi[a]
	n := kernels.Groups(len(srcLo)) * kernels.Lanes
	c, r, m = w.c[:n], w.r[:n], w.m[:n]
	copy(c, srcLo)
	copy(r, srcHi)
	for k, l := range srcLo {
		v := max(float32(math.Abs(float64(l))), float32(math.Abs(float64(srcHi[k]))))
		m[k] = v
		sumM += float64(v)
	}
	w.g.net.ISA().IntervalBox(&w.sc, c, r, b.interval(false))
	return c, r, m, sumM
}

// sumsOf bounds node i and sets its errors from C, R and V, of a layer with a bias for
// each channel that adds the activation skip; −1: none. sumM is that of its source.
func (w *relaxer) sumsOf(i int, bias []float32, skip int, sumM float64) {
	d := &w.g.nodes[i]
	lo, hi, p := w.lo[i], w.hi[i], w.params[i]
	ofV, ofSkip := d.relax.errors(w.rest, bias)
	ofLate := keep(termSkipBox, d.relax.exec*(1+slack))
	rest := w.rest[:len(bias)]
	sumZ, ch := 0.0, 0
	for k := range lo {
		c, r := w.cOut[k], w.rOut[k]
		l, h := c-r, c+r
		l -= float32(float32(math.Abs(float64(l)))*relStep) + float32(tiny)
		h += float32(float32(math.Abs(float64(h)))*relStep) + float32(tiny)
		e := float64(ofV*float64(w.vOut[k])) + rest[ch]
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
	w.less += d.relax.underflow(sumM, sumZ, len(lo))
}

// settle fixes the slopes of node i, a linear one, and the box of its output.
func (w *relaxer) settle(i int) {
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
			low, up, t = relaxation(l, h)
			l = max(l, 0) // NaN stays
		}
		q[kernels.RelaxLower], q[kernels.RelaxUpper], q[kernels.RelaxIntercept] = low, up, t
		outLo[k], outHi[k] = l, h
	}
}

// trace computes the activations of the ball's centre in a network of dense layers. They
// steer the order of work, no bound.
func (w *relaxer) trace() {
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

// upperFirst reports which end of neuron k of node i to bound first.
func (w *relaxer) upperFirst(i, k int) bool {
	if w.g.whole {
		return w.hi[i][k] < -w.lo[i][k]
	}
	return !(w.mid[i+1][k] > 0)
}

// ask marks the neurons of node i whose better bounds would make lines better: those
// of its ReLU, or of what reads it. For maxima again keeps those of the first time.
func (w *relaxer) ask(i int, again bool) {
	d, lo, hi := &w.g.nodes[i], w.lo[i], w.hi[i]
	open := w.open[:len(lo)]
	all := w.pure || w.whole(d)
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
func (w *relaxer) whole(d *node) bool { return w.g.whole && d.dual() && w.norm != net.Linf }

// tighten bounds neurons of node i by rows: first the side that may show a neuron
// to be stable, then, unless that was enough, the other. What is bounded better by its
// interval keeps it.
func (w *relaxer) tighten(i, iterations int) {
	w.list = w.list[:0]
	w.ask(i, false)
	for k, open := range w.open[:len(w.lo[i])] {
		if open {
			w.list = append(w.list, neuron{int32(k), w.upperFirst(i, k)})
		}
	}
	w.boundNeurons(i, w.list)
	w.ask(i, true)
	n := 0
	for _, r := range w.list {
		if w.bothSides || w.open[r.index] {
			w.list[n] = neuron{r.index, !r.minus}
			n++
		}
	}
	w.list = w.list[:n]
	w.boundNeurons(i, w.list)
	if iterations > 0 && !w.rowsOnly && w.g.nodes[i].stops {
		w.sharpen(i, iterations)
	}
}

// sharpen bounds what is still open once more, with optimised slopes.
func (w *relaxer) sharpen(i, iterations int) {
	w.ask(i, true)
	n := 0
	for _, r := range w.list {
		if w.open[r.index] {
			w.list[n] = r
			n++
		}
	}
	w.list = w.list[:n]
	w.steps = iterations
	w.boundNeurons(i, w.list)
	w.ask(i, true)
	n = 0
	for _, r := range w.list {
		if w.open[r.index] {
			w.list[n] = neuron{r.index, !r.minus}
			n++
		}
	}
	w.boundNeurons(i, w.list[:n])
	w.steps = 0
}

// boundNeurons bounds the rows of list, sorted by position. Eight of one position
// make a group; groups of several positions go backward together.
func (w *relaxer) boundNeurons(i int, list []neuron) {
	m := w.g.maps[i+1]
	last, groups, atOnce, first := -1, 0, 0, 0
	flush := func(end int) {
		if groups > 0 && !w.stopped() {
			w.boundGroups(i, groups, list[first:end])
		}
		groups, first = 0, end
	}
	for from, to := 0, 0; from < len(list) && !w.gaveUp; from = to {
		p := int(list[from].index) / m.c
		for to = from + 1; to < len(list) && to < from+kernels.Lanes && int(list[to].index)/m.c == p; to++ {
		}
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
func (w *relaxer) boundGroups(i, groups int, list []neuron) {
	if w.steps > 0 {
		w.ascend(w.ascent, i-1, groups, w.steps, false, false, func() {
			rest := list
			for g := range groups {
				w.sums[g] = kernels.RelaxSums{}
				w.fill(i, g, rest[:w.count[g]])
				rest = rest[w.count[g]:]
			}
			w.take(i, groups)
		})
	} else {
		w.take(i, groups)
		w.run(i-1, groups, nil)
		w.finish(groups)
	}
	for g := range groups {
		for l, n := range list[:w.count[g]] {
			low := w.low[g][l]
			switch {
			case n.minus && w.pure:
				w.hi[i][n.index] = up32(-low)
			case n.minus:
				w.hi[i][n.index] = min(w.hi[i][n.index], up32(-low))
			case w.pure:
				w.lo[i][n.index] = down32(low)
			default:
				w.lo[i][n.index] = max(w.lo[i][n.index], down32(low))
			}
		}
		list = list[w.count[g]:]
	}
}

// bounds carries the loaded image to the last node but for the rows of the
// specification; with backward, neurons before what bends are bounded by rows, with
// iterations > 0 by optimised ones.
func (w *relaxer) bounds(backward bool, iterations int) {
	if w.deep = backward; backward && !w.g.whole {
		w.trace()
	}
	for i := range w.g.nodes {
		if w.stopped() {
			return
		}
		d := &w.g.nodes[i]
		d.op.forward(w, i)
		w.sparse[i].known = false
		if d.bent { // forward has set all; rows from behind lines are no better than boxes
			continue
		}
		exact := d.exact && w.norm == net.Linf
		dual := w.norm != net.Linf && (d.dual() || d.first && !w.g.whole)
		if (backward || dual) && (d.relu || len(d.bends) > 0 || w.whole(d)) && !exact {
			w.tighten(i, iterations)
		}
		w.settle(i)
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
