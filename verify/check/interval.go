package check

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// bounds are what is proved of one node in every trace, channels last.
type bounds struct {
	lo, hi []float64
	d      []float64 // D of rounding.go
	m      []float64 // M ≥ |lo|, |hi|
	terms  []float64 // absolute sum of the terms; of parts of an add's sum

	// Lines of a ReLU node. Where its input may have either sign, free is true
	// and low is the adaptive slope, which others may replace.
	slope, intercept, low []float64
	free                  []bool
}

// state is one certificate being checked.
type state struct {
	*network
	ball     *ball
	g        float64
	executed bool
	bounds   []bounds    // by node, as far as they are known
	alpha    [][]float64 // by ReLU node: the slopes in use; nil: adaptive
	scratch  [][]float64 // by ReLU node: room for them
	forms    []form      // by node
}

func newBounds(size int) bounds {
	b := make([]float64, 4*size)
	return bounds{lo: b[:size], hi: b[size : 2*size], d: b[2*size : 3*size], m: b[3*size:]}
}

// interval bounds node i from the nodes it reads.
func (s *state) interval(i int) error {
	n := &s.nodes[i]
	b := newBounds(n.shape.Size())
	switch n.kind {
	case "":
		copy(b.lo, s.ball.lo)
		copy(b.hi, s.ball.hi)
		for k := range b.d {
			b.d[k] = s.g * b.hi[k] // pixels are not negative
		}
	case model.ReLU:
		s.relu(n, &b)
	case model.Normalize:
		for k := range b.lo {
			p, mean, std := &s.bounds[n.in[0]], n.mean[k%n.shape.C], n.std[k%n.shape.C]
			b.lo[k], b.hi[k] = (p.lo[k]-mean)/std, (p.hi[k]-mean)/std
			sum := (p.m[k] + math.Abs(mean)) / std
			if err := s.widen(n, &b, k, sum, sum, max(math.Abs(b.lo[k]), math.Abs(b.hi[k]))); err != nil {
				return err
			}
		}
	case model.Add:
		p, q := &s.bounds[n.in[0]], &s.bounds[n.in[1]]
		if n.part {
			b.terms = make([]float64, len(b.lo))
		}
		for k := range b.lo {
			b.lo[k], b.hi[k] = p.lo[k]+q.lo[k], p.hi[k]+q.hi[k]
			terms, whole := 0.0, 0.0
			for _, p := range []*bounds{p, q} {
				if p.terms != nil {
					terms += p.terms[k]
				} else {
					terms += p.m[k]
					whole += p.m[k]
				}
			}
			if n.part {
				b.terms[k] = terms
			}
			if err := s.widen(n, &b, k, p.m[k]+q.m[k], terms, whole); err != nil {
				return err
			}
		}
	default:
		if err := s.affine(i, &b); err != nil {
			return err
		}
	}
	s.bounds = append(s.bounds, b)
	return s.bounds[i].close()
}

// widen sets d of element k from S, and from what node.executed takes, and widens the
// interval by it.
func (s *state) widen(n *node, b *bounds, k int, sum, terms, f float64) error {
	b.d[k] = s.g * sum
	if s.executed {
		e, err := n.executed(terms, f)
		if err != nil {
			return err
		}
		b.d[k] += e
	}
	b.lo[k] -= b.d[k] + flat
	b.hi[k] += b.d[k] + flat
	return nil
}

// close refuses what is not a bound and sets m.
func (b *bounds) close() error {
	for k, lo := range b.lo {
		hi := b.hi[k]
		b.m[k] = max(math.Abs(lo), math.Abs(hi))
		if !(lo <= hi) || !(b.m[k] <= largest) || !(b.d[k] <= largest) {
			return errUnbounded
		}
	}
	return nil
}

// affine computes C ± R of a conv or fc node.
func (s *state) affine(i int, b *bounds) error {
	n := &s.nodes[i]
	p := &s.bounds[n.in[0]]
	c, r := make([]float64, len(p.lo)), make([]float64, len(p.lo))
	for k, lo := range p.lo {
		c[k] = (lo + p.hi[k]) / 2 // any point will do
		r[k] = up(max(p.hi[k]-c[k], c[k]-lo))
	}
	sum := b.m // S, until close
	for k := range b.lo {
		bias := n.b[k%n.shape.C]
		b.lo[k], sum[k] = bias, math.Abs(bias)
	}
	s.taps(i, whole(n.shape), func(out, in, w, length int) {
		c, r, m := c[in:in+length], r[in:in+length], p.m[in:in+length]
		for o := range n.b {
			wc, wr, wm := dot3(n.w[o*n.fanIn+w:][:length], c, r, m)
			b.lo[out+o] += wc
			b.hi[out+o] += wr
			sum[out+o] += wm
		}
	})
	if n.part {
		b.terms = slices.Clone(sum)
	}
	for k, centre := range b.lo {
		b.lo[k], b.hi[k] = centre-b.hi[k], centre+b.hi[k]
		if err := s.widen(n, b, k, sum[k], sum[k], 0); err != nil {
			return err
		}
	}
	return nil
}

// dot3 returns w·c, |w|·r and |w|·m, each in two sums that need not wait for each
// other.
func dot3(w, c, r, m []float64) (wc, wr, wm float64) {
	var wc1, wr1, wm1 float64
	for len(w) >= 2 && len(c) >= 2 && len(r) >= 2 && len(m) >= 2 {
		v, v1 := w[0], w[1]
		a, a1 := math.Abs(v), math.Abs(v1)
		wc += float64(v * c[0])
		wr += float64(a * r[0])
		wm += float64(a * m[0])
		wc1 += float64(v1 * c[1])
		wr1 += float64(a1 * r[1])
		wm1 += float64(a1 * m[1])
		w, c, r, m = w[2:], c[2:], r[2:], m[2:]
	}
	for i, v := range w { // at most one
		a := math.Abs(v)
		wc += float64(v * c[i])
		wr += float64(a * r[i])
		wm += float64(a * m[i])
	}
	return wc + wc1, wr + wr1, wm + wm1
}

// relu sets the bounds and lines of a ReLU node.
func (s *state) relu(n *node, b *bounds) {
	p := &s.bounds[n.in[0]]
	size := len(b.lo)
	lines := make([]float64, 3*size)
	b.slope, b.intercept, b.low, b.free = lines[:size], lines[size:2*size], lines[2*size:], make([]bool, size)
	for k, l := range p.lo {
		u := p.hi[k]
		b.lo[k], b.hi[k] = max(0, l), max(0, u)
		switch {
		case l >= 0:
			b.slope[k], b.low[k] = 1, 1
		case u > 0:
			b.free[k] = true
			b.slope[k], b.intercept[k] = upperLine(l, u)
			if u > -l {
				b.low[k] = 1
			}
		}
		if u > 0 { // or the output is 0, exactly
			b.d[k] = s.g * (p.m[k] + b.intercept[k])
		}
	}
}

// tighten replaces bounds of node i by better ones of ±v_k: of all elements, or
// of those whose sign is open, and of these the second only if the first, the
// likelier one, has not settled the sign. Both bounds are sound, so the better
// one is.
func (s *state) tighten(i int, all bool, bound func(sign float64, k int) (float64, error)) error {
	b := &s.bounds[i]
	for k := range b.lo {
		sign := 1.0
		if b.hi[k] < -b.lo[k] {
			sign = -1
		}
		for range 2 {
			if !all && (b.lo[k] >= 0 || b.hi[k] <= 0) {
				break
			}
			v, err := bound(sign, k)
			switch {
			case err != nil:
				return err
			case sign > 0:
				b.lo[k] = max(b.lo[k], v)
			default:
				b.hi[k] = min(b.hi[k], -v)
			}
			sign = -sign
		}
	}
	return b.close()
}
