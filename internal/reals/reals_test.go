package reals

import (
	"context"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
)

// naive evaluates a model without curves in fractions, by the loops of package plain.
func naive(t *testing.T, m *model.Model, x []*big.Rat) []*big.Rat {
	shapes, err := m.Arch.Shapes()
	require.NoError(t, err)
	rat := func(v float32) *big.Rat { return new(big.Rat).SetFloat64(float64(v)) }
	acts := [][]*big.Rat{x}
	for i, l := range m.Arch.Layers {
		in, out, from := m.Arch.InputShape(i, shapes), shapes[i+1], m.Arch.InputsOf(i)
		a, z := acts[from[0]+1], []*big.Rat(nil)
		if l.Kind == model.Concat {
			for _, k := range from {
				z = append(z, acts[k+1]...)
			}
		}
		for o := len(z); o < out.Size(); o++ {
			c, v := o/(out.H*out.W), new(big.Rat)
			switch l.Kind {
			case model.Conv, model.FC:
				v = rat(m.Params[i].B[c])
				plain.Each(l, in, out, o, func(w, k int) {
					v.Add(v, new(big.Rat).Mul(rat(m.Params[i].Rows()[w]), a[k]))
				})
			case model.BatchNorm:
				scale, shift := m.Params[i].Affine(l.Eps)
				v.Add(v.Mul(rat(scale[c]), a[o]), rat(shift[c]))
			case model.Normalize:
				v.Quo(v.Sub(a[o], rat(l.Mean[c])), rat(l.Std[c]))
			case model.Add:
				v.Add(a[o], acts[from[1]+1][o])
			case model.ReLU:
				if a[o].Sign() > 0 {
					v = a[o]
				}
			case model.LeakyReLU:
				if v = a[o]; v.Sign() < 0 {
					v = new(big.Rat).Mul(v, rat(l.Slope[c%len(l.Slope)]))
				}
			case model.Clip:
				v = a[o]
				if lo := rat(l.Min); v.Cmp(lo) < 0 {
					v = lo
				}
				if hi := rat(l.Max); v.Cmp(hi) > 0 {
					v = hi
				}
			case model.MaxPool:
				v = nil
				plain.EachPixel(l, in, out, o, func(k int) {
					if v == nil || a[k].Cmp(v) > 0 {
						v = a[k]
					}
				})
			case model.AvgPool:
				n := 0
				plain.EachPixel(l, in, out, o, func(k int) { v, n = v.Add(v, a[k]), n+1 })
				if l.CountPadding {
					n = l.Kernel[0] * l.Kernel[1]
				}
				v.Quo(v, big.NewRat(int64(n), 1))
			default:
				t.Fatal(l.Kind)
			}
			z = append(z, v)
		}
		acts = append(acts, z)
	}
	return acts[len(acts)-1]
}

func randomInput(n int, r *rand.Rand) []*big.Rat {
	var x []*big.Rat
	for range n {
		switch v := new(big.Rat); r.IntN(4) {
		case 0: // a decimal that no float has
			x = append(x, v.SetFrac64(r.Int64N(2_000_001)-1_000_000, 1_000_000))
		case 1:
			x = append(x, v)
		default:
			x = append(x, v.SetFloat64(float64(r.Float32()*4-2)))
		}
	}
	return x
}

func (t tensor) rat(k int) *big.Rat {
	v := new(big.Rat).SetFrac(t.n[k], t.den)
	two := new(big.Rat).SetFrac(new(big.Int).Lsh(big.NewInt(1), uint(max(t.exp, -t.exp))), big.NewInt(1))
	if t.exp < 0 {
		return v.Quo(v, two)
	}
	return v.Mul(v, two)
}

// hard makes weights of very different magnitudes, which it reports, or small integers.
func hard(m *model.Model, r *rand.Rand) (wild bool) {
	kind := r.IntN(3)
	for i := range m.Params {
		for k := range m.Params[i].W {
			switch w := &m.Params[i].W[k]; kind {
			case 0:
				*w *= float32(math.Ldexp(1, r.IntN(40)-20))
			case 1:
				*w = float32(r.IntN(5) - 2)
			}
		}
	}
	return kind == 0
}

// TestAgreesWithFractions: exact outputs are those of a naive evaluation, estimates hold
// them, and signs are right also where rows are 0 or nearly so.
func TestAgreesWithFractions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	zeros, near := 0, 0
	for n := range 80 {
		a := plain.RandomGraph(r)
		if n%2 == 1 {
			a = plain.RandomLayers(r)
		}
		if !Exact(a) {
			continue
		}
		m, err := model.Random(a, uint64(n))
		require.NoError(t, err)
		wild := hard(m, r)
		if m.Validate() != nil {
			continue
		}
		x := randomInput(a.Input.Size(), r)
		shapes, _ := a.Shapes()
		want := naive(t, m, x)
		have, err := exactOutputs(t.Context(), m, shapes, x)
		require.NoError(t, err)
		e := &estimator{m, shapes}
		z, err := e.outputs(x)
		require.NoError(t, err)
		for k, w := range want {
			require.Zero(t, w.Cmp(have.rat(k)), "%v output %d", a, k)
			d := new(big.Rat).Sub(w, new(big.Rat).SetFloat64(z.v[k]))
			require.LessOrEqual(t, d.Abs(d).Cmp(new(big.Rat).SetFloat64(z.e[k])), 0, "%v output %d", a, k)
			if f, _ := w.Float64(); !wild {
				require.LessOrEqual(t, z.e[k], 1e-9+1e-9*math.Abs(f), "%v output %d", a, k)
			}
		}
		// Rows z_k − f for f around z_k, and z_j − z_k.
		outs := len(want)
		var c, d []float32
		var signs []Sign
		row := func(k, j int, f float32) {
			at := make([]float32, outs)
			at[k]--
			at[j] += 2
			if k == j {
				at[k] = 1
			}
			v := new(big.Rat).SetFloat64(float64(f))
			for i, w := range at {
				v.Add(v, new(big.Rat).Mul(new(big.Rat).SetFloat64(float64(w)), want[i]))
			}
			if signs = append(signs, Sign(v.Sign())); v.Sign() == 0 {
				zeros++
			}
			c, d = append(c, at...), append(d, f)
		}
		for k, w := range want {
			f, _ := w.Float32()
			near++
			for _, g := range []float32{f, math.Nextafter32(f, 9e9), math.Nextafter32(f, -9e9)} {
				row(k, k, -g)
			}
			row(k, r.IntN(outs), 0)
		}
		got, err := Signs(t.Context(), m, x, c, d)
		require.NoError(t, err)
		require.Equal(t, signs, got, "%v", a)
		if _, zero := want[0].Float32(); zero {
			f := make([]float32, outs)
			exact := true
			for k, w := range want {
				var same bool
				f[k], same = w.Float32()
				exact = exact && same
			}
			if exact {
				require.Equal(t, signs, SignsOf(f, c, d))
			}
		}
	}
	require.Greater(t, zeros, 30)
	require.Greater(t, near, 200)
}

// TestCurves: estimates of networks with sigmoids and tanhs hold the values at a higher
// precision than float64 has doubt about, and what is in doubt stays so.
func TestCurves(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		z := r.NormFloat64() * math.Pow(10, float64(r.IntN(5)-2))
		for kind, want := range map[model.Kind]float64{model.Sigmoid: 1 / (1 + math.Exp(-z)), model.Tanh: math.Tanh(z)} {
			n, ok := element(&model.Layer{Kind: kind}, 0, number{z, 0})
			require.True(t, ok)
			require.InDelta(t, want, n.v, 0x1p-43)
			require.LessOrEqual(t, math.Abs(want-n.v), n.e)
			require.Less(t, n.e, 0x1p-40)
		}
	}
	m := &model.Model{
		Arch:   model.Architecture{Name: "tanh", Input: model.Shape{C: 1, H: 1, W: 1}, Layers: []model.Layer{{Kind: model.FC, Out: 2}, {Kind: model.Tanh}}},
		Params: []model.Param{{W: []float32{1, 1}, B: []float32{0, 0}}, {}},
	}
	require.NoError(t, m.Validate())
	got, err := Signs(t.Context(), m, []*big.Rat{big.NewRat(1, 3)}, []float32{1, -1, 1, 0, -1, 0}, nil)
	require.NoError(t, err)
	require.Equal(t, []Sign{Undecided, Positive, Negative}, got)
}

// TestOverflow: what float64 cannot hold is in doubt there, and exact.
func TestOverflow(t *testing.T) {
	big38 := float32(3e38)
	fc := model.Layer{Kind: model.FC, Out: 1}
	m := &model.Model{Arch: model.Architecture{Name: "large", Input: model.Shape{C: 1, H: 1, W: 1}}}
	for range 9 {
		m.Arch.Layers = append(m.Arch.Layers, fc, model.Layer{Kind: model.LeakyReLU, Slope: []float32{1}})
		m.Params = append(m.Params, model.Param{W: []float32{big38}, B: []float32{0}}, model.Param{})
	}
	m.Arch.Layers, m.Params = append(m.Arch.Layers, model.Layer{Kind: model.ReLU}), append(m.Params, model.Param{})
	require.NoError(t, m.Validate())
	for sign, want := range map[int64]Sign{1: Positive, -1: Zero} {
		got, err := Signs(t.Context(), m, []*big.Rat{big.NewRat(sign, 7)}, []float32{1}, nil)
		require.NoError(t, err)
		require.Equal(t, []Sign{want}, got)
	}
}

func TestRefusals(t *testing.T) {
	m, err := model.Random(&model.Architecture{Name: "a", Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{{Kind: model.FC, Out: 2}}}, 1)
	require.NoError(t, err)
	one := []*big.Rat{big.NewRat(1, 1), big.NewRat(1, 1)}
	_, err = Signs(t.Context(), m, one[:1], []float32{1, 0}, nil)
	require.ErrorContains(t, err, "want 2")
	_, err = Signs(t.Context(), m, one, []float32{1}, nil)
	require.ErrorContains(t, err, "coefficients")
	_, err = Signs(t.Context(), m, one, []float32{1, 0}, []float32{1, 2})
	require.ErrorContains(t, err, "constants")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.Params[0].W, m.Params[0].B = []float32{0.1, 0.1, 0.1, 0.1}, []float32{0, 0}
	got, err := Signs(ctx, m, one, []float32{1, -1}, nil) // exactly 0
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []Sign{Undecided}, got)
}
