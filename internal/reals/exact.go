package reals

import (
	"context"
	"fmt"
	"math/big"

	"github.com/epsball/epsball/model"
)

// exactOutputs evaluates a model without sigmoids and tanhs exactly.
func exactOutputs(ctx context.Context, m *model.Model, shapes []model.Shape, x []*big.Rat) (tensor, error) {
	acts := []tensor{newTensor(x)}
	for i := range m.Arch.Layers {
		next, err := exactLayer(ctx, m, shapes, i, acts)
		if err != nil {
			return tensor{}, err
		}
		acts = append(acts, next)
	}
	return acts[len(acts)-1], nil
}

func exactLayer(ctx context.Context, m *model.Model, shapes []model.Shape, i int, acts []tensor) (tensor, error) {
	l, p, from := &m.Arch.Layers[i], &m.Params[i], m.Arch.InputsOf(i)
	in, out, a := shapes[from[0]+1], shapes[i+1], acts[from[0]+1]
	channel := func(o int) int { return o / (out.H * out.W) }
	switch l.Kind {
	case model.Conv, model.FC:
		rows := p.Rows()
		return a.sums(out.Size(), rows, p.B, channel, func(o int, add func(w float32, k int)) {
			terms(l, in, out, o, func(w, k int) { add(rows[w], k) })
		}, ctx.Err)
	case model.BatchNorm:
		scale, shift := p.Affine(l.Eps)
		return a.sums(out.Size(), scale, shift, channel, func(o int, add func(w float32, k int)) {
			add(scale[channel(o)], o)
		}, ctx.Err)
	case model.Normalize:
		return a.normalized(l, channel), nil
	case model.Add:
		a, b := pair(a, acts[from[1]+1])
		z := tensor{make([]*big.Int, len(a.n)), a.exp, a.den}
		for o := range z.n {
			z.n[o] = new(big.Int).Add(a.n[o], b.n[o])
		}
		return z, nil
	case model.Concat:
		z := a
		for _, k := range from[1:] {
			var b tensor
			z, b = pair(z, acts[k+1])
			z.n = append(z.n[:len(z.n):len(z.n)], b.n...)
		}
		return z, nil
	case model.ReLU:
		zero := new(big.Int)
		return a.each(func(_ int, n *big.Int) *big.Int {
			if n.Sign() < 0 {
				return zero
			}
			return n
		}), nil
	case model.LeakyReLU:
		exp := lowest(0, l.Slope...)
		z := a.over(a.exp+exp, a.den)
		w := new(big.Int)
		return z.each(func(o int, n *big.Int) *big.Int {
			if n.Sign() >= 0 {
				return n
			}
			return new(big.Int).Mul(a.n[o], scaled(w, l.Slope[channel(o)%len(l.Slope)], exp))
		}), nil
	case model.Clip:
		z := a.over(lowest(a.exp, l.Min, l.Max), a.den)
		lo, hi := z.constant(l.Min), z.constant(l.Max)
		return z.each(func(_ int, n *big.Int) *big.Int {
			switch {
			case n.Cmp(lo) < 0:
				return lo
			case n.Cmp(hi) > 0:
				return hi
			}
			return n
		}), nil
	case model.MaxPool:
		z := tensor{make([]*big.Int, out.Size()), a.exp, a.den}
		for o := range z.n {
			pixels(l, in, out, o, func(k int) {
				if z.n[o] == nil || a.n[k].Cmp(z.n[o]) > 0 {
					z.n[o] = a.n[k]
				}
			})
		}
		return z, nil
	case model.AvgPool:
		return a.averages(l, in, out), nil
	}
	return tensor{}, fmt.Errorf("layer %d: got %q, which has no exact evaluation", i, l.Kind)
}

// each returns a tensor of f of every number, which must not be changed.
func (t tensor) each(f func(o int, n *big.Int) *big.Int) tensor {
	z := tensor{make([]*big.Int, len(t.n)), t.exp, t.den}
	for o, n := range t.n {
		z.n[o] = f(o, n)
	}
	return z
}

// averages computes an avgpool.
func (t tensor) averages(l *model.Layer, in, out model.Shape) tensor {
	sizes, all := make([]int64, out.Size()), big.NewInt(1)
	z := tensor{make([]*big.Int, out.Size()), t.exp, nil}
	for o := range z.n {
		n := 0
		z.n[o] = new(big.Int)
		pixels(l, in, out, o, func(k int) {
			z.n[o].Add(z.n[o], t.n[k])
			n++
		})
		sizes[o] = int64(divisor(l, n))
		all = lcm(all, big.NewInt(sizes[o]))
	}
	for o, n := range z.n {
		q := big.NewInt(sizes[o])
		n.Mul(n, q.Quo(all, q))
	}
	z.den = new(big.Int).Mul(t.den, all)
	return z
}
