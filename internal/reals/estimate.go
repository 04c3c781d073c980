package reals

import (
	"fmt"
	"math"
	"math/big"

	"github.com/epsball/epsball/model"
)

// numbers are float64 values of real numbers: |real − v| ≤ e for each, e not negative or,
// if nothing is known, NaN or +Inf.
type numbers struct{ v, e []float64 }

type number struct{ v, e float64 }

func (n number) sign() Sign {
	switch {
	case n.v > n.e:
		return Positive
	case n.v < -n.e:
		return Negative
	case n.v == 0 && n.e == 0:
		return Zero
	}
	return Undecided
}

// Rounding. Let u = 2⁻⁵³. A sum of n products and a summand, added in any order, fused or
// not, errs by at most γ_{n+1}·A and n times the underflow of a product, below 2⁻¹⁰⁷⁴,
// where A is the sum of the magnitudes and γ_k = ku/(1 − ku) (Higham, Accuracy and
// Stability of Numerical Algorithms, section 3.1). A itself and the sum E of |w|·e are
// computed, each at least 1 − γ_{n+1} of what they are but for underflow. With n ≤ 2²⁰,
// γ_{n+1} < 2⁻³², so that
//
//	(E + (n + 4)·2⁻⁵²·A)·slack + floor
//
// is above the whole error: (n + 4)·2⁻⁵² is about twice γ_{n+1}, slack makes up for the
// errors of E, A and of this line, floor for all that underflows.
const (
	slack    = 1 + 0x1p-28
	floor    = 0x1p-1000
	mostSums = 1 << 20
)

// sum is a sum being added up.
type sum struct {
	v, size, e float64
	n          int
}

func (s *sum) add(w, v, e float64) {
	p := w * v
	s.v += p
	s.size += math.Abs(p)
	s.e += math.Abs(w) * e
	s.n++
}

func (s *sum) number() number {
	return number{s.v, (s.e+float64(s.n+4)*0x1p-52*s.size)*slack + floor}
}

// row is a row at the outputs. What is 0 without rounding is exactly 0.
func (n numbers) row(c []float32, d float32) number {
	var s sum
	for k, w := range c {
		if w != 0 {
			s.add(float64(w), n.v[k], n.e[k])
		}
	}
	s.add(1, float64(d), 0)
	if s.size == 0 && s.e == 0 {
		return number{}
	}
	return s.number()
}

// estimator evaluates a model in float64.
type estimator struct {
	m      *model.Model
	shapes []model.Shape
}

func (e *estimator) outputs(x []*big.Rat) (numbers, error) {
	in := newNumbers(len(x))
	for k, r := range x {
		v, exact := r.Float64()
		in.v[k] = v
		if !exact {
			in.e[k] = math.Abs(v)*0x1p-52 + floor
		}
	}
	acts := []numbers{in}
	for i := range e.m.Arch.Layers {
		next, err := e.layer(i, acts)
		if err != nil {
			return numbers{}, err
		}
		acts = append(acts, next)
	}
	return acts[len(acts)-1], nil
}

func newNumbers(n int) numbers { return numbers{make([]float64, n), make([]float64, n)} }

func (n numbers) set(o int, to number) { n.v[o], n.e[o] = to.v, to.e }

// layer computes layer i.
func (e *estimator) layer(i int, acts []numbers) (numbers, error) {
	l, p := &e.m.Arch.Layers[i], &e.m.Params[i]
	from := e.m.Arch.InputsOf(i)
	in, out, a := e.shapes[from[0]+1], e.shapes[i+1], acts[from[0]+1]
	z := newNumbers(out.Size())
	channel := func(o int) int { return o / (out.H * out.W) }
	switch l.Kind {
	case model.Conv, model.FC:
		rows := p.Rows()
		for o := range z.v {
			var s sum
			terms(l, in, out, o, func(w, k int) { s.add(float64(rows[w]), a.v[k], a.e[k]) })
			s.add(1, float64(p.B[channel(o)]), 0)
			if s.n > mostSums {
				return z, fmt.Errorf("layer %d: sums of %d terms, want at most %d", i, s.n, mostSums)
			}
			z.set(o, s.number())
		}
	case model.BatchNorm:
		scale, shift := p.Affine(l.Eps)
		for o := range z.v {
			var s sum
			s.add(float64(scale[channel(o)]), a.v[o], a.e[o])
			s.add(1, float64(shift[channel(o)]), 0)
			z.set(o, s.number())
		}
	case model.Normalize: // two roundings
		for o := range z.v {
			m, d := float64(l.Mean[channel(o)]), float64(l.Std[channel(o)])
			v := (a.v[o] - m) / d
			z.set(o, number{v, (a.e[o]/d+math.Abs(v)*0x1p-51)*slack + floor})
		}
	case model.Add:
		b := acts[from[1]+1]
		for o := range z.v {
			v := a.v[o] + b.v[o]
			z.set(o, number{v, (a.e[o]+b.e[o]+math.Abs(v)*0x1p-52)*slack + floor})
		}
	case model.Concat:
		z = numbers{}
		for _, k := range from {
			z.v, z.e = append(z.v, acts[k+1].v...), append(z.e, acts[k+1].e...)
		}
	case model.MaxPool: // moves by no more than the largest error
		for o := range z.v {
			most := number{math.Inf(-1), 0}
			pixels(l, in, out, o, func(k int) {
				most = number{max(most.v, a.v[k]), max(most.e, a.e[k])}
			})
			z.set(o, most)
		}
	case model.AvgPool:
		for o := range z.v {
			var s sum
			pixels(l, in, out, o, func(k int) { s.add(1, a.v[k], a.e[k]) })
			d := float64(divisor(l, s.n))
			if s.n > mostSums {
				return z, fmt.Errorf("layer %d: windows of %d elements, want at most %d", i, s.n, mostSums)
			}
			t := s.number()
			z.set(o, number{t.v / d, (t.e/d+math.Abs(t.v/d)*0x1p-52)*slack + floor})
		}
	default:
		for o := range z.v {
			n, ok := element(l, channel(o), number{a.v[o], a.e[o]})
			if !ok {
				return z, fmt.Errorf("layer %d: got %q, which has no exact evaluation", i, l.Kind)
			}
			z.set(o, n)
		}
	}
	return z, nil
}

// element computes a function of a single number whose slope is bounded.
func element(l *model.Layer, channel int, n number) (number, bool) {
	switch l.Kind {
	case model.ReLU:
		if n.v <= -n.e && !math.IsInf(n.e, 0) {
			return number{}, true
		}
		return number{max(n.v, 0), n.e}, true
	case model.LeakyReLU:
		s := float64(l.Slope[channel%len(l.Slope)])
		v := n.v
		if v < 0 {
			v *= s
		}
		return number{v, (n.e*max(1, math.Abs(s))+math.Abs(v)*0x1p-52)*slack + floor}, true
	case model.Clip:
		return number{min(max(n.v, float64(l.Min)), float64(l.Max)), n.e}, true
	case model.Sigmoid:
		return number{sigmoid(n.v), (n.e*0.25+curveError)*slack + floor}, true
	case model.Tanh:
		return number{2*sigmoid(2*n.v) - 1, (n.e+4*curveError)*slack + floor}, true
	}
	return number{}, false
}
