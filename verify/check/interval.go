package check

import (
	"math"

	"github.com/epsball/epsball/model"
)

// bounds are what is proved of one node in every trace, channels last.
type bounds struct {
	lo, hi []float64
	d      []float64 // D of rounding.go
	m      []float64 // M ≥ |lo|, |hi|

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
	bounds   []bounds // by node, as far as they are known
	rows     [][]float64
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
			if err := s.widen(n, &b, k, (p.m[k]+math.Abs(mean))/std); err != nil {
				return err
			}
		}
	case model.Add:
		p, q := &s.bounds[n.in[0]], &s.bounds[n.in[1]]
		for k := range b.lo {
			b.lo[k], b.hi[k] = p.lo[k]+q.lo[k], p.hi[k]+q.hi[k]
			if err := s.widen(n, &b, k, p.m[k]+q.m[k]); err != nil {
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

// widen sets d of element k from S and widens the interval by it.
func (s *state) widen(n *node, b *bounds, k int, sum float64) error {
	b.d[k] = s.g * sum
	if s.executed {
		e, err := n.executed(sum, max(math.Abs(b.lo[k]), math.Abs(b.hi[k])))
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
	for k, centre := range b.lo {
		b.lo[k], b.hi[k] = centre-b.hi[k], centre+b.hi[k]
		if err := s.widen(n, b, k, sum[k]); err != nil {
			return err
		}
	}
	return nil
}

// dot3 returns w·c, |w|·r and |w|·m.
func dot3(w, c, r, m []float64) (wc, wr, wm float64) {
	c, r, m = c[:len(w)], r[:len(w)], m[:len(w)]
	for i, v := range w {
		a := math.Abs(v)
		wc += float64(v * c[i])
		wr += float64(a * r[i])
		wm += float64(a * m[i])
	}
	return wc, wr, wm
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
		b.d[k] = s.g * (p.m[k] + b.intercept[k])
	}
}

// tighten replaces bounds of node i by better ones of ±v_k: of all elements, or
// of those whose sign is open. Both are sound, so the better of both is.
func (s *state) tighten(i int, all bool, bound func(sign float64, k int) (float64, error)) error {
	b := &s.bounds[i]
	for k := range b.lo {
		if !all && (b.lo[k] >= 0 || b.hi[k] <= 0) {
			continue
		}
		lo, err := bound(1, k)
		if err != nil {
			return err
		}
		hi, err := bound(-1, k)
		if err != nil {
			return err
		}
		b.lo[k], b.hi[k] = max(b.lo[k], lo), min(b.hi[k], -hi)
	}
	return b.close()
}
