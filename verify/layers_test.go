package verify

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// pool is a maxpool or avgpool of k×k pixels.
func pool(kind model.Kind, k, s, p int) model.Layer {
	return model.Layer{Kind: kind, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
}

// grouped is l in groups.
func grouped(groups int, l model.Layer) model.Layer {
	l.Groups = groups
	return l
}

func leaky(slope ...float32) model.Layer { return model.Layer{Kind: model.LeakyReLU, Slope: slope} }

var (
	sigmoid   = model.Layer{Kind: model.Sigmoid}
	tanh      = model.Layer{Kind: model.Tanh}
	batchNorm = model.Layer{Kind: model.BatchNorm, Eps: 1e-3}
	clip      = model.Layer{Kind: model.Clip, Min: -0.25, Max: 0.75}
)

// layerArchitectures has every operation but the dense ones of architectures, at the
// input, in the middle and at the end.
func layerArchitectures() []*model.Architecture {
	norm := model.Layer{Kind: model.Normalize, Mean: []float32{0.3, 0.5}, Std: []float32{0.2, 0.7}}
	join := func(k model.Kind, in ...int) model.Layer { return model.Layer{Kind: k, Inputs: in} }
	padded := pool(model.AvgPool, 2, 1, 1)
	padded.CountPadding = true
	dilated := grouped(2, conv(2, 2, 1, 1))
	dilated.Dilation = [2]int{2, 2}
	in := model.Shape{C: 2, H: 5, W: 4}
	return []*model.Architecture{
		{Name: "lenet", Input: in, Layers: []model.Layer{conv(4, 3, 1, 1), batchNorm, relu, pool(model.MaxPool, 2, 2, 0), conv(3, 2, 1, 1), relu, pool(model.AvgPool, 2, 1, 0), fc(4)}},
		{Name: "smooth", Input: in, Layers: []model.Layer{norm, conv(3, 3, 2, 1), sigmoid, conv(4, 2, 1, 0), tanh, fc(3)}},
		{Name: "mobile", Input: in, Layers: []model.Layer{norm, grouped(2, conv(2, 3, 1, 1)), batchNorm, {Kind: model.Clip, Min: 0, Max: 6}, conv(4, 1, 1, 0), leaky(0.25, -0.5, 0, 1.5), grouped(2, conv(6, 2, 1, 0)), relu, padded, fc(3)}},
		{Name: "resnet", Input: in, Layers: []model.Layer{norm, batchNorm, conv(2, 3, 1, 1), batchNorm, add(3, 1), relu, dilated, join(model.Add, 6, 5), join(model.Concat, 7, 5, 0), leaky(-0.5), conv(4, 3, 2, 1), from(9, pool(model.AvgPool, 3, 2, 1)), join(model.Concat, 10, 11), fc(4)}},
		{Name: "starts-with-pool", Input: in, Layers: []model.Layer{pool(model.MaxPool, 3, 1, 1), sigmoid, fc(3)}},
		{Name: "starts-with-mean", Input: in, Layers: []model.Layer{pool(model.AvgPool, 2, 1, 1), clip, conv(3, 2, 2, 0), relu, fc(3)}},
		{Name: "starts-with-groups", Input: in, Layers: []model.Layer{norm, grouped(2, conv(4, 3, 1, 1)), tanh, fc(3)}},
		{Name: "starts-with-tanh", Input: in, Layers: []model.Layer{tanh, leaky(2), fc(3)}},
		{Name: "starts-with-concat", Input: in, Layers: []model.Layer{norm, join(model.Concat, 0, 0), join(model.Add, 1, 1), fc(3)}},
		{Name: "ends-in-sigmoid", Input: in, Layers: []model.Layer{conv(3, 3, 1, 0), sigmoid}},
		{Name: "ends-in-pool", Input: in, Layers: []model.Layer{conv(2, 2, 1, 0), relu, pool(model.MaxPool, 2, 2, 0)}},
		{Name: "ends-in-mean", Input: in, Layers: []model.Layer{conv(3, 3, 1, 1), relu, {Kind: model.AvgPool, Kernel: [2]int{5, 4}, Stride: [2]int{1, 1}}}},
		{Name: "ends-in-groups", Input: in, Layers: []model.Layer{conv(4, 3, 1, 1), relu, grouped(4, conv(4, 3, 2, 0))}},
		{Name: "ends-in-sum", Input: in, Layers: []model.Layer{fc(4), sigmoid, from(0, tanh), join(model.Add, 1, 2)}},
		{Name: "ends-in-concat", Input: in, Layers: []model.Layer{fc(2), relu, from(0, fc(3)), join(model.Concat, 1, 2)}},
		{Name: "ends-in-clip", Input: in, Layers: []model.Layer{fc(4), clip}},
	}
}

// newLayers returns a model of an architecture, with statistics where it has some, and
// weights hard on rounding.
func newLayers(t *testing.T, a *model.Architecture, seed uint64, r *rand.Rand) *model.Model {
	t.Helper()
	m, err := model.Random(a, seed)
	require.NoError(t, err)
	for _, p := range m.Params {
		for c := range p.Mean {
			p.Mean[c], p.Var[c], p.W[c], p.B[c] = r.Float32()-0.5, 0.1+r.Float32(), 4*r.Float32()-2, r.Float32()-0.5
		}
	}
	return m
}

// randomLayers draws a small network of all kinds of layers.
func randomLayers(r *rand.Rand) *model.Architecture {
	for {
		a := &model.Architecture{Name: "layers", Input: model.Shape{C: 1 + r.IntN(3), H: 1 + r.IntN(4), W: 1 + r.IntN(4)}}
		if r.IntN(4) == 0 {
			n := model.Layer{Kind: model.Normalize}
			for range a.Input.C {
				n.Mean, n.Std = append(n.Mean, r.Float32()), append(n.Std, 0.05+r.Float32())
			}
			a.Layers = append(a.Layers, n)
		}
		for range 2 + r.IntN(5) {
			old := len(a.Layers)
			if r.IntN(3) > 0 {
				a.Layers = append(a.Layers, randomLayer(r, a))
			} else {
				randomBlock(r, a)
			}
			if _, err := a.Shapes(); err != nil {
				a.Layers = a.Layers[:old]
			}
		}
		if r.IntN(2) == 0 {
			a.Layers = append(a.Layers, fc(2+r.IntN(3)))
		}
		s, err := a.Shapes()
		if err != nil || len(a.Layers) < 2 {
			continue
		}
		ok := a.Classes() > 1 && a.Classes() < 30
		for _, s := range s {
			ok = ok && s.Size() < 80
		}
		if ok {
			return a
		}
	}
}

// randomBlock appends a branch from the last layer, and joins it with that.
func randomBlock(r *rand.Rand, a *model.Architecture) {
	at := len(a.Layers) - 1
	for range 1 + r.IntN(3) {
		a.Layers = append(a.Layers, randomLayer(r, a))
		if _, err := a.Shapes(); err != nil {
			a.Layers = a.Layers[:len(a.Layers)-1]
		}
	}
	end := len(a.Layers) - 1
	if r.IntN(3) == 0 && at >= 0 { // another way around
		a.Layers = append(a.Layers, from(at, randomLayer(r, a)))
		at = len(a.Layers) - 1
	}
	kind := model.Add
	if r.IntN(3) == 0 {
		kind = model.Concat
	}
	in := []int{at, end}
	if r.IntN(2) == 0 {
		in = []int{end, at}
	}
	a.Layers = append(a.Layers, model.Layer{Kind: kind, Inputs: in})
}

// randomLayer draws one that may fit to the last.
func randomLayer(r *rand.Rand, a *model.Architecture) model.Layer {
	in := a.Input
	if s, err := a.Shapes(); err == nil {
		in = s[len(s)-1]
	}
	k := 1 + r.IntN(3)
	window := func(l model.Layer) model.Layer {
		l.Kernel, l.Stride = [2]int{k, 1 + r.IntN(k)}, [2]int{1 + r.IntN(2), 1 + r.IntN(2)}
		l.Padding = [2]int{r.IntN(k), r.IntN(l.Kernel[1])}
		if r.IntN(3) == 0 { // of the same size
			l.Kernel, l.Stride, l.Padding = [2]int{3, 1}, [2]int{1, 1}, [2]int{1, 0}
		}
		return l
	}
	switch r.IntN(13) {
	case 0:
		return fc(1 + r.IntN(5))
	case 1, 2:
		return window(model.Layer{Kind: model.Conv, Out: 1 + r.IntN(4)})
	case 3:
		l := window(model.Layer{Kind: model.Conv, Out: in.C})
		if in.C > 1 {
			l.Groups = in.C
		}
		if r.IntN(2) == 0 {
			l.Dilation = [2]int{2, 1}
		}
		return l
	case 4:
		return grouped(2, window(model.Layer{Kind: model.Conv, Out: 2 * (1 + r.IntN(2))}))
	case 5:
		return batchNorm
	case 6:
		return window(model.Layer{Kind: model.MaxPool})
	case 7:
		return window(model.Layer{Kind: model.AvgPool, CountPadding: r.IntN(2) == 0})
	case 8:
		slope := []float32{float32(r.NormFloat64())}
		for len(slope) < in.C && r.IntN(5) > 0 {
			slope = append(slope, float32(r.NormFloat64()))
		}
		if len(slope) != in.C {
			slope = slope[:1]
		}
		return leaky(slope...)
	case 9:
		return model.Layer{Kind: model.Clip, Min: -r.Float32(), Max: 0.01 + r.Float32()}
	case 10:
		return sigmoid
	case 11:
		return tanh
	}
	return relu
}

// newLayersIBP compiles a model; nil where the network has a layer that no pass
// computes.
func newLayersIBP(t *testing.T, m *model.Model, pool *kernels.Pool, o net.Options) *IBP {
	t.Helper()
	n, err := net.Compile(m, o)
	if err != nil {
		require.ErrorContains(t, err, "dilation")
		return nil
	}
	v, err := NewIBP(n, pool)
	require.NoError(t, err)
	return v
}

// breaks looks for a point of the ball that breaks the bounds of any node or margin:
// corners, edges and points inside, in float32 and exactly.
func breaks(t *testing.T, v bounder, ball net.Ball, x []float32, y int, r *rand.Rand, points int) (bad string, finite int) {
	t.Helper()
	bounds, margins, err := v.Bounds(ball, x, y)
	require.NoError(t, err)
	lo, hi := make([]float32, len(x)), make([]float32, len(x))
	ball.Box().Inner(lo, hi, x)
	e := newEvaluator(v.compiled(), r)
	nodes := v.compiled().Nodes()
	p := make([]float32, len(x))
	order := func(m model.Shape, k int) int { return k%(m.H*m.W)*m.C + k/(m.H*m.W) } // of element k, channels first
	for point := range points {
		for k := range p {
			switch {
			case point%4 == 0 || point%4 == 1 && r.IntN(2) == 0:
				p[k] = lo[k] + (hi[k]-lo[k])*r.Float32()
			case r.IntN(2) == 0:
				p[k] = lo[k]
			default:
				p[k] = hi[k]
			}
		}
		shrinkInto(ball, x, p)
		if !ball.Contains(x, p) {
			continue
		}
		wide := make([]*big.Float, len(p))
		for k, v := range p {
			wide[k] = number(float64(v))
		}
		values, out := e.float32s(p)
		real, realOut := e.exacts(wide)
		for i, b := range bounds {
			for k, l := range b.Lower {
				h, at := b.Upper[k], order(nodes[i].Shape, k)
				if l-l != 0 || h-h != 0 {
					continue
				}
				finite++
				if z := values[i][at]; !(z >= l && z <= h) {
					return fmt.Sprintf("float32: %s output %d: %v outside [%v, %v]", nodes[i].Name, k, z, l, h), finite
				}
				if z := real[i][at]; z.Cmp(number(float64(l))) < 0 || z.Cmp(number(float64(h))) > 0 {
					return fmt.Sprintf("exact: %s output %d: %v outside [%v, %v]", nodes[i].Name, k, z, l, h), finite
				}
			}
		}
		for j, low := range margins {
			if j == y || math.IsInf(float64(low), 0) {
				continue
			}
			finite++
			m := v.compiled().Output()
			zy, zj := float64(out[order(m, y)]), float64(out[order(m, j)])
			if !(zy-zj >= float64(low)) {
				return fmt.Sprintf("float32: margin to %d is %v, bound %v", j, zy-zj, low), finite
			}
			d := number(0).Sub(realOut[order(m, y)], realOut[order(m, j)])
			if d.Cmp(number(float64(low))) < 0 {
				return fmt.Sprintf("exact: margin to %d is %v, bound %v", j, d, low), finite
			}
		}
	}
	return "", finite
}

// trials is a number of them that EPSBALL_TRIALS may set.
func trials(t *testing.T, few int) int {
	t.Helper()
	s := os.Getenv("EPSBALL_TRIALS")
	if s == "" {
		if testing.Short() {
			return few / 5
		}
		return few
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// TestLayersSound compares bounds of networks of every layer with exact evaluation and
// with executions in float32, of hostile weights too.
func TestLayersSound(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	rounds, finite := trials(t, 2000)/20, 0
	for _, a := range layerArchitectures() {
		t.Run(a.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 7))
			for round := range rounds {
				m := newLayers(t, a, uint64(round), r)
				if round%2 == 1 {
					cruel(m, r)
				}
				v := newLayersIBP(t, m, pool, net.Options{Batches: net.Batches(r.IntN(3))})
				if v == nil {
					return
				}
				ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}
				x := randomImage(a.Input.Size(), r)
				bad, n := breaks(t, v, ball, x, r.IntN(a.Classes()), r, 6)
				require.Empty(t, bad, "round %d, %v", round, ball)
				finite += n
			}
		})
	}
	require.Greater(t, finite, 100*rounds)
}

// TestRandomLayers: the same for any wiring.
func TestRandomLayers(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(5, 6))
	isas := kernels.Available()
	finite, rounds := 0, trials(t, 1000)
	for round := range rounds {
		a := randomLayers(r)
		m := newLayers(t, a, uint64(round), r)
		if round%2 == 1 {
			cruel(m, r)
		}
		o := net.Options{ISA: isas[r.IntN(len(isas))].Name(), Batches: net.Batches(r.IntN(3))}
		v := newLayersIBP(t, m, pool, o)
		if v == nil {
			continue
		}
		ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}
		bad, n := breaks(t, v, ball, randomImage(a.Input.Size(), r), r.IntN(a.Classes()), r, 6)
		require.Empty(t, bad, "%s, %v, %+v", a.CanonicalJSON(), ball, o)
		finite += n
	}
	t.Logf("%d finite bounds", finite)
	require.Greater(t, finite, 100*rounds)
}

// TestLayersBits: margins, radii and bounds are the same bits on lanes and on single
// images, for every kernel set.
func TestLayersBits(t *testing.T) {
	const most = net.MaxSmall + 3
	r := rand.New(rand.NewPCG(4, 4))
	for _, a := range layerArchitectures() {
		m := newLayers(t, a, 6, r)
		size := a.Input.Size()
		x, y := randomImage(most*size, r), make([]int, most)
		for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
			var want *outcome
			for _, isa := range kernels.Available() {
				for _, batches := range []net.Batches{net.LargeBatches, net.SmallBatches} {
					pool := kernels.NewPool(2)
					v := newLayersIBP(t, m, pool, net.Options{ISA: isa.Name(), Batches: batches})
					for _, count := range []int{1, most} {
						have := outcomeOf(t, v, norm, Batch{x[:count*size], y[:count]})
						if want == nil {
							want = outcomeOf(t, v, norm, Batch{x, y})
						}
						require.Equal(t, want.margins[:count], have.margins, a.Name)
						require.Equal(t, want.steps[:count], have.steps)
						require.Equal(t, want.bounds, have.bounds)
						require.Equal(t, want.lows, have.lows)
					}
					pool.Close()
				}
			}
		}
	}
}

func TestLayersDoNotAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	for _, a := range layerArchitectures()[:4] {
		certifyDoesNotAllocate(t, newLayers(t, a, 1, r))
	}
}

// TestLayersFailClosed: what overflows is not certified, whatever comes behind.
func TestLayersFailClosed(t *testing.T) {
	ctx, pool := context.Background(), kernels.NewPool(1)
	defer pool.Close()
	for _, l := range []model.Layer{relu, clip, sigmoid, tanh, leaky(0.1), leaky(-0.1), batchNorm, pool2(model.MaxPool), pool2(model.AvgPool)} {
		a := &model.Architecture{Input: model.Shape{C: 1, H: 2, W: 2}, Layers: []model.Layer{conv(2, 1, 1, 0), conv(2, 1, 1, 0), l, fc(2)}}
		if l.Kind == model.ReLU { // alone, behind a pool
			a.Layers = []model.Layer{conv(2, 1, 1, 0), conv(2, 1, 1, 0), pool2(model.MaxPool), l, fc(2)}
		}
		for _, scale := range []float32{1e20, float32(math.NaN()), float32(math.Inf(1))} {
			m, err := model.Random(a, 3)
			require.NoError(t, err)
			for _, p := range m.Params[:2] {
				for k := range p.W {
					p.W[k] = scale
				}
			}
			if scale-scale != 0 {
				require.Error(t, m.Validate(), "or networks need a test of their own")
				continue
			}
			v := newLayersIBP(t, m, pool, net.Options{})
			for _, n := range []int{1, 20} {
				for y := range 2 {
					labels := make([]int, n)
					for i := range labels {
						labels[i] = y
					}
					var res Result
					x := make([]float32, 4*n)
					for i := range x {
						x[i] = 0.5
					}
					require.NoError(t, v.Certify(ctx, net.Ball{Eps: net.MustEpsilon("0.1")}, Batch{x, labels}, &res))
					_, certified := res.Count()
					require.Zero(t, certified, l.Kind)
				}
			}
		}
	}
}

func pool2(kind model.Kind) model.Layer { return pool(kind, 2, 1, 0) }

// TestLayerFaults: without an error term some bound of a network breaks that has the
// layer in question, or the trials above would show nothing about it.
func TestLayerFaults(t *testing.T) {
	defer func() { removed = noTerm }()
	alternating := func(m *model.Model) { // sums that cancel
		for k := range m.Params[0].W {
			m.Params[0].W[k] = m.Params[0].W[k]*0x1p-10 + float32(1-2*(k%2))
		}
		clear(m.Params[0].B)
	}
	for _, c := range []struct {
		name   string
		term   errorTerm
		in     model.Shape
		layers []model.Layer
		set    func(m *model.Model)
		pixel  func(k int) float32 // nil: random
	}{
		{"sigmoid", termSmooth, model.Shape{C: 1, H: 1, W: 2}, []model.Layer{fc(2), sigmoid}, nil, nil},
		{"tanh", termSmooth, model.Shape{C: 1, H: 1, W: 2}, []model.Layer{fc(2), tanh}, nil, nil},
		{"depthwise", termCentre, model.Shape{C: 2, H: 6, W: 6}, []model.Layer{grouped(2, conv(2, 6, 1, 0))}, alternating, nil},
		{"grouped", termCentre, model.Shape{C: 4, H: 5, W: 5}, []model.Layer{grouped(2, conv(4, 5, 1, 0))}, alternating, nil},
		// One pixel swallows the others.
		{"mean", termCentre, model.Shape{C: 2, H: 10, W: 10}, []model.Layer{pool(model.AvgPool, 10, 1, 0)}, nil, func(k int) float32 {
			if k%100 == 0 {
				return 1
			}
			return 0.9 * 0x1p-24
		}},
		// A batchnorm swallows the products that it is added to.
		{"sum", termWholeSum, model.Shape{C: 2, H: 12, W: 12}, []model.Layer{relu, batchNorm, from(-1, relu), grouped(2, conv(2, 11, 1, 5)), add(1, 3)}, func(m *model.Model) {
			for k := range m.Params[3].W {
				m.Params[3].W[k] = 0.45
			}
			clear(m.Params[3].B)
			m.Params[1] = model.Param{W: []float32{1.1 * 0x1p24, 1.1 * 0x1p24}, B: []float32{0, 0}, Mean: []float32{0, 0}, Var: []float32{1, 1}}
		}, func(int) float32 { return 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := kernels.NewPool(1)
			defer pool.Close()
			a := &model.Architecture{Name: c.name, Input: c.in, Layers: c.layers}
			try := func(term errorTerm) string {
				removed = term
				r := rand.New(rand.NewPCG(1, 3))
				for round := range 8 {
					m := newLayers(t, a, uint64(round), r)
					if c.set != nil {
						c.set(m)
					}
					v := newLayersIBP(t, m, pool, net.Options{})
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

// TestTermsOfLayers: what an add takes in one sum (step 6).
func TestTermsOfLayers(t *testing.T) {
	in := model.Shape{C: 2, H: 4, W: 4}
	for _, c := range []struct {
		layers []model.Layer
		want   []int // of each node
	}{
		// A batchnorm and a depthwise conv that a Sum alone reads: 2 and 10 terms.
		{[]model.Layer{batchNorm, from(-1, grouped(2, conv(2, 3, 1, 1))), add(0, 1)}, []int{12, 12, 12}},
		// The ReLU in between rounds: one term of the Sum.
		{[]model.Layer{batchNorm, relu, from(-1, grouped(2, conv(2, 3, 1, 1))), add(1, 2)}, []int{2, 11, 11}},
		// A dense conv takes the add in, with the mean's 9 + 1.
		{[]model.Layer{pool(model.AvgPool, 3, 1, 1), from(-1, conv(2, 1, 1, 0)), add(0, 1)}, []int{13, 13}},
		// Maxima and concats add nothing up.
		{[]model.Layer{pool(model.MaxPool, 3, 1, 1), from(-1, tanh), add(0, 1), {Kind: model.Concat, Inputs: []int{2, 1}}}, []int{0, 0, 2, 0}},
		// A Sum that another reads alone, and one that two read.
		{[]model.Layer{tanh, add(-1, 0), add(0, 1)}, []int{0, 3, 3}},
		{[]model.Layer{tanh, add(-1, 0), add(1, 1)}, []int{0, 2, 2}},
	} {
		m, err := model.Random(&model.Architecture{Input: in, Layers: c.layers}, 1)
		require.NoError(t, err)
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		require.Equal(t, c.want, sumTerms(n.Nodes()), string(m.Arch.CanonicalJSON()))
	}
}
