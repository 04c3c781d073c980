package verify

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Spec is a linear specification over the outputs z of a network: C·z + d > 0, row by
// row.
type Spec struct {
	C []float32 // [rows][outputs], channels first
	D []float32 // [rows]; nil: zeros
}

func (s *Spec) validate(outputs int) error {
	if outputs == 0 || len(s.C) == 0 || len(s.C)%outputs != 0 {
		return fmt.Errorf("specification: %d coefficients, want a positive multiple of %d outputs", len(s.C), outputs)
	}
	if s.D != nil && len(s.D) != len(s.C)/outputs {
		return fmt.Errorf("specification: %d constants, want one for each of %d rows", len(s.D), len(s.C)/outputs)
	}
	for _, list := range [][]float32{s.C, s.D} {
		for _, v := range list {
			if v-v != 0 {
				return errors.New("specification: want finite numbers")
			}
		}
	}
	return nil
}

// statement is what is to be proved of one image: a specification, or that class y
// wins.
type statement struct {
	spec *Spec
	y    int
}

func (s statement) rows(outputs int) int {
	if s.spec != nil {
		return len(s.spec.C) / outputs
	}
	return outputs - 1
}

// fill writes row k, over the outputs in memory order, to a lane.
func (s statement) fill(v []float32, lane, k int, m extent) (d float64) {
	if s.spec == nil {
		j := k
		if j >= s.y {
			j++
		}
		v[at(s.y, m)*kernels.Lanes+lane] = 1
		v[at(j, m)*kernels.Lanes+lane] = -1
		return 0
	}
	for o, c := range s.spec.C[k*m.size() : (k+1)*m.size()] {
		v[at(o, m)*kernels.Lanes+lane] = c
	}
	if s.spec.D != nil {
		d = float64(s.spec.D[k])
	}
	return d
}

// at is where output o, channels first, lies in memory.
func at(o int, m extent) int { return o%(m.h*m.w)*m.c + o/(m.h*m.w) }

// prove returns lower bounds of the statement's rows: from the input, or from the
// boxes before the last layer where that is better; with intervals, from those alone.
func (w *relaxer) prove(s statement, low []float32, intervals bool, iterations int) {
	last := len(w.g.nodes) - 1
	m := w.g.maps[last+1]
	stops := w.g.nodes[last].stops && !w.pure
	if w.proof != nil && w.g.nodes[last].inner && (w.deep || w.norm != net.Linf) {
		stops = false
	}
	atOnce := w.begin(last, m.full())
	n := s.rows(m.size())
	for from := 0; from < n && !w.stopped(); from += atOnce * kernels.Lanes {
		some := min(n-from, atOnce*kernels.Lanes)
		groups := kernels.Groups(some)
		for g := range groups {
			w.place(g)
		}
		start := func() {
			v := w.v[last+1][:groups*m.size()*kernels.Lanes]
			clear(v)
			w.started[last+1] = true
			clear(w.sums[:groups])
			for j := range groups * kernels.Lanes {
				row := from + min(j, some-1) // the last group repeats the last row
				w.sums[j/kernels.Lanes].B[j%kernels.Lanes] = s.fill(w.group(v, last+1, j/kernels.Lanes), j%kernels.Lanes, row, m)
			}
		}
		start()
		for j := range some {
			low[from+j] = float32(math.Inf(-1))
		}
		if (w.g.nodes[last].relu || w.g.nodes[last].bent) && !w.pure {
			w.stopAt(groups, low[from:from+some], last+1)
		}
		w.run(last, groups, func(node int) {
			if node == last && stops {
				w.stopAt(groups, low[from:from+some], w.g.nodes[last].in...)
			}
		})
		if intervals && w.g.nodes[last].stops {
			continue
		}
		if iterations > 0 {
			w.ascend(w.ascent, last, groups, iterations, w.early, w.proof != nil, start)
			if w.proof != nil {
				w.stateSlopes(w.ascent, some)
			}
		} else {
			w.finish(groups)
			if w.proof != nil && !intervals { // whose certificates state no slopes
				w.stateSlopes(nil, some)
			}
		}
		for j := range some {
			low[from+j] = max(low[from+j], down32(w.low[j/kernels.Lanes][j%kernels.Lanes]))
		}
	}
}

// stopAt raises low to the bounds of the rows over the boxes of the activations acts,
// all that they have coefficients on.
func (w *relaxer) stopAt(groups int, low []float32, acts ...int) {
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

// worst returns the smallest of low.
func worst(low []float32) float32 {
	m := float32(math.Inf(1))
	for _, v := range low {
		m = min(m, v)
	}
	return m
}
