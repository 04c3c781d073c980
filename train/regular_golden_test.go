package train

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// regularised are the methods of make_regular.py, with its numbers.
var regularised = []struct {
	name   string
	method Method
	set    func(c *Config)
}{
	{"standard-smoothing", Standard, func(c *Config) { c.LabelSmoothing = 0.1 }},
	{"pgd-smoothing", PGD, func(c *Config) { c.LabelSmoothing = 0.1 }},
	{"pgd-awp", PGD, func(c *Config) { c.AWP = 0.05 }},
	{"trades-awp", TRADES, func(c *Config) { c.AWP = 0.05 }},
	{"mart", MART, func(*Config) {}},
	{"mart-awp", MART, func(c *Config) { c.AWP = 0.05 }},
	{"logit-pairing", LogitPairing, func(*Config) {}},
}

// TestRegularGolden holds steps on given points x′ against PyTorch's: losses, gradients and,
// with weight perturbation, the weights after Adam.
func TestRegularGolden(t *testing.T) {
	want, _ := goldenArrays(t, "regular.npz")
	for _, network := range []string{"dense", "residual"} {
		g, err := golden.Load(network)
		require.NoError(t, err)
		for _, r := range regularised {
			t.Run(network+"/"+r.name, func(t *testing.T) {
				m := g.Model.Clone()
				s := stepOn(t, m, &data{g.X, g.Y}, g.PGD[len(g.PGD)-1], r.method, r.set)
				sameStep(t, want, network+"."+r.name, m, s, 1e-4)
			})
		}
	}
	_, input := goldenArrays(t, "batchnorm.npz")
	start, y := goldenNorms(t, input), make([]int, len(input["x"])/72)
	for i := range y {
		y[i] = i % 4
	}
	for _, r := range regularised {
		name := "batchnorm." + r.name
		if want[name+".loss"] == nil {
			continue
		}
		t.Run("batchnorm/"+r.name, func(t *testing.T) {
			m := start.Clone()
			s := stepOn(t, m, &data{input["x"], y}, input["adv"], r.method, r.set)
			sameStep(t, want, name, m, s, 1e-4)
			for l := range m.Params {
				for kind, v := range map[string][]float32{"mean": m.Params[l].Mean, "var": m.Params[l].Var} {
					require.InDeltaSlice(t, want[fmt.Sprintf("%s.stepped.running_%s.%d", name, kind, l)], widen(v), 2e-6)
				}
			}
		})
	}
}

// stepOn does one step at learning rate 1e-3 on given points.
func stepOn(t *testing.T, m *model.Model, d *data, points []float32, method Method, set func(c *Config)) *stepper {
	c := DefaultConfig(method)
	set(&c)
	c.BatchSize = len(d.y)
	require.NoError(t, c.validate())
	n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches})
	require.NoError(t, err)
	s := newStepper(&c, n, d, kernels.NewPool(1))
	if attack := s.o.needs.attack; attack != nil && points != nil {
		o := *s.o
		o.needs.attack = &inner{start: given(m.Arch.Input, points), ascend: attack.ascend}
		s.o, c.PGDSteps = &o, 0
	}
	at := point{lr: 1e-3, eps: 0.2, kappa: 1, awp: c.AWP}
	require.NoError(t, s.losses(context.Background(), 0, at, inOrder(len(d.y))))
	require.NoError(t, s.update(context.Background()))
	return s
}

// sameStep compares a step with PyTorch's, gradients up to the given relative error.
func sameStep(t *testing.T, want map[string][]float64, name string, m *model.Model, s *stepper, within float64) {
	require.Len(t, s.loss, len(want[name+".loss"]))
	for i, l := range want[name+".loss"] {
		require.InDelta(t, l, s.loss[i], within/5*(1+l))
	}
	compared := 0
	for l, g := range s.grad.Params {
		normed := l+1 < len(m.Params) && m.Arch.Layers[l+1].Kind == model.BatchNorm
		compare := func(kind string, grad, stepped []float32) {
			at := fmt.Sprintf("%s.%d", kind, l)
			g, w := want[name+"."+at], want[name+".stepped."+at]
			require.Len(t, grad, len(g))
			for i, v := range g {
				require.InDelta(t, v, grad[i], within*(0.02+math.Abs(v)), "%s[%d]", at, i)
				if w != nil && math.Abs(v) > 1e-5 && (kind == "weight" || !normed) { // else the step is rounding's
					require.InDelta(t, w[i], stepped[i], 2e-6, "%s[%d]", at, i)
					compared++
				}
			}
		}
		compare("weight", g.W, m.Params[l].W)
		compare("bias", g.B, m.Params[l].B)
	}
	if s.c.AWP > 0 {
		assert.Greater(t, compared, 100)
	}
}

// TestProbesGolden holds steps with finite differences against PyTorch's, and the gradient
// of the regulariser against what differentiating twice gives, where no probe crosses a
// kink: they differ by h times the curvature.
func TestProbesGolden(t *testing.T) {
	want, input := goldenArrays(t, "regular.npz")
	twice := 0
	for _, network := range []string{"dense", "residual"} {
		g, err := golden.Load(network)
		require.NoError(t, err)
		for _, smooth := range []bool{false, true} {
			m, name := g.Model.Clone(), network
			if smooth {
				m.Arch.Layers = slices.Clone(m.Arch.Layers)
				for i := range m.Arch.Layers {
					if l := &m.Arch.Layers[i]; l.Kind == model.ReLU {
						l.Kind = model.Tanh
					}
				}
				name += "-smooth"
			}
			for _, method := range []Method{InputGradient, Jacobian} {
				t.Run(name+"/"+string(method), func(t *testing.T) {
					name := name + "." + string(method)
					if method == Jacobian {
						giveDrawn(t, input[name+".v"], m.Arch.Classes())
					}
					whole := stepOn(t, m.Clone(), &data{g.X, g.Y}, nil, method, func(c *Config) {
						c.Probe = 0.01
						if method == InputGradient {
							c.Beta = 0.1
						}
					})
					sameStep(t, want, name, m, whole, 1e-3) // a difference of 1e-2 has lost two digits
					if want[name+".double.bias.1"] == nil && want[name+".double.bias.0"] == nil {
						return
					}
					twice++
					plain := stepOn(t, m.Clone(), &data{g.X, g.Y}, nil, Standard, func(*Config) {})
					var apart, all float64
					for l, p := range whole.grad.Params {
						compare := func(kind string, grad, plain []float32) {
							double := want[fmt.Sprintf("%s.double.%s.%d", name, kind, l)]
							require.Len(t, double, len(grad))
							for i, v := range double {
								apart += math.Pow(v-(float64(grad[i])-float64(plain[i])), 2)
								all += v * v
							}
						}
						compare("weight", p.W, plain.grad.Params[l].W)
						compare("bias", p.B, plain.grad.Params[l].B)
					}
					t.Logf("finite difference against second derivatives: %.2g of the gradient's length", math.Sqrt(apart/all))
					assert.Less(t, math.Sqrt(apart/all), 0.05)
				})
			}
		}
	}
	assert.Equal(t, 6, twice)
}

// giveDrawn makes jacobian draw the vectors of v, one after the other, until the test ends.
func giveDrawn(t *testing.T, v []float32, classes int) {
	k, old := 0, jacobian.needs.attack
	jacobian.needs.attack = probe(inner{draw: func(d []float32, _ *kernels.Stream) {
		copy(d, v[k:k+classes])
		k += classes
	}})
	t.Cleanup(func() { jacobian.needs.attack = old })
}
