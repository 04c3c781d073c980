package verify

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

func newLayersCROWN(t *testing.T, m *model.Model, pool *kernels.Pool, o net.Options, c Config) *CROWN {
	t.Helper()
	n, err := net.Compile(m, o)
	if err != nil {
		require.ErrorContains(t, err, "dilation")
		return nil
	}
	v, err := NewCROWN(n, pool, c)
	require.NoError(t, err)
	return v
}

// TestLinearLayersSound compares linear bounds of networks of every layer with exact
// evaluation and with executions in float32, of hostile weights too. EPSBALL_TRIALS sets
// how many.
func TestLinearLayersSound(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	isas := kernels.Available()
	rounds, finite := trials(t, 1200)/20, 0
	for _, a := range layerArchitectures() {
		t.Run(a.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 8))
			for round := range rounds {
				m := newLayers(t, a, uint64(round), r)
				if round%2 == 1 {
					cruel(m, r)
				}
				c := Config{Method: Method(r.IntN(4)), Iterations: 2, RowsOnly: r.IntN(2) == 0}
				v := newLayersCROWN(t, m, pool, net.Options{ISA: isas[r.IntN(len(isas))].Name(), Batches: net.Batches(r.IntN(3))}, c)
				if v == nil {
					return
				}
				ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}
				bad, n := breaks(t, v, ball, randomImage(a.Input.Size(), r), r.IntN(a.Classes()), r, 6)
				require.Empty(t, bad, "round %d, %v, %v", round, ball, c.Method)
				finite += n
			}
		})
	}
	t.Logf("%d finite bounds", finite)
	require.Greater(t, finite, 100*rounds)
}

// TestRandomLinearLayers: the same for any wiring.
func TestRandomLinearLayers(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(5, 7))
	isas := kernels.Available()
	finite, rounds := 0, trials(t, 600)
	for round := range rounds {
		a := randomLayers(r)
		m := newLayers(t, a, uint64(round), r)
		if round%2 == 1 {
			cruel(m, r)
		}
		o := net.Options{ISA: isas[r.IntN(len(isas))].Name(), Batches: net.Batches(r.IntN(3))}
		c := Config{Method: Method(r.IntN(4)), Iterations: 2, RowsOnly: r.IntN(2) == 0}
		v := newLayersCROWN(t, m, pool, o, c)
		if v == nil {
			continue
		}
		ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}
		bad, n := breaks(t, v, ball, randomImage(a.Input.Size(), r), r.IntN(a.Classes()), r, 6)
		require.Empty(t, bad, "%s, %v, %+v, %v", a.CanonicalJSON(), ball, o, c.Method)
		finite += n
	}
	t.Logf("%d finite bounds", finite)
	require.Greater(t, finite, 100*rounds)
}

// TestLinearFaults is TestLayerFaults for rows.
func TestLinearFaults(t *testing.T) {
	defer func() { removed = noTerm }()
	swallow := []model.Layer{batchNorm, relu, from(-1, grouped(2, conv(2, 11, 1, 5))), add(1, 2)}
	setSwallow := func(m *model.Model) { // what the ReLU gives swallows the products that are added to it
		for k := range m.Params[2].W {
			m.Params[2].W[k] = 0.45
		}
		clear(m.Params[2].B)
		m.Params[0] = model.Param{W: []float32{1.1 * 0x1p24, 1.1 * 0x1p24}, B: []float32{0, 0}, Mean: []float32{0, 0}, Var: []float32{1, 1}}
	}
	hidden := func(k int) float32 { // one pixel swallows the others
		if k%400 == 0 {
			return 1
		}
		return 0.9 * 0x1p-24
	}
	one := func(int) float32 { return 1 }
	ones := func(m *model.Model) {
		for k := range m.Params[0].W {
			m.Params[0].W[k] = 1
		}
		clear(m.Params[0].B)
	}
	// The same with more products than a chain of rows has terms, and two outputs.
	maximum := from(-1, pool(model.MaxPool, 23, 1, 0))
	much := []model.Layer{maximum, batchNorm, relu, from(-1, grouped(2, conv(2, 23, 1, 0))), add(2, 3)}
	setMuch := func(m *model.Model) {
		for k := range m.Params[3].W {
			m.Params[3].W[k] = 0.9
		}
		clear(m.Params[3].B)
		m.Params[1] = model.Param{W: []float32{1.1 * 0x1p24, 1.1 * 0x1p24}, B: []float32{0, 0}, Mean: []float32{0, 0}, Var: []float32{1, 1}}
	}
	sized := func(l model.Layer, k int) model.Layer {
		l.Stride = [2]int{k, k}
		return l
	}
	for _, c := range []struct {
		name   string
		term   errorTerm
		in     model.Shape
		layers []model.Layer
		set    func(m *model.Model)
		pixel  func(k int) float32 // nil: random
	}{
		{"sigmoid", termCurve, model.Shape{C: 1, H: 1, W: 2}, []model.Layer{fc(2), sigmoid}, nil, nil},
		{"tanh", termCurve, model.Shape{C: 1, H: 1, W: 2}, []model.Layer{fc(2), tanh, fc(2)}, nil, nil},
		{"mean", termMeanBox, model.Shape{C: 2, H: 20, W: 20}, []model.Layer{pool(model.AvgPool, 20, 1, 0), fc(2)}, nil, hidden},
		{"sum", termSkip, model.Shape{C: 2, H: 23, W: 23}, much, setMuch, one},
		{"box of a sum", termSkipBox, model.Shape{C: 2, H: 12, W: 12}, append(swallow[:4:4], fc(2)), setSwallow, one},
		{"depthwise", termExecuted, model.Shape{C: 2, H: 20, W: 20}, []model.Layer{grouped(2, sized(conv(2, 20, 1, 0), 20))}, ones, hidden},
		{"grouped", termExecuted, model.Shape{C: 4, H: 20, W: 20}, []model.Layer{grouped(2, sized(conv(4, 20, 1, 0), 20))}, ones, hidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := kernels.NewPool(1)
			defer pool.Close()
			a := &model.Architecture{Name: c.name, Input: c.in, Layers: c.layers}
			try := func(term errorTerm) string {
				removed = term
				r := rand.New(rand.NewPCG(1, 3))
				for round := range 20 {
					m := newLayers(t, a, uint64(round), r)
					if c.set != nil {
						c.set(m)
					}
					v := newLayersCROWN(t, m, pool, net.Options{}, Config{Method: MethodCROWN})
					x := randomImage(a.Input.Size(), r)
					if c.pixel != nil {
						for k := range x {
							x[k] = c.pixel(k)
						}
					}
					if bad, _ := breaks(t, v, net.Ball{Eps: net.MustEpsilon("0")}, x, 0, r, 4); bad != "" {
						return bad
					}
				}
				return ""
			}
			require.Empty(t, try(noTerm))
			bad := try(c.term)
			require.NotEmpty(t, bad, "nothing is found without %s", errorTermNames[c.term])
			t.Log(bad)
		})
	}
}
