package check_test

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// terms calls f(weight index, input index) for every term of output o, channels
// first.
func terms(l *model.Layer, in, out model.Shape, o int, f func(w, k int)) {
	if l.Kind == model.FC {
		for k := range in.Size() {
			f(o*in.Size()+k, k)
		}
		return
	}
	oc, y, x := o/(out.H*out.W), o/out.W%out.H, o%out.W
	for c := range in.C {
		for ky := range l.Kernel[0] {
			for kx := range l.Kernel[1] {
				iy, ix := y*l.Stride[0]+ky-l.Padding[0], x*l.Stride[1]+kx-l.Padding[1]
				if iy >= 0 && iy < in.H && ix >= 0 && ix < in.W {
					f(((oc*in.C+c)*l.Kernel[0]+ky)*l.Kernel[1]+kx, (c*in.H+iy)*in.W+ix)
				}
			}
		}
	}
}

func rat(v float64) *big.Rat { return new(big.Rat).SetFloat64(v) }

// exactOutputs evaluates a model in rational arithmetic.
func exactOutputs(m *model.Model, x []*big.Rat) []*big.Rat {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		panic(err)
	}
	acts := [][]*big.Rat{x}
	for i := range m.Arch.Layers {
		l, from, out := &m.Arch.Layers[i], m.Arch.InputsOf(i), shapes[i+1]
		in, a := shapes[from[0]+1], acts[from[0]+1]
		z := make([]*big.Rat, out.Size())
		for o := range z {
			z[o] = new(big.Rat)
			switch c := o / (out.H * out.W); l.Kind {
			case model.Normalize:
				z[o].Quo(z[o].Sub(a[o], rat(float64(l.Mean[c]))), rat(float64(l.Std[c])))
			case model.ReLU:
				if a[o].Sign() > 0 {
					z[o].Set(a[o])
				}
			case model.Add:
				z[o].Add(a[o], acts[from[1]+1][o])
			default:
				z[o] = rat(float64(m.Params[i].B[c]))
				terms(l, in, out, o, func(w, k int) {
					z[o].Add(z[o], new(big.Rat).Mul(rat(float64(m.Params[i].W[w])), a[k]))
				})
			}
		}
		acts = append(acts, z)
	}
	return acts[len(acts)-1]
}

// executedOutputs evaluates a model in float32: terms and bias in a random
// order, each step fused or not.
func executedOutputs(m *model.Model, x []float32, r *rand.Rand) []float32 {
	shapes, _ := m.Arch.Shapes()
	acts := [][]float32{x}
	type term struct{ w, v float32 }
	for i := range m.Arch.Layers {
		l, from, out := &m.Arch.Layers[i], m.Arch.InputsOf(i), shapes[i+1]
		in, a := shapes[from[0]+1], acts[from[0]+1]
		z := make([]float32, out.Size())
		for o := range z {
			switch c := o / (out.H * out.W); l.Kind {
			case model.Normalize:
				z[o] = float32(a[o]-l.Mean[c]) / l.Std[c]
			case model.ReLU:
				z[o] = max(0, a[o])
			case model.Add:
				z[o] = a[o] + acts[from[1]+1][o]
			default:
				list := []term{{1, m.Params[i].B[c]}}
				terms(l, in, out, o, func(w, k int) { list = append(list, term{m.Params[i].W[w], a[k]}) })
				r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				z[o] = sum(list, func(t term) (float32, float32) { return t.w, t.v }, r)
			}
		}
		acts = append(acts, z)
	}
	return acts[len(acts)-1]
}

// sum adds a list's products as one chain or, half of the time, as a random tree.
func sum[T any](list []T, of func(T) (w, v float32), r *rand.Rand) float32 {
	if n := len(list); n > 1 && r.IntN(2) == 0 {
		at := 1 + r.IntN(n-1)
		return sum(list[:at], of, r) + sum(list[at:], of, r)
	}
	var s float32
	for _, t := range list {
		w, v := of(t)
		if r.IntN(2) == 0 {
			s += float32(w * v)
			continue
		}
		f, _ := new(big.Rat).Add(new(big.Rat).Mul(rat(float64(w)), rat(float64(v))), rat(float64(s))).Float32()
		s = f
	}
	return s
}

func conv(out, k, s, p int) model.Layer {
	return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
}

func fc(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }

func add(a, b int) model.Layer { return model.Layer{Kind: model.Add, Inputs: []int{a, b}} }

func from(l model.Layer, k int) model.Layer {
	l.Inputs = []int{k}
	return l
}

var relu = model.Layer{Kind: model.ReLU}

func architectures() []*model.Architecture {
	norm := model.Layer{Kind: model.Normalize, Mean: []float32{0.3, 0.5}, Std: []float32{0.2, 0.7}}
	return []*model.Architecture{
		{Name: "fc", Input: model.Shape{C: 1, H: 2, W: 2}, Layers: []model.Layer{fc(5), relu, fc(4), relu, fc(3)}},
		{Name: "linear", Input: model.Shape{C: 1, H: 2, W: 3}, Layers: []model.Layer{fc(3)}},
		{Name: "conv", Input: model.Shape{C: 2, H: 4, W: 3}, Layers: []model.Layer{norm, conv(3, 3, 1, 1), relu, conv(2, 2, 2, 1), relu, fc(3)}},
		{Name: "wide", Input: model.Shape{C: 2, H: 3, W: 4}, Layers: []model.Layer{norm, {
			Kind: model.Conv, Out: 2, Kernel: [2]int{3, 2}, Stride: [2]int{2, 3}, Padding: [2]int{2, 1},
		}, relu, conv(2, 1, 1, 0), fc(4), relu}},
		{Name: "residual", Input: model.Shape{C: 2, H: 3, W: 3}, Layers: []model.Layer{
			norm, conv(3, 3, 1, 1), relu, conv(3, 3, 1, 1), relu, conv(3, 3, 1, 1), add(5, 2), relu,
			conv(2, 3, 2, 1), from(conv(2, 1, 2, 0), 7), add(8, 9), relu, fc(3),
		}},
		{Name: "skip", Input: model.Shape{C: 2, H: 2, W: 2}, Layers: []model.Layer{conv(2, 1, 1, 0), relu, conv(2, 1, 1, 0), add(2, -1), relu, conv(2, 2, 1, 1)}},
	}
}

// twist makes weights hard on rounding: huge and small ones side by side, nearly
// equal rows, denormals, exact cancellation.
func twist(m *model.Model, kind int, r *rand.Rand) {
	for _, p := range m.Params {
		for i := range p.W {
			switch kind {
			case 1:
				p.W[i] *= float32(math.Ldexp(1, r.IntN(24)-12))
			case 2:
				p.W[i] = 1 + p.W[i]*0x1p-20
			case 3:
				p.W[i] *= 0x1p-130
			case 4:
				if i%2 == 1 {
					p.W[i] = -p.W[i-1]
				}
			case 5:
				p.W[i] *= 0x1p20
			}
		}
		for i := range p.B {
			switch kind {
			case 1:
				p.B[i] *= 1000
			case 3:
				p.B[i] *= 0x1p-140
			}
		}
	}
}

var methods = []string{check.IBP, check.CROWNIBP, check.CROWN, check.AlphaCROWN}

// TestSoundness: no point of the ball is below the bound: exact outputs in
// rational arithmetic at either level, float32 outputs in any order at level
// executed. Slopes are random, ends of the network are cut, so that every kind
// of layer is bounded itself.
func TestSoundness(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	trials, positive := 0, 0
	for seed := range uint64(108) {
		a := architectures()[seed%6]
		m, err := model.Random(a, seed)
		require.NoError(t, err)
		twist(m, int(seed/6)%6, r)
		k := newChecker(t, m)
		size, outputs := a.Input.Size(), a.Classes()
		x := make([]float32, size)
		for i := range x {
			x[i] = float32(r.IntN(5)) / 4
			if r.IntN(2) == 0 {
				x[i] = r.Float32()
			}
		}
		for range 4 {
			c := claim(m, x, 0, []string{"linf", "l2", "l1"}[r.IntN(3)], []string{"0", "0.01", "1/10", "0.4"}[r.IntN(4)], methods[r.IntN(4)])
			c.Level = []string{check.Real, check.Executed}[r.IntN(2)]
			c.Label, c.Rows, c.Offsets = -1, [][]float64{make([]float64, outputs)}, []float64{r.NormFloat64()}
			for j := range outputs {
				c.Rows[0][j] = []float64{1, -1, 0, r.NormFloat64()}[r.IntN(4)]
			}
			c.Rows[0][0] = cmp.Or(c.Rows[0][0], 1)
			if c.Method != check.IBP {
				c.Slopes = randomSlopes(m, c.Method, 1, r.IntN(3), r)
			}
			c = reread(t, c)
			v := verdict(t, k, c, x, check.Unknown)
			if math.IsInf(v.Margin, -1) {
				require.Contains(t, v.Reason, "overflow")
				continue
			}
			if v.Valid {
				positive++
			}
			low := rat(v.Margin)
			for point := range 6 {
				p := inBall(c, x, point, r)
				exact := make([]*big.Rat, size)
				for i := range p {
					exact[i] = rat(float64(p[i]))
				}
				value := valueOf(c, exactOutputs(m, exact))
				require.LessOrEqual(t, low.Cmp(value), 0, "%s %s %s ε=%s: exact %v below the bound %v", a.Name, c.Method, c.Norm, c.Eps, value, v.Margin)
				trials++
				if c.Level == check.Executed {
					z := executedOutputs(m, p, r)
					wide := make([]*big.Rat, len(z))
					for j := range z {
						wide[j] = rat(float64(z[j]))
					}
					require.LessOrEqual(t, low.Cmp(valueOf(c, wide)), 0, "%s %s %s ε=%s: executed below the bound %v", a.Name, c.Method, c.Norm, c.Eps, v.Margin)
				}
			}
		}
	}
	require.Greater(t, trials, 1800)
	require.Greater(t, positive, 40)
}

// valueOf is the first row of the specification, exactly.
func valueOf(c *check.Certificate, z []*big.Rat) *big.Rat {
	s := rat(c.Offsets[0])
	for j, w := range c.Rows[0] {
		s.Add(s, new(big.Rat).Mul(rat(w), z[j]))
	}
	return s
}

// inBall returns a float32 image of the ball: the centre, a corner, or a random
// one.
func inBall(c *check.Certificate, x []float32, point int, r *rand.Rand) []float32 {
	p := append([]float32{}, x...)
	eps, _ := check.ParseEps(c.Eps)
	e, _ := eps.Float64()
	if point == 0 {
		return p
	}
	one := r.IntN(len(p))
	for i := range p {
		d := (2*r.Float64() - 1) * e
		if point%2 == 1 {
			d = math.Copysign(e, d)
		}
		switch c.Norm {
		case "l2":
			d /= math.Sqrt(float64(len(p)))
		case "l1":
			if point%2 == 1 && i != one {
				d = 0
			} else if point%2 == 0 {
				d /= float64(len(p))
			}
		}
		v := min(1, max(0, float64(x[i])+d*(1-1e-7))) // float32 rounding stays inside
		p[i] = float32(v)
		for p[i] != x[i] && math.Abs(float64(p[i])-float64(x[i])) > math.Abs(d) {
			p[i] = math.Nextafter32(p[i], x[i])
		}
	}
	return p
}

// TestExactLinear: on one linear layer the bounds are the exact minimum, but for
// what rounding asks for.
func TestExactLinear(t *testing.T) {
	m := &model.Model{
		Arch:   model.Architecture{Input: model.Shape{C: 1, H: 1, W: 3}, Layers: []model.Layer{fc(2)}},
		Params: []model.Param{{W: []float32{1, -2, 3, 0, 0, 0}, B: []float32{0.5, 0}}},
	}
	k := newChecker(t, m)
	x := []float32{0.5, 0.5, 1}
	centre := 0.5 - 1 + 3 + 0.5
	for norm, want := range map[string]float64{
		"linf": centre - 0.25*6, "l2": centre - 0.25*math.Sqrt(14), "l1": centre - 0.25*3,
	} {
		for _, method := range methods {
			for _, level := range []string{check.Real, check.Executed} {
				c := claim(m, x, 0, norm, "0.25", method)
				c.Level = level
				v := verdict(t, k, reread(t, c), x, 0)
				require.True(t, v.Valid, fmt.Sprint(norm, method, v.Reason))
				require.LessOrEqual(t, v.Margin, want)
				slack := 1e-11
				if level == check.Executed {
					slack = 1e-5
					require.Less(t, v.Margin, want-1e-7, "float32 execution errs")
				}
				require.InDelta(t, want, v.Margin, slack, "%s %s %s", norm, method, level)
			}
		}
	}
}
