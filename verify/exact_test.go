package verify

import (
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// exact evaluates a model of conv, fc and relu in a row without rounding: numbers are
// dyadic, and the precision has room for all their bits.
type exact struct {
	t *testing.T
	m *model.Model
}

const exactBits = 4096

func (e exact) num(v float64) *big.Float { return new(big.Float).SetPrec(exactBits).SetFloat64(v) }

func (e exact) must(z *big.Float) *big.Float {
	require.Equal(e.t, big.Exact, z.Acc())
	return z
}

// eval returns what every conv and fc computes, before its ReLU.
func (e exact) eval(x []*big.Float) (outs [][]*big.Float) {
	shapes, err := e.m.Arch.Shapes()
	require.NoError(e.t, err)
	act := x
	product := e.num(0)
	for i, l := range e.m.Arch.Layers {
		in, out := shapes[i], shapes[i+1]
		next := make([]*big.Float, out.Size())
		if l.Kind == model.ReLU {
			for k, v := range act {
				if next[k] = v; v.Sign() < 0 {
					next[k] = e.num(0)
				}
			}
		} else {
			for o := range next {
				s := e.num(float64(e.m.Params[i].B[o/(out.H*out.W)]))
				plain.Each(l, in, out, o, func(w, k int) {
					e.must(product.Mul(e.num(float64(e.m.Params[i].W[w])), act[k]))
					e.must(s.Add(s, product))
				})
				next[o] = s
			}
			outs = append(outs, next)
		}
		act = next
	}
	return outs
}

func tiny4(r *rand.Rand) *model.Architecture {
	return []*model.Architecture{
		{Name: "a", Input: model.Shape{C: 1, H: 1, W: 3}, Layers: []model.Layer{fc(3), relu, fc(3), relu, fc(2)}},
		{Name: "b", Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{conv(2, 2, 1, 0), relu, conv(2, 2, 1, 1), relu, fc(2)}},
		{Name: "c", Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{fc(4), relu, fc(3), relu}},
	}[r.IntN(3)]
}

// cruel is twist with more ways to hurt: sums that cancel but for their last bits,
// biases that cancel sums, magnitudes at the ends of what float32 holds.
func cruel(m *model.Model, r *rand.Rand) {
	twist(m, r)
	for _, p := range m.Params {
		switch r.IntN(5) {
		case 0:
			for i := range p.W {
				p.W[i] = float32(math.Copysign(math.Ldexp(1+float64(r.IntN(4))*0x1p-23, r.IntN(3)), float64(p.W[i])))
			}
		case 1:
			for i := range p.W {
				p.W[i] = float32(math.Ldexp(float64(p.W[i]), r.IntN(60)-30))
			}
		case 2:
			for i := range p.B {
				p.B[i] = -float32(math.Ldexp(float64(p.B[i]), r.IntN(25)))
			}
		case 3:
			for i := range p.W {
				p.W[i] = float32(math.Ldexp(float64(p.W[i]), -120-r.IntN(29)))
			}
		}
	}
}

// TestExactTrials compares bounds of all methods with exact evaluations at corners and
// random points of balls. EPSBALL_TRIALS sets how many (a million take two minutes).
func TestExactTrials(t *testing.T) {
	trials := 6000
	if s := os.Getenv("EPSBALL_TRIALS"); s != "" {
		var err error
		trials, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	r := rand.New(rand.NewPCG(31, 4))
	finite, stable := 0, 0
	for done := 0; done < trials; {
		a := tiny4(r)
		m, err := model.Random(a, r.Uint64())
		require.NoError(t, err)
		cruel(m, r)
		v := newCROWN(t, m, 1, Options{Method: Method(r.IntN(4)), Iterations: 2})
		e := exact{t, m}
		size, outs := a.Input.Size(), a.Classes()
		for range 4 {
			x := randomImage(size, r)
			eps := math.Ldexp(1, -r.IntN(14))
			norm := net.Norm(r.IntN(3))
			ball := net.Ball{Norm: norm, Eps: net.MustEpsilon(strconv.FormatFloat(eps, 'f', -1, 64))}
			y := r.IntN(outs)
			bounds, low, err := v.Bounds(ball, x, y)
			require.NoError(t, err)
			for range 8 {
				done++
				p := make([]*big.Float, size)
				at := r.IntN(size) // where an L1 or L2 ball is left along an axis
				for k := range p {
					p[k] = e.num(float64(x[k]))
					move := eps * (1 - 2*r.Float64())
					if r.IntN(2) == 0 {
						move = math.Copysign(eps, move)
					}
					if norm != net.Linf && k != at {
						continue
					}
					e.must(p[k].Add(p[k], e.num(move)))
					if p[k].Sign() < 0 {
						p[k] = e.num(0)
					} else if p[k].Cmp(e.num(1)) > 0 {
						p[k] = e.num(1)
					}
				}
				got := e.eval(p)
				for i, b := range bounds {
					for k, z := range got[i] {
						if lo := b.Lower[k]; !math.IsInf(float64(lo), 0) && lo == lo {
							require.LessOrEqual(t, e.num(float64(lo)).Cmp(z), 0, "%s layer %d output %d: %v below %v", v.o.Method, i, k, z, lo)
							finite++
						}
						if hi := b.Upper[k]; !math.IsInf(float64(hi), 0) && hi == hi {
							require.GreaterOrEqual(t, e.num(float64(hi)).Cmp(z), 0, "%s layer %d output %d: %v above %v", v.o.Method, i, k, z, hi)
						}
						if b.Lower[k] > 0 || b.Upper[k] < 0 {
							stable++
						}
					}
				}
				z := got[len(got)-1]
				for j, want := range low {
					zy, zj := z[y], z[j]
					if a.Layers[len(a.Layers)-1].Kind == model.ReLU {
						zy, zj = clampZero(e, zy), clampZero(e, zj)
					}
					if j != y && !math.IsInf(float64(want), 0) {
						diff := e.must(e.num(0).Sub(zy, zj))
						require.LessOrEqual(t, e.num(float64(want)).Cmp(diff), 0, "%s: margin %v below %v", v.o.Method, diff, want)
						finite++
					}
				}
			}
		}
	}
	t.Logf("%d finite bounds, %d of stable neurons", finite, stable)
	require.Greater(t, finite, trials)
}

func clampZero(e exact, v *big.Float) *big.Float {
	if v.Sign() < 0 {
		return e.num(0)
	}
	return v
}

// TestAbsorption rebuilds the attack of Zombori et al. (2021): a huge bias swallows the
// input in float32 and is taken off again. Exact and executed outputs differ by much,
// and bounds must hold both.
func TestAbsorption(t *testing.T) {
	for _, omega := range []float32{1 << 20, 1 << 24, 1 << 28, 1e12} {
		a := &model.Architecture{Name: "absorb", Input: model.Shape{C: 1, H: 1, W: 1}, Layers: []model.Layer{fc(1), relu, fc(1), relu, fc(2)}}
		m, err := model.Random(a, 1)
		require.NoError(t, err)
		// relu(relu(x + ω) − ω) is x or, executed, a multiple of an ulp of ω.
		m.Params[0].W[0], m.Params[0].B[0] = 1, omega
		m.Params[2].W[0], m.Params[2].B[0] = 1, -omega
		m.Params[4].W[0], m.Params[4].W[1], m.Params[4].B[0], m.Params[4].B[1] = 1, -1, -0.25, 0.25
		x := []float32{0.5}
		ball := net.Ball{Eps: net.MustEpsilon("0.1")}
		for method := range Methods() {
			v := newCROWN(t, m, 1, Options{Method: Method(method)})
			bounds, low, err := v.Bounds(ball, x, 0)
			require.NoError(t, err)
			step := math.Ldexp(float64(omega), -24)
			require.LessOrEqual(t, float64(bounds[1].Lower[0]), 0.4)
			require.GreaterOrEqual(t, float64(bounds[1].Upper[0]), 0.6)
			if step >= 1 { // executed: 0
				require.LessOrEqual(t, float64(low[1]), -0.5, "ω = %v, %v", omega, Method(method))
			}
			require.Nil(t, search(t, v, m, ball, x, 0, rand.New(rand.NewPCG(1, 1)), 40))
		}
	}
}

// TestTightRadius rebuilds that of Jia & Rinard (2020): inputs right where the exact
// margin changes its sign. Nothing is certified at or beyond that point, and nearly
// everything before it.
func TestTightRadius(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 14))
	a := &model.Architecture{Name: "linear", Input: model.Shape{C: 1, H: 8, W: 8}, Layers: []model.Layer{fc(2)}}
	tried := 0
	for seed := range uint64(60) {
		m, err := model.Random(a, seed)
		require.NoError(t, err)
		x := make([]float32, 64)
		margin, norm := big.NewRat(0, 1), big.NewRat(0, 1)
		for k := range x {
			x[k] = 0.25 + 0.5*r.Float32()
			d := new(big.Rat).SetFloat64(float64(m.Params[0].W[k]))
			d.Sub(d, new(big.Rat).SetFloat64(float64(m.Params[0].W[64+k])))
			norm.Add(norm, new(big.Rat).Abs(d))
			margin.Add(margin, d.Mul(d, new(big.Rat).SetFloat64(float64(x[k]))))
		}
		b := new(big.Rat).SetFloat64(float64(m.Params[0].B[0]))
		margin.Add(margin, b.Sub(b, new(big.Rat).SetFloat64(float64(m.Params[0].B[1]))))
		y := 0
		if margin.Sign() < 0 {
			y = 1
			margin.Neg(margin)
		}
		edge := margin.Quo(margin, norm) // the exact robust radius
		if f, _ := edge.Float64(); f > 0.2 || f < 0.01 {
			continue
		}
		for method := range Methods() {
			v := newCROWN(t, m, 1, Options{Method: Method(method)})
			for _, c := range []struct {
				factor string
				want   bool
			}{{"1", false}, {"1.0000000001", false}, {"0.99", true}} {
				f, _ := new(big.Rat).SetString(c.factor)
				text := new(big.Rat).Mul(edge, f).FloatString(25)
				if !c.want { // FloatString rounds
					text += "1"
				}
				_, low, err := v.Bounds(net.Ball{Eps: net.MustEpsilon(text)}, x, y)
				require.NoError(t, err)
				require.Equal(t, c.want, low[1-y] > 0, "factor %s: bound %v", c.factor, low[1-y])
				tried++
			}
		}
	}
	require.Greater(t, tried, 100)
}
