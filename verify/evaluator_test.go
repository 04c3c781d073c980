package verify

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// evaluator computes a network node by node, from its weights alone: in float32, each
// sum in an order of its own and merged with others at random, or in 1024 bits. Tensors
// are [H][W][C]. Sigmoids and tanhs are off by what certificates allow.
type evaluator struct {
	n       *net.Network
	r       *rand.Rand
	readers []int
	terms   []int
}

func newEvaluator(n *net.Network, r *rand.Rand) *evaluator {
	return &evaluator{n, r, readersOf(n.Nodes()), sumTerms(n.Nodes())}
}

// weighed is a weight and the element that it reads.
type weighed struct {
	w float32
	k int
}

// reads lists what output o of a node reads of its first input, and its bias; a pool
// has weights 1.
func reads(n *net.Node, o int) (list []weighed, bias float32) {
	window := func(ch, inC, inH, inW, y, x, kh, kw int, stride, pad, dil [2]int, w func(t int) float32) {
		for ky := range kh {
			for kx := range kw {
				iy, ix := y*stride[0]+ky*max(1, dil[0])-pad[0], x*stride[1]+kx*max(1, dil[1])-pad[1]
				if iy >= 0 && iy < inH && ix >= 0 && ix < inW {
					list = append(list, weighed{w(ky*kw + kx), (iy*inW+ix)*inC + ch})
				}
			}
		}
	}
	c, p := o%n.Shape.C, o/n.Shape.C
	y, x := p/n.Shape.W, p%n.Shape.W
	dense := func(s kernels.Shape, groups, g int, w []float32) {
		c := c % s.OutC
		for ic := range s.InC {
			taps := w[(c*s.InC+ic)*s.KH*s.KW:]
			window(g*s.InC+ic, s.InC*groups, s.InH, s.InW, y, x, s.KH, s.KW, [2]int{s.StrideH, s.StrideW},
				[2]int{s.PadH, s.PadW}, [2]int{}, func(t int) float32 { return taps[t] })
		}
	}
	slide := func(s kernels.Sliding, w func(t int) float32) {
		window(c, s.C, s.InH, s.InW, y, x, s.KH, s.KW, [2]int{s.StrideH, s.StrideW}, [2]int{s.PadH, s.PadW}, [2]int{s.DilH, s.DilW}, w)
	}
	switch op := n.Op.(type) {
	case *net.Affine:
		dense(op.Shape, 1, 0, op.Weights())
		return list, op.B[c]
	case *net.Grouped:
		g := c / op.Shape.OutC
		dense(op.Shape, op.Groups, g, op.Weights(g))
		return list, op.Bias(g)[c%op.Shape.OutC]
	case *net.Depthwise:
		w := op.Weights()[c*op.Sliding.Taps():]
		slide(op.Sliding, func(t int) float32 { return w[t] })
		return list, op.Bias()[c]
	case *net.Pool:
		slide(op.Sliding, func(int) float32 { return 1 })
	}
	return list, 0
}

// divisor is that of a mean of so many pixels.
func divisor(p *net.Pool, pixels int) int {
	if p.CountPadding {
		return p.Sliding.Taps()
	}
	return pixels
}

// concat returns the input and the element that output o of a concat is.
func concat(n *net.Network, node *net.Node, o int) (k, at int) {
	c, p := o%node.Shape.C, o/node.Shape.C
	for _, k := range node.In {
		in := n.Input().C
		if k > 0 {
			in = n.Nodes()[k-1].Shape.C
		}
		if c < in {
			return k, p*in + c
		}
		c -= in
	}
	panic("no such channel")
}

// slopeOf is the slope of a LeakyReLU for output o.
func slopeOf(n *net.Node, o int) float32 {
	s := n.Op.(*net.Elementwise).Slope
	return s[o%n.Shape.C%len(s)]
}

// smooth returns a sigmoid or tanh, off by up to 2⁻²⁰ but for a rounding to float32.
func (e *evaluator) smooth(kind model.Kind, x float64) float64 {
	y, least := 1/(1+math.Exp(-x)), 0.0
	if kind == model.Tanh {
		y, least = math.Tanh(x), -1
	}
	off := 0x1p-20 - 0x1p-24
	switch e.r.IntN(4) {
	case 0:
		off *= 2*e.r.Float64() - 1
	case 1:
		off = -off
	case 2:
		off = 0
	}
	return min(max(y+off, least), 1)
}

type product32 struct{ w, x float32 }

// float32s returns what every node computes, before its ReLU, and the outputs.
func (e *evaluator) float32s(x []float32) (values [][]float32, out []float32) {
	acts := [][]float32{e.input32(x)}
	nodes := e.n.Nodes()
	for i := range nodes {
		n := &nodes[i]
		v := make([]float32, n.Shape.Size())
		for o := range v {
			v[o] = e.value32(i, o, acts)
		}
		values = append(values, v)
		a := slices.Clone(v)
		if n.ReLU {
			for k := range a {
				a[k] = max(a[k], 0)
			}
		}
		acts = append(acts, a)
	}
	return values, acts[len(nodes)]
}

func (e *evaluator) input32(x []float32) []float32 {
	in := e.n.Input()
	mean, std := e.n.Normalization()
	out := make([]float32, len(x))
	for o := range out {
		c := o % in.C
		v := x[c*in.H*in.W+o/in.C]
		if mean != nil {
			v = float32(v-mean[c]) / std[c]
		}
		out[o] = v
	}
	return out
}

func (e *evaluator) value32(i, o int, acts [][]float32) float32 {
	n := &e.n.Nodes()[i]
	in := acts[n.In[0]]
	switch op := n.Op.(type) {
	case *net.Concat:
		k, at := concat(e.n, n, o)
		return acts[k][at]
	case *net.Elementwise:
		switch x := in[o]; op.Kind {
		case model.ReLU:
			return max(x, 0)
		case model.Clip:
			return min(max(x, op.Min), op.Max)
		case model.LeakyReLU:
			if x > 0 {
				return x
			}
			return slopeOf(n, o) * x
		default:
			return float32(e.smooth(op.Kind, float64(x)))
		}
	case *net.Pool:
		list, _ := reads(n, o)
		if !op.Mean {
			m := float32(math.Inf(-1))
			for _, t := range list {
				m = max(m, in[t.k])
			}
			return m
		}
		if e.r.IntN(2) == 0 {
			var t []product32
			for _, l := range list {
				t = append(t, product32{1, in[l.k]})
			}
			s, d := e.sum(t), float32(divisor(op, len(list)))
			if e.r.IntN(2) == 0 {
				return s / d
			}
			return s * (1 / d)
		}
	}
	adds := addsOf(n)
	if _, sum := n.Op.(*net.Sum); !sum && len(adds) > 0 && e.r.IntN(3) == 0 { // the shortcut last
		return e.sum(e.own(n, o, acts)) + acts[adds[0]][o]
	}
	return e.sum(e.all(i, o, acts))
}

// own lists the products and the bias of a node.
func (e *evaluator) own(n *net.Node, o int, acts [][]float32) (t []product32) {
	if _, sum := n.Op.(*net.Sum); sum {
		return nil
	}
	list, bias := reads(n, o)
	t = append(t, product32{1, bias})
	for _, l := range list {
		t = append(t, product32{l.w, acts[n.In[0]][l.k]})
	}
	if p, ok := n.Op.(*net.Pool); ok {
		d := 1 / float32(divisor(p, len(list)))
		for k := range t {
			t[k].w *= d
		}
	}
	return t
}

// all adds what an add adds: values, or the terms of sums that nothing else reads.
func (e *evaluator) all(i, o int, acts [][]float32) []product32 {
	n := &e.n.Nodes()[i]
	t := e.own(n, o, acts)
	for _, a := range addsOf(n) {
		if a > 0 && e.readers[a] == 1 && !e.n.Nodes()[a-1].ReLU && e.terms[a-1] > 0 && e.r.IntN(2) == 0 {
			t = append(t, e.all(a-1, o, acts)...)
		} else {
			t = append(t, product32{1, acts[a][o]})
		}
	}
	return t
}

// sum adds terms up in some order.
func (e *evaluator) sum(t []product32) float32 {
	size := func(p product32) float64 { return math.Abs(float64(p.w) * float64(p.x)) }
	switch e.r.IntN(3) {
	case 0:
		e.r.Shuffle(len(t), func(i, j int) { t[i], t[j] = t[j], t[i] })
	case 1:
		slices.SortFunc(t, func(a, b product32) int {
			switch x, y := size(a), size(b); {
			case x > y:
				return -1
			case x < y:
				return 1
			}
			return 0
		})
	}
	fused := e.r.IntN(2) == 0
	s := float32(0)
	for _, p := range t {
		if fused {
			s = kernels.FMA32(p.w, p.x, s)
		} else {
			s += float32(p.w * p.x)
		}
	}
	return s
}

// exacts is float32s without rounding to speak of.
func (e *evaluator) exacts(x []*big.Float) (values [][]*big.Float, out []*big.Float) {
	acts := [][]*big.Float{e.inputExact(x)}
	nodes := e.n.Nodes()
	for i := range nodes {
		n := &nodes[i]
		v := make([]*big.Float, n.Shape.Size())
		for o := range v {
			v[o] = e.valueExact(n, o, acts)
		}
		values = append(values, v)
		a := slices.Clone(v)
		if n.ReLU {
			for k := range a {
				a[k] = larger(a[k], number(0))
			}
		}
		acts = append(acts, a)
	}
	return values, acts[len(nodes)]
}

func number(v float64) *big.Float { return new(big.Float).SetPrec(1024).SetFloat64(v) }

func larger(a, b *big.Float) *big.Float {
	if a.Cmp(b) < 0 {
		return b
	}
	return a
}

func (e *evaluator) inputExact(x []*big.Float) []*big.Float {
	in := e.n.Input()
	mean, std := e.n.Normalization()
	out := make([]*big.Float, len(x))
	for o := range out {
		c := o % in.C
		out[o] = x[c*in.H*in.W+o/in.C]
		if mean != nil {
			out[o] = number(0).Sub(out[o], number(float64(mean[c])))
			out[o].Quo(out[o], number(float64(std[c])))
		}
	}
	return out
}

func (e *evaluator) valueExact(n *net.Node, o int, acts [][]*big.Float) *big.Float {
	in := acts[n.In[0]]
	switch op := n.Op.(type) {
	case *net.Concat:
		k, at := concat(e.n, n, o)
		return acts[k][at]
	case *net.Elementwise:
		switch x := in[o]; op.Kind {
		case model.ReLU:
			return larger(x, number(0))
		case model.Clip:
			if most := number(float64(op.Max)); x.Cmp(most) > 0 {
				return most
			}
			return larger(x, number(float64(op.Min)))
		case model.LeakyReLU:
			if x.Sign() > 0 {
				return x
			}
			return number(0).Mul(x, number(float64(slopeOf(n, o))))
		default:
			v, _ := x.Float64()
			return number(e.smooth(op.Kind, v))
		}
	}
	list, bias := reads(n, o)
	s := number(float64(bias))
	if p, ok := n.Op.(*net.Pool); ok && !p.Mean {
		s = in[list[0].k]
		for _, t := range list {
			s = larger(s, in[t.k])
		}
		return s
	}
	for _, t := range list {
		s.Add(s, number(0).Mul(number(float64(t.w)), in[t.k]))
	}
	if p, ok := n.Op.(*net.Pool); ok {
		s.Quo(s, number(float64(divisor(p, len(list)))))
	}
	for _, a := range addsOf(n) {
		s.Add(s, acts[a][o])
	}
	return s
}
