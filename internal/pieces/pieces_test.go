package pieces

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/internal/reals"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// affine is a function of two inputs: two factors and a constant.
type affine [3]*big.Rat

func (f affine) at(x [2]*big.Rat) *big.Rat {
	s := new(big.Rat).Set(f[2])
	for k := range x {
		s.Add(s, new(big.Rat).Mul(f[k], x[k]))
	}
	return s
}

// meet is the point where two functions are 0.
func meet(f, g affine) (x [2]*big.Rat, ok bool) {
	cross := func(p, q, r, s *big.Rat) *big.Rat {
		d := new(big.Rat).Mul(p, s)
		return d.Sub(d, new(big.Rat).Mul(q, r))
	}
	d := cross(f[0], f[1], g[0], g[1])
	if d.Sign() == 0 {
		return x, false
	}
	x[0], x[1] = cross(f[1], f[2], g[1], g[2]), cross(f[2], f[0], g[2], g[0])
	for k := range x {
		x[k].Quo(x[k], d)
	}
	return x, true
}

// brute is the minimum of row 0 less row 1 of a network fc, relu, …, fc of two inputs: over
// all patterns, whether any input has them or not, and over all points where two of their
// constraints meet that satisfy the others.
func brute(m *model.Model, lo, hi []float32) *big.Rat {
	neurons := 0
	for i, l := range m.Arch.Layers {
		if l.Kind == model.ReLU {
			neurons += len(m.Params[i-1].B)
		}
	}
	var best *big.Rat
	for pattern := range 1 << neurons {
		one, zero := big.NewRat(1, 1), new(big.Rat)
		act := []affine{{one, zero, zero}, {zero, one, zero}}
		var holds []affine // ≥ 0
		for k := range 2 {
			neg := func(v *big.Rat) *big.Rat { return new(big.Rat).Neg(v) }
			below, above := affine{zero, zero, neg(rat(lo[k]))}, affine{zero, zero, rat(hi[k])}
			below[k], above[k] = one, neg(one)
			holds = append(holds, below, above)
		}
		left := pattern
		for i, l := range m.Arch.Layers {
			p := &m.Params[i]
			if l.Kind == model.ReLU {
				for o, f := range act {
					sign := big.NewRat(2*int64(left&1)-1, 1)
					var c, z affine
					for k := range f {
						c[k], z[k] = new(big.Rat).Mul(sign, f[k]), f[k]
						if left&1 == 0 {
							z[k] = zero
						}
					}
					holds, act[o] = append(holds, c), z
					left >>= 1
				}
				continue
			}
			var next []affine
			for o, b := range p.B {
				f := affine{new(big.Rat), new(big.Rat), rat(b)}
				for j, g := range act {
					w := rat(p.W[o*len(act)+j])
					for k := range f {
						f[k].Add(f[k], new(big.Rat).Mul(w, g[k]))
					}
				}
				next = append(next, f)
			}
			act = next
		}
		for i, f := range holds {
			for _, g := range holds[:i] {
				x, ok := meet(f, g)
				for _, h := range holds {
					ok = ok && h.at(x).Sign() >= 0
				}
				if !ok {
					continue
				}
				v := act[0].at(x)
				if v.Sub(v, act[1].at(x)); best == nil || v.Cmp(best) < 0 {
					best = v
				}
			}
		}
	}
	return best
}

// TestBrute: the minimum is that over all patterns of all neurons.
func TestBrute(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	several := 0
	for i := range 60 {
		a := &model.Architecture{Name: "brute", Input: model.Shape{C: 1, H: 1, W: 2}}
		for range 1 + r.IntN(2) {
			a.Layers = append(a.Layers, model.Layer{Kind: model.FC, Out: 1 + r.IntN(3)}, model.Layer{Kind: model.ReLU})
		}
		a.Layers = append(a.Layers, model.Layer{Kind: model.FC, Out: 2})
		c := &Case{Model: plain.Random(a, r), Dyadic: i%2 == 0, Rows: net.LabelProperty(2, 0)}
		if c.Dyadic {
			dyadic(c.Model, r)
		}
		c.box(r)
		m, err := Find(c.Model, Rats(c.Lo), Rats(c.Hi), c.Rows, 1000)
		require.NoError(t, err)
		require.Equal(t, brute(c.Model, c.Lo, c.Hi).RatString(), m.Value.RatString())
		several += min(1, m.Count/3)
	}
	require.Greater(t, several, 10)
}

// TestFind: the minimum is attained in the box, and no input is below it; values are those of
// package reals.
func TestFind(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	kinds, varying, most := map[model.Kind]int{}, map[int]int{}, 0
	for range 100 {
		c := Draw(r)
		m, err := Find(c.Model, Rats(c.Lo), Rats(c.Hi), c.Rows, 3000)
		require.NoError(t, err)
		most = max(most, m.Count)
		varying[c.Varying]++
		for _, l := range c.Model.Arch.Layers {
			kinds[l.Kind]++
		}
		for k, v := range m.At {
			require.True(t, v.Cmp(rat(c.Lo[k])) >= 0 && v.Cmp(rat(c.Hi[k])) <= 0)
		}
		v, err := At(c.Model, m.At, c.Rows)
		require.NoError(t, err)
		require.Zero(t, v.Cmp(m.Value))
		for range 8 {
			x := make([]*big.Rat, len(c.Lo))
			for k := range x {
				x[k] = rat(min(c.Lo[k]+(c.Hi[k]-c.Lo[k])*float32(r.IntN(9))/8, c.Hi[k]))
			}
			v, err := At(c.Model, x, c.Rows)
			require.NoError(t, err)
			require.GreaterOrEqual(t, v.Cmp(m.Value), 0)
			signs, err := reals.Signs(t.Context(), c.Model, x, c.Rows.C, nil)
			require.NoError(t, err)
			if c.Rows.Clauses == nil {
				least := reals.Positive
				for _, s := range signs {
					least = min(least, s)
				}
				require.Equal(t, int(least), v.Sign())
			}
		}
	}
	t.Log(kinds, varying, most)
	for _, k := range []model.Kind{model.Conv, model.Add, model.BatchNorm, model.LeakyReLU, model.Clip, model.MaxPool, model.AvgPool, model.Concat, model.Normalize} {
		require.NotZero(t, kinds[k], k)
	}
	for n := 2; n <= mostVarying; n++ {
		require.NotZero(t, varying[n], n)
	}
}

// TestClauses: the largest of two rows is least where they meet.
func TestClauses(t *testing.T) {
	a := &model.Architecture{Name: "id", Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{{Kind: model.FC, Out: 2}}}
	m := plain.Random(a, rand.New(rand.NewPCG(1, 1)))
	copy(m.Params[0].W, []float32{1, 0, 0, 1})
	copy(m.Params[0].B, []float32{0, 0})
	p := &net.Property{C: []float32{1, 2, -1, 2, 1, 1}, D: []float32{1, 1, 10}, Clauses: []int{2, 1}}
	lo, hi := Rats([]float32{-1, -1}), Rats([]float32{1, 1})
	least, err := Find(m, lo, hi, p, 10)
	require.NoError(t, err)
	require.Equal(t, "-1", least.Value.RatString()) // of max(x + 2y, −x + 2y) + 1, at (0, −1)
	require.Equal(t, "0 -1", least.At[0].RatString()+" "+least.At[1].RatString())
	_, err = Find(m, lo, hi, p, 1)
	require.ErrorIs(t, err, ErrLarge)
	_, err = Find(m, hi, lo, p, 10)
	require.ErrorContains(t, err, "input 0")
	_, err = Find(m, lo[:1], hi, p, 10)
	require.ErrorContains(t, err, "want 2")
	m.Arch.Layers, m.Params = append(m.Arch.Layers, model.Layer{Kind: model.Tanh}), append(m.Params, model.Param{})
	_, err = Find(m, lo, hi, p, 10)
	require.ErrorContains(t, err, "tanh")
}
