package verify

import (
	"context"
	"math"
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

// TestLinearLayersBits: margins are the same bits for any kernel set, batch, compilation
// and number of threads.
func TestLinearLayersBits(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	const n = 3
	for _, a := range layerArchitectures() {
		m := newLayers(t, a, 8, r)
		size := a.Input.Size()
		x, y := randomImage(n*size, r), make([]int, n)
		for i := range y {
			y[i] = r.IntN(a.Classes())
		}
		for method := MethodCROWNIBP; method <= MethodAlphaCROWN; method++ {
			ball := net.Ball{Norm: net.Norm(int(method) % 3), Eps: net.MustEpsilon("0.04")}
			var want []float32
			for _, isa := range kernels.Available() {
				for _, batches := range []net.Batches{net.AllBatches, net.LargeBatches, net.SmallBatches} {
					pool := kernels.NewPool(1 + int(batches)%2)
					v := newLayersCROWN(t, m, pool, net.Options{ISA: isa.Name(), Batches: batches}, Config{Method: method, Iterations: 3})
					var res Result
					require.NoError(t, v.Certify(context.Background(), ball, Batch{x, y}, &res))
					if want == nil {
						want = append(want, res.Margin...)
					}
					require.Equal(t, want, res.Margin, "%s %v %s", a.Name, method, isa.Name())
					require.NoError(t, v.Certify(context.Background(), ball, Batch{x[size:], y[1:]}, &res))
					require.Equal(t, want[1:], res.Margin)
					pool.Close()
				}
			}
		}
	}
}

// TestLinearLayersInOrder: each method proves at least what the cheaper one does of the
// intervals and, on the whole, more; optimised slopes gain most of all.
func TestLinearLayersInOrder(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(2, 5))
	var sums [4]float64
	ball := net.Ball{Eps: net.MustEpsilon("0.05")}
	for _, a := range layerArchitectures() {
		for seed := range uint64(4) {
			m := newLayers(t, a, seed, r)
			x := randomImage(a.Input.Size(), r)
			var by [4]Result
			for method := range by {
				v := newLayersCROWN(t, m, pool, net.Options{}, Config{Method: Method(method)})
				require.NoError(t, v.Certify(context.Background(), ball, Batch{x, []int{0}}, &by[method]))
				require.GreaterOrEqual(t, by[method].Margin[0], by[0].Margin[0])
				sums[method] += float64(by[method].Margin[0])
			}
			require.GreaterOrEqual(t, float64(by[3].Margin[0]), float64(by[2].Margin[0])-1e-5, a.Name)
		}
	}
	t.Log(sums)
	for k := range sums[1:] {
		require.Greater(t, sums[k+1], sums[k]+1e-3)
	}
}

// TestSpecOfLayers: class margins as a specification of one's own are the same.
func TestSpecOfLayers(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(6, 2))
	for _, a := range layerArchitectures() {
		m := newLayers(t, a, 2, r)
		x := randomImage(a.Input.Size(), r)
		outs, y := a.Classes(), 1
		spec := &Spec{}
		for j := range outs {
			if j != y {
				row := make([]float32, outs)
				row[y], row[j] = 1, -1
				spec.C = append(spec.C, row...)
			}
		}
		for norm := range 3 {
			ball := net.Ball{Norm: net.Norm(norm), Eps: net.MustEpsilon("0.02")}
			for method := range Methods() {
				_, want, err := newLayersCROWN(t, m, pool, net.Options{}, Config{Method: Method(method), Iterations: 2}).Bounds(ball, x, y)
				require.NoError(t, err)
				v := newLayersCROWN(t, m, pool, net.Options{}, Config{Method: Method(method), Iterations: 2, Spec: spec})
				_, have, err := v.Bounds(ball, x, 0)
				require.NoError(t, err)
				require.Equal(t, append(want[:y:y], want[y+1:]...), have, "%s %v", a.Name, Method(method))
				require.False(t, math.IsInf(float64(worst(have)), 0))
			}
		}
	}
}

func TestLinearLayersDoNotAllocate(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(4, 5))
	for _, a := range layerArchitectures() {
		m := newLayers(t, a, 1, r)
		x := randomImage(2*a.Input.Size(), r)
		for method := MethodCROWNIBP; method <= MethodAlphaCROWN; method++ {
			v := newLayersCROWN(t, m, pool, net.Options{}, Config{Method: method, Iterations: 2})
			var res Result
			var err error
			b, ball, ctx := Batch{x, []int{0, 1}}, net.Ball{Eps: net.MustEpsilon("0.03")}, context.Background()
			certify := func() { err = v.Certify(ctx, ball, b, &res) }
			certify()
			require.NoError(t, err)
			require.Zero(t, testing.AllocsPerRun(3, certify), "%s %v", a.Name, method)
		}
	}
}

// TestLinearLayersFailClosed: what overflows is not certified, whatever comes behind.
func TestLinearLayersFailClosed(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, l := range []model.Layer{relu, clip, sigmoid, tanh, leaky(0.1), leaky(-0.1), leaky(3), batchNorm, pool2(model.MaxPool), pool2(model.AvgPool)} {
		a := &model.Architecture{Input: model.Shape{C: 1, H: 2, W: 2}, Layers: []model.Layer{conv(2, 1, 1, 0), conv(2, 1, 1, 0), l, fc(2)}}
		if l.Kind == model.ReLU { // alone, behind a pool
			a.Layers = []model.Layer{conv(2, 1, 1, 0), conv(2, 1, 1, 0), pool2(model.MaxPool), l, fc(2)}
		}
		m, err := model.Random(a, 3)
		require.NoError(t, err)
		for _, p := range m.Params[:2] {
			for k := range p.W {
				p.W[k] = 1e20
			}
		}
		for method := range Methods() {
			for norm := range 3 {
				v := newLayersCROWN(t, m, pool, net.Options{}, Config{Method: Method(method), Iterations: 1})
				for y := range 2 {
					p, err := v.Prove(context.Background(), net.Ball{Norm: net.Norm(norm), Eps: net.MustEpsilon("0.1")}, []float32{0.5, 0.5, 0.5, 0.5}, y)
					require.NoError(t, err)
					require.False(t, p.Certified, "%v %v", l.Kind, Method(method))
				}
			}
		}
	}
}

// TestCurve: the lines of sigmoid and tanh, on intervals of any place and width, are on
// their sides of the function, and near it; float64 of the math package is the yardstick.
func TestCurve(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for _, c := range []struct {
		o *curve
		f func(z float64) float64
	}{{&sigmoidCurve, func(z float64) float64 { return 1 / (1 + math.Exp(-z)) }}, {&tanhCurve, math.Tanh}} {
		for range 4000 {
			l := float32(r.NormFloat64() * math.Pow(10, 4*r.Float64()-2))
			h := l + float32(math.Pow(10, 8*r.Float64()-6))
			b := c.o.lines(l, h)
			least, most := math.Inf(1), math.Inf(1)
			for k := range 65 {
				z := float64(l) + (float64(h)-float64(l))*float64(k)/64
				y := c.f(z)
				require.InDelta(t, y, c.o.value(z), 0x1p-44)
				below := y - curveDistance - (float64(b.low)*z + float64(b.lowAt))
				above := float64(b.high)*z + float64(b.highAt) - y - curveDistance
				require.GreaterOrEqual(t, below, -0x1p-45, "[%v, %v] at %v", l, h, z)
				require.GreaterOrEqual(t, above, -0x1p-45, "[%v, %v] at %v", l, h, z)
				require.True(t, y >= float64(b.lo) && y <= float64(b.hi))
				least, most = min(least, below), min(most, above)
			}
			wide := 0x1p-22*(1+math.Abs(float64(l))+math.Abs(float64(h))) + 0.05*float64(h-l)
			require.LessOrEqual(t, max(least, most), wide, "[%v, %v]", l, h)
		}
	}
}

// TestLinesOfElements: those of LeakyReLU and Clip are on their sides of the function
// and touch it.
func TestLinesOfElements(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 10))
	draw := func() float32 { return float32(r.NormFloat64() * math.Pow(10, 6*r.Float64()-3)) }
	for range 15000 {
		l, h := draw(), draw()
		l, h = min(l, h), max(l, h)
		f, least := draw(), draw()
		most := least + float32(math.Abs(float64(draw()))) + 1e-3
		for _, c := range []struct {
			b bent
			f func(z float64) float64
		}{
			{leakyLines(f, l, h), func(z float64) float64 {
				if z > 0 {
					return z
				}
				return float64(f) * z
			}},
			{clipLines(least, most, l, h), func(z float64) float64 { return min(max(z, float64(least)), float64(most)) }},
		} {
			for _, z := range []float64{float64(l), float64(h), 0, float64(least), float64(most), float64(l)/2 + float64(h)/2} {
				if z < float64(l) || z > float64(h) {
					continue
				}
				y := c.f(z)
				require.LessOrEqual(t, float64(c.b.low)*z+float64(c.b.lowAt), y+math.Abs(y)*0x1p-50, "[%v, %v] at %v", l, h, z)
				require.GreaterOrEqual(t, float64(c.b.high)*z+float64(c.b.highAt), y-math.Abs(y)*0x1p-50, "[%v, %v] at %v", l, h, z)
				require.True(t, y >= float64(c.b.lo) && y <= float64(c.b.hi))
			}
		}
	}
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
