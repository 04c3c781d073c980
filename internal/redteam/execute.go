package redteam

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/epsball/epsball/model"
)

// term is one product of a sum. A bias and a summand are products with 1, which
// rounding leaves alone.
type term struct {
	w, x  float32
	value float64 // w·x
}

func newTerm(w, x float32) term { return term{w, x, float64(w) * float64(x)} }

// fma returns a·b + c rounded once. The float64 sum, if inexact, is made odd, and so
// cannot be a tie (Boldo & Melquiond 2008).
func fma(a, b, c float32) float32 {
	p, q := float64(a)*float64(b), float64(c)
	s := p + q
	t := s - q
	if e := (p - t) + (q - (s - t)); e != 0 && math.Float64bits(s)&1 == 0 {
		if (e > 0) == (s > 0) {
			s = math.Float64frombits(math.Float64bits(s) + 1)
		} else {
			s = math.Float64frombits(math.Float64bits(s) - 1)
		}
	}
	return float32(s)
}

// executor evaluates a network in float32.
type executor struct {
	*network
	*rand.Rand
	terms, rest []term
}

// large is the number of terms from which sums are tried in a few orders alone.
const large = 1 << 13

// execute returns the activations of one execution, or false if it overflows. Each sum
// takes the order that drives it, of those tried, farthest in the direction of
// push[activation][output]; where that is 0 or missing, a random one.
func (e *executor) execute(x []float32, push [][]float64) ([][]float32, bool) {
	acts := make([][]float32, len(e.sizes))
	acts[0] = x
	for i := range e.steps {
		s := &e.steps[i]
		in, z := acts[s.in], make([]float32, e.sizes[s.out])
		var dir []float64
		if push != nil {
			dir = push[s.out]
		}
		for o := range z {
			switch s.kind {
			case model.Normalize:
				z[o] = float32(in[o]-s.mean[o]) / s.std[o]
			case model.ReLU:
				z[o] = max(0, in[o])
			default:
				d := 0.0
				if dir != nil {
					d = dir[o]
				}
				if s.kind == model.FC {
					z[o] = e.output(s, o, acts, d)
				} else {
					z[o] = e.single(s, o, acts, d)
				}
			}
			if z[o]-z[o] != 0 {
				return nil, false
			}
		}
		acts[s.out] = z
	}
	return acts, true
}

// output executes one sum. A summand is added to the finished sum, or is a term of it,
// anywhere; so are the terms of a summand that is a sum which nothing else reads. That
// is not computed then, and becomes NaN.
func (e *executor) output(s *step, o int, acts [][]float32, dir float64) float32 {
	t := e.own(e.terms[:0], s, o, acts)
	e.terms = t
	if s.skip < 0 {
		return e.extreme(t, dir)
	}
	a := acts[s.skip][o]
	way := e.IntN(3)
	best := e.extreme(t, dir) + a
	if dir == 0 && way == 0 {
		return best
	}
	e.terms = append(t, newTerm(1, a))
	if v := e.extreme(e.terms, dir); dir == 0 || further(v, best, dir) {
		best = v
	}
	if !s.part || dir == 0 && way == 1 {
		return best
	}
	e.terms = e.all(e.terms[:0], s, o, acts)
	if v := e.extreme(e.terms, dir); dir == 0 || further(v, best, dir) {
		best = v
		for s.part {
			acts[s.skip][o] = float32(math.NaN())
			s = e.stepOf(s.skip)
		}
	}
	return best
}

// own lists the products and the bias of a sum.
func (e *executor) own(t []term, s *step, o int, acts [][]float32) []term {
	t = append(t, newTerm(1, s.bias[o]))
	for k := s.start[o]; k < s.start[o+1]; k++ {
		t = append(t, newTerm(s.w[k], acts[s.in][s.k[k]]))
	}
	return t
}

// all lists the terms of a sum with those of its parts.
func (e *executor) all(t []term, s *step, o int, acts [][]float32) []term {
	for t = e.own(t, s, o, acts); s.part; t = e.own(t, s, o, acts) {
		s = e.stepOf(s.skip)
	}
	if s.skip >= 0 {
		t = append(t, newTerm(1, acts[s.skip][o]))
	}
	return t
}

func (n *network) stepOf(act int) *step {
	for i := range n.steps {
		if n.steps[i].out == act {
			return &n.steps[i]
		}
	}
	return nil
}

// further reports whether a is farther in a direction than b; NaN, which ends the
// execution, is farthest.
func further(a, b float32, dir float64) bool { return a != a || (dir > 0) == (a > b) && a != b }

// fusing says which steps of a chain are fused.
type fusing int

const (
	never fusing = iota
	always
	sometimes
)

// extreme executes a sum in several orders and returns the result farthest in a
// direction, or a random one. It reorders t.
func (e *executor) extreme(t []term, dir float64) float32 {
	f := fusing(e.IntN(3))
	if dir == 0 {
		switch e.IntN(5) {
		case 0:
			return e.chain(t, f)
		case 1:
			byMagnitude(t)
			return e.chain(t, f)
		case 2:
			byMagnitude(t)
			slices.Reverse(t)
			return e.chain(t, f)
		}
		e.Shuffle(len(t), func(i, j int) { t[i], t[j] = t[j], t[i] })
		if e.IntN(2) == 0 {
			return e.tree(t, f)
		}
		return e.chain(t, f)
	}
	best := e.chain(t, f)
	try := func(v float32) {
		if further(v, best, dir) {
			best = v
		}
	}
	byMagnitude(t)
	for f := range sometimes {
		try(e.chain(t, f))
	}
	try(e.grouped(t, 2+e.IntN(4)))
	if len(t) < large {
		try(e.steered(t, dir))
		slices.Reverse(t)
		try(e.chain(t, f))
		e.Shuffle(len(t), func(i, j int) { t[i], t[j] = t[j], t[i] })
		try(e.chain(t, f))
		try(e.tree(t, f))
		slices.SortFunc(t, func(a, b term) int { return cmp.Compare(a.value, b.value) })
		if dir < 0 {
			slices.Reverse(t) // the rise first, so that the fall rounds at its top
		}
		try(e.chain(t, f))
		return best
	}
	slices.Reverse(t)
	try(e.chain(t, f))
	return best
}

// byMagnitude sorts terms, the largest first.
func byMagnitude(t []term) {
	slices.SortStableFunc(t, func(a, b term) int { return cmp.Compare(math.Abs(b.value), math.Abs(a.value)) })
}

// chain adds one term after the other.
func (e *executor) chain(t []term, f fusing) float32 {
	s := float32(t[0].w * t[0].x)
	for _, v := range t[1:] {
		if f == always || f == sometimes && e.IntN(2) == 0 {
			s = fma(v.w, v.x, s)
		} else {
			s += float32(v.w * v.x)
		}
	}
	return s
}

// grouped adds the first term and, one after the other, the sums of g of the rest.
func (e *executor) grouped(t []term, g int) float32 {
	s := e.chain(t[:1], never)
	for rest := range slices.Chunk(t[1:], g) {
		s += e.chain(rest, sometimes)
	}
	return s
}

// tree adds terms in a random bracketing.
func (e *executor) tree(t []term, f fusing) float32 {
	if len(t) <= 2 || e.IntN(8) == 0 {
		return e.chain(t, f)
	}
	at := 1 + e.IntN(len(t)-1)
	return e.tree(t[:at], f) + e.tree(t[at:], f)
}

// steered is a chain of terms sorted by magnitude that picks, among the largest left,
// the smallest left and the next of either sign, fused or not, what errs most in the
// direction.
func (e *executor) steered(t []term, dir float64) float32 {
	rest := append(e.rest[:0], t...)
	e.rest = rest
	s := float32(rest[0].w * rest[0].x)
	rest = rest[1:]
	for len(rest) > 0 {
		best, at, most := float32(0), -1, math.Inf(-1)
		try := func(k int) {
			v := &rest[k]
			for _, r := range [2]float32{fma(v.w, v.x, s), s + float32(v.w*v.x)} {
				err := math.Copysign(1, dir) * ((float64(r) - float64(s)) - v.value)
				if at < 0 || !(err <= most) {
					best, at, most = r, k, err
				}
			}
		}
		try(0)
		if len(rest) > 1 {
			try(len(rest) - 1)
		}
		if len(rest) > 2 {
			try(1 + e.IntN(len(rest)-2))
		}
		s = best
		if at == 0 {
			rest = rest[1:]
		} else {
			rest[at] = rest[len(rest)-1]
			rest = rest[:len(rest)-1]
		}
	}
	return s
}
