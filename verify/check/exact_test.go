package check_test

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

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
	var sum soundness
	for seed := range uint64(108) {
		m, err := model.Random(architectures()[seed%6], seed)
		require.NoError(t, err)
		twist(m, int(seed/6)%6, r)
		sum.judge(t, m, r)
	}
	require.Greater(t, sum.trials, 1800)
	require.Greater(t, sum.positive, 40)
}

// soundness counts what was judged.
type soundness struct{ trials, positive int }

// judge compares bounds of a model with points of balls.
func (s *soundness) judge(t *testing.T, m *model.Model, r *rand.Rand) {
	a, k := &m.Arch, newChecker(t, m)
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
			s.positive++
		}
		low := rat(v.Margin)
		below := func(z []*big.Rat, how string) {
			value := valueOf(c, z)
			if curved(m) {
				value.Add(value, rat(0x1p-190))
			}
			require.LessOrEqual(t, low.Cmp(value), 0, "%s %s %s ε=%s: %s below the bound %v", a.Name, c.Method, c.Norm, c.Eps, how, v.Margin)
		}
		for point := range 6 {
			p := inBall(c, x, point, r)
			exact := make([]*big.Rat, size)
			for i := range p {
				exact[i] = rat(float64(p[i]))
			}
			below(exactOutputs(m, exact), "exact")
			s.trials++
			if c.Level == check.Executed {
				z := executedOutputs(m, p, r)
				wide := make([]*big.Rat, len(z))
				for j := range z {
					wide[j] = rat(float64(z[j]))
				}
				below(wide, "executed")
			}
		}
	}
}

// curved reports whether exactOutputs is not exact.
func curved(m *model.Model) bool {
	return slices.ContainsFunc(m.Arch.Layers, func(l model.Layer) bool { return l.Kind == model.Sigmoid || l.Kind == model.Tanh })
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
