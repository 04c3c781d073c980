package pieces

import (
	"fmt"
	"math/big"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
)

// tensor holds rational numbers over one denominator, which is positive.
type tensor struct {
	n   []*big.Int
	den *big.Int
}

func newTensor(x []*big.Rat) tensor {
	t := tensor{den: big.NewInt(1)}
	for _, v := range x {
		t.den = lcm(t.den, v.Denom())
	}
	for _, v := range x {
		q := new(big.Int).Quo(t.den, v.Denom())
		t.n = append(t.n, q.Mul(q, v.Num()))
	}
	return t
}

func (t tensor) rat(k int) *big.Rat { return new(big.Rat).SetFrac(t.n[k], t.den) }

func lcm(a, b *big.Int) *big.Int {
	g := new(big.Int).GCD(nil, nil, a, b)
	return g.Mul(g.Quo(a, g), b)
}

// number is an integer over a positive one.
type number struct{ n, den *big.Int }

// term is a factor, an integer over the layer's denominator, of an element of an activation;
// of none, act −1, it is a summand.
type term struct {
	act, k int
	w      *big.Int
}

// layer is one of a model: sums, or a bend.
type layer struct {
	sums [][]term // by output
	den  *big.Int // of the factors
	acts []int    // that the sums read

	bend    *model.Layer // nil: sums
	in      int          // activation that it reads
	plane   int          // elements of a channel
	windows [][]int      // elements that each output of a maxpool sees
}

// network is a model without sigmoids and tanhs.
type network struct{ layers []layer }

// newNetwork reads a valid model.
func newNetwork(m *model.Model) (*network, error) {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	n := &network{}
	for i := range m.Arch.Layers {
		l, err := newLayer(m, i, shapes)
		if err != nil {
			return nil, err
		}
		n.layers = append(n.layers, l)
	}
	return n, nil
}

func rat(v float32) *big.Rat { return new(big.Rat).SetFloat64(float64(v)) }

// newLayer lists the terms of layer i.
func newLayer(m *model.Model, i int, shapes []model.Shape) (layer, error) {
	l, p, from := m.Arch.Layers[i], &m.Params[i], m.Arch.InputsOf(i)
	in, out, a := m.Arch.InputShape(i, shapes), shapes[i+1], from[0]+1
	s := layer{in: a, plane: out.H * out.W}
	var weights [][]*big.Rat
	add := func(o, act, k int, w *big.Rat) {
		s.sums[o], weights[o] = append(s.sums[o], term{act: act, k: k}), append(weights[o], w)
	}
	one := big.NewRat(1, 1)
	s.sums, weights = make([][]term, out.Size()), make([][]*big.Rat, out.Size())
	rows := p.Rows()
	var scale, shift []float32
	if l.Kind == model.BatchNorm {
		scale, shift = p.Affine(l.Eps)
	}
	for o := range s.sums {
		c := o / s.plane
		switch l.Kind {
		case model.Conv, model.FC:
			plain.Each(l, in, out, o, func(w, k int) { add(o, a, k, rat(rows[w])) })
			add(o, -1, 0, rat(p.B[c]))
		case model.BatchNorm:
			add(o, a, o, rat(scale[c]))
			add(o, -1, 0, rat(shift[c]))
		case model.Normalize:
			std := new(big.Rat).Inv(rat(l.Std[c]))
			add(o, a, o, std)
			add(o, -1, 0, new(big.Rat).Neg(new(big.Rat).Mul(std, rat(l.Mean[c]))))
		case model.Add:
			add(o, a, o, one)
			add(o, from[1]+1, o, one)
		case model.Concat:
			k, part := o, 0
			for k >= shapes[from[part]+1].Size() {
				k -= shapes[from[part]+1].Size()
				part++
			}
			add(o, from[part]+1, k, one)
		case model.AvgPool:
			var list []int
			plain.EachPixel(l, in, out, o, func(k int) { list = append(list, k) })
			n := len(list)
			if l.CountPadding {
				n = l.Kernel[0] * l.Kernel[1]
			}
			for _, k := range list {
				add(o, a, k, big.NewRat(1, int64(n)))
			}
		case model.MaxPool:
			var list []int
			plain.EachPixel(l, in, out, o, func(k int) { list = append(list, k) })
			s.windows = append(s.windows, list)
		case model.ReLU, model.LeakyReLU, model.Clip:
		default:
			return s, fmt.Errorf("layer %d: got %q, which is not piecewise linear", i, l.Kind)
		}
	}
	switch l.Kind {
	case model.ReLU, model.LeakyReLU, model.Clip, model.MaxPool:
		s.bend, s.sums = &l, nil
		return s, nil
	}
	s.acts = []int{a}
	for _, k := range from[1:] {
		s.acts = append(s.acts, k+1)
	}
	s.den = big.NewInt(1)
	for _, list := range weights {
		for _, w := range list {
			s.den = lcm(s.den, w.Denom())
		}
	}
	for o, list := range weights {
		for t, w := range list {
			v := new(big.Int).Quo(s.den, w.Denom())
			s.sums[o][t].w = v.Mul(v, w.Num())
		}
	}
	return s, nil
}

// evaluate computes the layer's output.
func (l *layer) evaluate(acts []tensor) tensor {
	if l.bend != nil {
		return l.bent(acts[l.in])
	}
	den := big.NewInt(1)
	for _, a := range l.acts {
		den = lcm(den, acts[a].den)
	}
	factor := make([]*big.Int, len(acts))
	for _, a := range l.acts {
		factor[a] = new(big.Int).Quo(den, acts[a].den)
	}
	one := big.NewInt(1)
	z := tensor{den: new(big.Int).Mul(den, l.den)}
	product := new(big.Int)
	for _, terms := range l.sums {
		sum := new(big.Int)
		for _, t := range terms {
			if t.act < 0 {
				sum.Add(sum, product.Mul(t.w, den))
				continue
			}
			product.Mul(t.w, acts[t.act].n[t.k])
			if f := factor[t.act]; f.Cmp(one) != 0 {
				product.Mul(product, f)
			}
			sum.Add(sum, product)
		}
		z.n = append(z.n, sum)
	}
	return z
}

// bent computes the output of a layer that bends.
func (l *layer) bent(a tensor) tensor {
	switch l.bend.Kind {
	case model.MaxPool:
		z := tensor{den: a.den}
		for _, list := range l.windows {
			best := a.n[list[0]]
			for _, k := range list[1:] {
				if a.n[k].Cmp(best) > 0 {
					best = a.n[k]
				}
			}
			z.n = append(z.n, best)
		}
		return z
	case model.ReLU:
		z := tensor{den: a.den}
		for _, v := range a.n {
			if v.Sign() < 0 {
				v = new(big.Int)
			}
			z.n = append(z.n, v)
		}
		return z
	}
	out := make([]*big.Rat, len(a.n)) // seldom, and over denominators of its own
	for k := range a.n {
		v := a.rat(k)
		switch {
		case l.bend.Kind == model.LeakyReLU && v.Sign() < 0:
			slope := l.bend.Slope
			v.Mul(v, rat(slope[k/l.plane%len(slope)]))
		case l.bend.Kind == model.Clip && v.Cmp(rat(l.bend.Min)) < 0:
			v = rat(l.bend.Min)
		case l.bend.Kind == model.Clip && v.Cmp(rat(l.bend.Max)) > 0:
			v = rat(l.bend.Max)
		}
		out[k] = v
	}
	return newTensor(out)
}

// kinks lists the functions of what a bend reads whose signs say on which piece each of its
// elements is.
func (l *layer) kinks(size int) (list []func(a tensor) number) {
	offset := func(k int, at float32) func(tensor) number {
		c := rat(at)
		return func(a tensor) number { // a/den − num/denom
			v := new(big.Int).Mul(a.n[k], c.Denom())
			v.Sub(v, new(big.Int).Mul(c.Num(), a.den))
			return number{v, new(big.Int).Mul(a.den, c.Denom())}
		}
	}
	for k := range size {
		switch l.bend.Kind {
		case model.ReLU, model.LeakyReLU:
			list = append(list, func(a tensor) number { return number{a.n[k], a.den} })
		case model.Clip:
			list = append(list, offset(k, l.bend.Min), offset(k, l.bend.Max))
		}
	}
	for _, window := range l.windows {
		for i, p := range window {
			for _, q := range window[:i] {
				list = append(list, func(a tensor) number { return number{new(big.Int).Sub(a.n[p], a.n[q]), a.den} })
			}
		}
	}
	return list
}
