package check

import (
	"context"
	"math"
)

// form holds the coefficients of one node in (*) of rounding.go. They are zero
// outside of the region.
type form struct {
	a []float64 // channels last
	region
}

// through lets lower go on to the input.
const through = -1

// lower returns a lower bound of Σ seed_k·v_k over the elements of node i, which
// has been seeded: by (*), down to the input or to the bends it meets first
// among the nodes up to stop.
func (s *state) lower(ctx context.Context, i, stop int) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	constant := 0.0
	s.err = flat
	for ; i >= 0; i-- {
		f := &s.forms[i]
		if f.empty() {
			continue
		}
		s.err += s.cost(i)
		if i > 0 && i <= stop && s.bent(i) {
			constant += s.box(i)
		} else {
			constant += s.nodes[i].op.backward(s, i)
		}
		s.clear(i)
	}
	low := constant - s.err
	if !(math.Abs(low) <= largest) {
		return 0, errUnbounded
	}
	return low, nil
}

// seed starts a form at node i.
func (s *state) seed(i, k int, v float64) {
	c, w := s.nodes[i].shape.C, s.nodes[i].shape.W
	y, x := k/c/w, k/c%w
	s.grow(i, region{y, y + 1, x, x + 1})
	s.forms[i].a[k] = v
}

// grow adds to the region of node i and returns its coefficients.
func (s *state) grow(i int, r region) []float64 {
	f := &s.forms[i]
	if f.a == nil {
		f.a = make([]float64, s.nodes[i].shape.Size())
	}
	f.region = f.region.with(r)
	return f.a
}

// each calls f with runs of the elements of node i's region.
func (s *state) each(i int, f func(from, to int)) {
	r, n := s.forms[i].region, &s.nodes[i]
	for y := r.y0; y < r.y1; y++ {
		f((y*n.shape.W+r.x0)*n.shape.C, (y*n.shape.W+r.x1)*n.shape.C)
	}
}

func (s *state) clear(i int) {
	a := s.forms[i].a
	s.each(i, func(from, to int) { clear(a[from:to]) })
	s.forms[i].region = region{}
}

// cost returns Σ|â_i|D_i.
func (s *state) cost(i int) (sum float64) {
	a, d := s.forms[i].a, s.bounds[i].d
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			sum += float64(math.Abs(a[k]) * d[k])
		}
	})
	return sum
}

// box bounds the outputs of a node by their intervals.
func (s *state) box(i int) (sum float64) {
	a, b := s.forms[i].a, &s.bounds[i]
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			sum += min(float64(a[k]*b.lo[k]), float64(a[k]*b.hi[k]))
		}
	})
	return sum
}
