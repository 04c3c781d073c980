package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// goal is what is to be proved of one region: a property, or that class y wins.
type goal struct {
	property *Property
	y        int
}

func (s goal) rows(outputs int) int {
	if s.property != nil {
		return len(s.property.C) / outputs
	}
	return outputs - 1
}

// margin is that of the rows' lower bounds.
func (s goal) margin(low []float32) float32 {
	if s.property != nil {
		return s.property.Margin(low)
	}
	return smallest(low)
}

// fill writes row k, over the outputs in memory order, to a lane.
func (s goal) fill(v []float32, lane, k int, m extent) (d float64) {
	p := s.property
	if p == nil {
		v[at(s.y, m)*kernels.Lanes+lane] = 1
		v[at(otherLabel(s.y, k), m)*kernels.Lanes+lane] = -1
		return 0
	}
	for o, c := range p.C[k*m.size() : (k+1)*m.size()] {
		v[at(o, m)*kernels.Lanes+lane] = c
	}
	if p.D != nil {
		d = float64(p.D[k])
	}
	return d
}

// at is where output o, channels first, lies in memory.
func at(o int, m extent) int { return o%(m.h*m.w)*m.c + o/(m.h*m.w) }

// prove returns lower bounds of the goal's rows: from the input, or from the boxes before
// the last layer where that is better; with intervals, from those alone.
func (w *linearWorker) prove(t *attempt, low []float32) {
	last := len(w.g.nodes) - 1
	atOnce := w.begin(last, w.g.maps[last+1].full())
	for j := range low {
		low[j] = float32(math.Inf(-1))
	}
	if t.proof != nil && !t.intervals { // whose certificates state no slopes
		w.stateSlopes(t.proof, len(low), t.steps > 0)
	}
	if t.domain != nil && t.steps > 0 {
		t.domain.makeSlopes(w.g, len(low))
	}
	if w.team != nil {
		did, gaveUp := w.team.goal(*t, last, low, atOnce)
		if t.gaveUp = t.gaveUp || gaveUp; did {
			return
		}
	}
	for from := 0; from < len(low); from += atOnce * kernels.Lanes {
		w.proveRows(t, low, from, min(len(low), from+atOnce*kernels.Lanes))
	}
}

// proveRows bounds some of the goal's rows, which go backward at once.
func (w *linearWorker) proveRows(t *attempt, low []float32, from, to int) {
	if t.stopped() {
		return
	}
	last := len(w.g.nodes) - 1
	end := &w.g.nodes[last]
	m := w.g.maps[last+1]
	stops := end.stops && !t.pure
	if t.proof != nil && end.inner && (t.backward || w.norm != net.Linf) {
		stops = false
	}
	low = low[from:to]
	groups := kernels.Groups(len(low))
	for g := range groups {
		w.place(g)
	}
	start := func() {
		v := w.v[last+1][:groups*m.size()*kernels.Lanes]
		clear(v)
		w.started[last+1] = true
		clear(w.sums[:groups])
		for j := range groups * kernels.Lanes {
			row := from + min(j, len(low)-1) // the last group repeats the last row
			w.sums[j/kernels.Lanes].B[j%kernels.Lanes] = t.goal.fill(w.group(v, last+1, j/kernels.Lanes), j%kernels.Lanes, row, m)
		}
	}
	start()
	if (end.relu || end.bent) && !t.pure {
		w.stopAt(groups, low, last+1)
	}
	w.run(last, groups, func(node int) {
		if node == last && stops {
			w.stopAt(groups, low, end.in...)
		}
	})
	if t.intervals && end.stops {
		return
	}
	if t.steps > 0 {
		w.ascend(t, last, groups, t.steps, from, start)
		if t.proof != nil {
			w.stateRows(t.proof, from, len(low))
		}
		if t.domain != nil {
			t.domain.keepSlopes(w, from, len(low))
		}
	} else {
		w.finish(groups)
	}
	for j := range low {
		low[j] = max(low[j], down32(w.low[j/kernels.Lanes][j%kernels.Lanes]))
	}
}

// stopAt raises low to the bounds of the rows over the boxes of the activations acts,
// all that they have coefficients on.
func (w *linearWorker) stopAt(groups int, low []float32, acts ...int) {
	for g := range groups {
		sums := w.sums[g]
		for k, a := range acts {
			if slices.Contains(acts[:k], a) {
				continue
			}
			params := w.stop[a]
			if a == 0 {
				params = w.input
			}
			w.relaxGroup(w.group(w.tmp, a, 0), w.group(w.v[a], a, g), a, g, params, nil)
		}
		w.sums[g], sums = sums, w.sums[g]
		for l := g * kernels.Lanes; l < min(len(low), (g+1)*kernels.Lanes); l++ {
			low[l] = max(low[l], down32(rowLow(&sums, l%kernels.Lanes, 0, w.less)))
		}
	}
}
