package check

import (
	"errors"
	"math"
	"slices"
)

// bounds are what is proved of one node in every trace, channels last.
type bounds struct {
	lo, hi []float64
	d      []float64 // D of rounding.go
	m      []float64 // M ≥ |lo|, |hi|
	terms  []float64 // absolute sum of the terms; of parts of an add's sum

	lines  *lines  // of a bend that reads one element
	planes *planes // of a maxpool
}

// state is one certificate being checked.
type state struct {
	*network
	ball     *ball
	g        float64
	executed bool
	bounds   []bounds    // by node, as far as they are known
	alpha    [][]float64 // by node of stated lines: the slopes in use; nil: adaptive
	scratch  [][]float64 // by node: room for them
	forms    []form      // by node
	fixes    [][]fix     // by node: of the leaf that is bounded; nil: none
	points   [][]float64 // by relu with planes: where what they read is in its range
	err      float64     // of (*), so far
}

func newBounds(size int) bounds {
	b := make([]float64, 4*size)
	return bounds{lo: b[:size], hi: b[size : 2*size], d: b[2*size : 3*size], m: b[3*size:]}
}

// interval bounds node i from the nodes it reads.
func (s *state) interval(i int) error {
	n := &s.nodes[i]
	b := newBounds(n.shape.Size())
	if err := n.op.interval(s, i, &b); err != nil {
		return err
	}
	s.bounds = append(s.bounds, b)
	return s.bounds[i].close()
}

// widen sets d of element k from S and the execution's error, and widens the interval
// by it. terms bounds the absolute values of what an execution adds up.
func (s *state) widen(b *bounds, k int, sum float64, e rounded, terms float64) error {
	b.d[k] = s.g * sum
	if s.executed {
		b.d[k] += e.e
	}
	b.lo[k] -= b.d[k] + flat
	b.hi[k] += b.d[k] + flat
	return s.fits(terms + e.most)
}

// fits refuses what float32 may overflow in.
func (s *state) fits(most float64) error {
	if s.executed && !(most*room <= math.MaxFloat32) {
		return errors.New("float32 execution may overflow")
	}
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

// tighten replaces bounds of node i by better ones of ±v_k: of all elements, or of
// those that a bend asks for, and of these the second only if the first, the likelier
// one, leaves it asking. Both bounds are sound, so the better one is.
func (s *state) tighten(i int, all bool, bound func(sign float64, k int) (float64, error)) error {
	b, n := &s.bounds[i], &s.nodes[i]
	var ask []func(k int, l, u float64) bool
	for _, r := range n.bends {
		ask = append(ask, s.nodes[r].op.(bend).open(s, r))
	}
	self, bent := n.op.(bend)
	for k := range b.lo {
		if bent && !self.same(b, k) {
			continue
		}
		sign := 1.0
		if b.hi[k] < -b.lo[k] {
			sign = -1
		}
		for range 2 {
			if !all && !slices.ContainsFunc(ask, func(f func(int, float64, float64) bool) bool { return f(k, b.lo[k], b.hi[k]) }) {
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
