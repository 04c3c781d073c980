package check

import (
	"context"
	"math"

	"github.com/epsball/epsball/model"
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
// has been seeded: by (*), down to the input or to the ReLUs it meets first
// among the nodes up to stop.
func (s *state) lower(ctx context.Context, i, stop int) (float64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	constant, err := 0.0, flat
	for ; i >= 0; i-- {
		f := &s.forms[i]
		if f.empty() {
			continue
		}
		err += s.cost(i)
		switch kind := s.nodes[i].kind; {
		case kind == "":
			constant += s.ball.lower(f.a)
		case kind == model.ReLU && i <= stop:
			constant += s.atReLU(i)
		case kind == model.ReLU:
			constant += s.throughReLU(i)
		case kind == model.Normalize:
			constant += s.throughNormalize(i)
		case kind == model.Add:
			s.throughAdd(i)
		default:
			constant += s.throughAffine(i)
		}
		s.clear(i)
	}
	low := constant - err
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

// atReLU bounds the outputs of a ReLU by their intervals.
func (s *state) atReLU(i int) (sum float64) {
	a, b := s.forms[i].a, &s.bounds[i]
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			sum += min(float64(a[k]*b.lo[k]), float64(a[k]*b.hi[k]))
		}
	})
	return sum
}

// throughReLU replaces the outputs of a ReLU by lines of its inputs.
func (s *state) throughReLU(i int) (constant float64) {
	a, b := s.forms[i].a, &s.bounds[i]
	low := b.low
	alpha := s.alpha[i]
	in := s.grow(s.nodes[i].in[0], s.forms[i].region)
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			switch v := a[k]; {
			case v == 0:
			case v < 0:
				in[k] += float64(v * b.slope[k])
				constant += float64(v * b.intercept[k])
			case alpha != nil && b.free[k]:
				in[k] += float64(v * alpha[k])
			default: // a NaN, too, goes on and is refused in the end
				in[k] += float64(v * low[k])
			}
		}
	})
	return constant
}

func (s *state) throughNormalize(i int) (constant float64) {
	n := &s.nodes[i]
	a := s.forms[i].a
	in := s.grow(n.in[0], s.forms[i].region)
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			v := a[k] / n.std[k%n.shape.C]
			in[k] += v
			constant -= float64(v * n.mean[k%n.shape.C])
		}
	})
	return constant
}

func (s *state) throughAdd(i int) {
	a := s.forms[i].a
	for _, p := range s.nodes[i].in {
		in := s.grow(p, s.forms[i].region)
		s.each(i, func(from, to int) {
			for k := from; k < to; k++ {
				in[k] += a[k]
			}
		})
	}
}

func (s *state) throughAffine(i int) (constant float64) {
	n := &s.nodes[i]
	f := &s.forms[i]
	a := f.a
	s.each(i, func(from, to int) {
		for k := from; k < to; k += len(n.b) {
			for o, bias := range n.b {
				constant += float64(a[k+o] * bias)
			}
		}
	})
	in := s.grow(n.in[0], s.seen(i, f.region))
	s.taps(i, f.region, func(out, first, w, length int) {
		dst := in[first : first+length]
		for o, v := range a[out : out+len(n.b)] {
			if v != 0 {
				addScaled(dst, n.w[o*n.fanIn+w:][:length], v)
			}
		}
	})
	return constant
}

// addScaled adds a·w to dst.
func addScaled(dst, w []float64, a float64) {
	for len(dst) >= 4 && len(w) >= 4 {
		d, v := dst[:4], w[:4]
		d[0] += float64(a * v[0])
		d[1] += float64(a * v[1])
		d[2] += float64(a * v[2])
		d[3] += float64(a * v[3])
		dst, w = dst[4:], w[4:]
	}
	for i, v := range w {
		dst[i] += float64(a * v)
	}
}
