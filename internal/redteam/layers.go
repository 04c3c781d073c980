package redteam

import (
	"math"
	"math/big"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
)

// Steps of the layers that are neither sums nor normalize nor relu.

// newSums lists one product for each output: of a batchnorm, or of an add of two layers of
// which none takes it into its sums.
func (s *step) newSums(size, channel int, scale, shift []float32) {
	s.kind = model.FC
	for o := range size {
		s.start = append(s.start, o)
		s.w, s.k = append(s.w, scale[o/channel%len(scale)]), append(s.k, int32(o))
		s.bias = append(s.bias, shift[o/channel%len(shift)])
	}
	s.start = append(s.start, size)
}

// newWindows lists the elements that each output of a pool sees, and what divides.
func (s *step) newWindows(l *model.Layer, in, out model.Shape) {
	for o := range out.Size() {
		var list []int32
		plain.EachPixel(*l, in, out, o, func(k int) { list = append(list, int32(k)) })
		n := len(list)
		if l.CountPadding {
			n = l.Kernel[0] * l.Kernel[1]
		}
		s.windows, s.divisor = append(s.windows, list), append(s.divisor, float32(n))
	}
}

// partOf returns the input of a concat that output o is of, and its element there.
func (n *network) partOf(s *step, o int) (act, k int) {
	for _, act = range s.ins {
		if o < n.sizes[act] {
			break
		}
		o -= n.sizes[act]
	}
	return act, o
}

func (s *step) slope(o int) float32 { return s.layer.Slope[o/s.channel%len(s.layer.Slope)] }

// value is output o in float64.
func (n *network) value(s *step, o int, acts [][]float64) float64 {
	in := acts[s.in]
	switch s.kind {
	case model.LeakyReLU:
		if in[o] < 0 {
			return in[o] * float64(s.slope(o))
		}
		return in[o]
	case model.Clip:
		return min(max(in[o], float64(s.layer.Min)), float64(s.layer.Max))
	case model.Sigmoid:
		return 1 / (1 + math.Exp(-in[o]))
	case model.Tanh:
		return math.Tanh(in[o])
	case model.MaxPool:
		return in[s.largest(o, in)]
	case model.AvgPool:
		v := 0.0
		for _, k := range s.windows[o] {
			v += in[k]
		}
		return v / float64(s.divisor[o])
	}
	act, k := n.partOf(s, o)
	return acts[act][k]
}

func (s *step) largest(o int, in []float64) int32 {
	best := s.windows[o][0]
	for _, k := range s.windows[o] {
		if in[k] > in[best] {
			best = k
		}
	}
	return best
}

// pull adds v times the derivatives of output o to the gradients.
func (n *network) pull(s *step, o int, v float64, acts [][]float64, open bool, at func(a int) []float64) {
	in, g := acts[s.in], at(s.in)
	switch s.kind {
	case model.LeakyReLU:
		if in[o] < 0 && !open {
			v *= float64(s.slope(o))
		}
		g[o] += v
	case model.Clip:
		if open || in[o] > float64(s.layer.Min) && in[o] < float64(s.layer.Max) {
			g[o] += v
		}
	case model.Sigmoid:
		y := n.value(s, o, acts)
		g[o] += v * y * (1 - y)
	case model.Tanh:
		y := n.value(s, o, acts)
		g[o] += v * (1 - y*y)
	case model.MaxPool:
		g[s.largest(o, in)] += v
	case model.AvgPool:
		for _, k := range s.windows[o] {
			g[k] += v / float64(s.divisor[o])
		}
	default:
		act, k := n.partOf(s, o)
		at(act)[k] += v
	}
}

// real is output o in real numbers; curves err by less than 2⁻²⁵⁰.
func (n *network) real(s *step, o int, acts [][]*big.Float) *big.Float {
	in := acts[s.in]
	switch s.kind {
	case model.LeakyReLU:
		if in[o].Sign() < 0 {
			return exactly(0).Mul(in[o], exactly(float64(s.slope(o))))
		}
		return in[o]
	case model.Clip:
		if v := exactly(float64(s.layer.Min)); in[o].Cmp(v) < 0 {
			return v
		} else if v := exactly(float64(s.layer.Max)); in[o].Cmp(v) > 0 {
			return v
		}
		return in[o]
	case model.Sigmoid, model.Tanh:
		return curve(s.kind, in[o])
	case model.MaxPool:
		best := in[s.windows[o][0]]
		for _, k := range s.windows[o] {
			if in[k].Cmp(best) > 0 {
				best = in[k]
			}
		}
		return best
	case model.AvgPool:
		v := exactly(0)
		for _, k := range s.windows[o] {
			v.Add(v, in[k])
		}
		return v.Quo(v, exactly(float64(s.divisor[o])))
	}
	act, k := n.partOf(s, o)
	return acts[act][k]
}

// curve is sigmoid, or tanh.
func curve(kind model.Kind, x *big.Float) *big.Float {
	const precision = 400
	z := new(big.Float).SetPrec(precision).Abs(x)
	if kind == model.Tanh {
		z.Add(z, z)
	}
	e := exactly(0).SetPrec(precision)
	if z.Cmp(exactly(400)) < 0 { // e⁻ᶻ = (e^(−z/2¹⁶))^(2¹⁶)
		z.SetMantExp(z, -16)
		term := exactly(1).SetPrec(precision)
		e.Add(e, term)
		for n := range 30 {
			e.Add(e, term.Mul(term, z).Quo(term, exactly(-float64(n+1))))
		}
		for range 16 {
			e.Mul(e, e)
		}
	}
	one := exactly(1)
	v := exactly(0).Quo(exactly(0).Sub(one, e), exactly(0).Add(one, e)) // tanh of z/2
	if x.Sign() < 0 {
		v.Neg(v)
	}
	if kind == model.Sigmoid {
		v.Add(v, one).Quo(v, exactly(2))
	}
	return v
}

// single executes output o.
func (e *executor) single(s *step, o int, acts [][]float32, dir float64) float32 {
	in := acts[s.in]
	switch s.kind {
	case model.LeakyReLU:
		if in[o] < 0 {
			return in[o] * s.slope(o)
		}
		return in[o]
	case model.Clip:
		return min(max(in[o], s.layer.Min), s.layer.Max)
	case model.Sigmoid, model.Tanh:
		return e.wrong(s.kind, in[o], dir)
	case model.MaxPool:
		best := in[s.windows[o][0]]
		for _, k := range s.windows[o] {
			best = max(best, in[k])
		}
		return best
	case model.AvgPool:
		return e.average(s, o, in, dir)
	}
	act, k := e.partOf(s, o)
	return acts[act][k]
}

// wrong is a float32 within 2⁻²⁰ of sigmoid, or tanh, in the direction as far as that
// allows.
func (e *executor) wrong(kind model.Kind, x float32, dir float64) float32 {
	v, least := math.Tanh(float64(x)), -1.0
	if kind == model.Sigmoid {
		v, least = 1/(1+math.Exp(-float64(x))), 0
	}
	if dir == 0 {
		dir = float64(e.IntN(3) - 1)
	}
	const most = 0x1p-20 - 0x1p-50
	off := most
	if dir < 0 {
		off = -most
	} else if dir == 0 {
		off = 0
	}
	f := float32(max(least, min(1, v+off)))
	for math.Abs(float64(f)-v) > most {
		f = math.Nextafter32(f, float32(v))
	}
	return f
}

// average divides, or multiplies by a rounded 1/n, before or after the sum.
func (e *executor) average(s *step, o int, in []float32, dir float64) float32 {
	run := func(way int) float32 {
		n := s.divisor[o]
		of, by, after := float32(1), n, float32(1)
		if way == 1 {
			by, after = 1, 1/n
		} else if way == 2 {
			of, by = 1/n, 1
		}
		t := e.terms[:0]
		for _, k := range s.windows[o] {
			t = append(t, newTerm(of, in[k]))
		}
		e.terms = t
		return e.extreme(t, dir) / by * after
	}
	best := run(e.IntN(3))
	for way := range 3 {
		if v := run(way); dir != 0 && further(v, best, dir) {
			best = v
		}
	}
	return best
}
