package verify

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

func conv(out, k, s, p int) model.Layer {
	return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
}

func fc(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }

// from is l with its input.
func from(k int, l model.Layer) model.Layer {
	l.Inputs = []int{k}
	return l
}

func add(p, q int) model.Layer { return model.Layer{Kind: model.Add, Inputs: []int{p, q}} }

var relu = model.Layer{Kind: model.ReLU}

func architectures() []*model.Architecture {
	norm := model.Layer{Kind: model.Normalize, Mean: []float32{0.3, 0.5, 0.1}, Std: []float32{0.2, 0.7, 0.05}}
	return []*model.Architecture{
		{Name: "conv", Input: model.Shape{C: 1, H: 7, W: 7}, Layers: []model.Layer{conv(3, 3, 2, 0), relu, conv(5, 2, 1, 0), relu, fc(6), relu, fc(4)}},
		{Name: "norm", Input: model.Shape{C: 3, H: 5, W: 4}, Layers: []model.Layer{norm, conv(4, 3, 1, 1), relu, conv(3, 3, 2, 1), fc(3)}},
		{Name: "fc", Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{fc(9), relu, fc(7), relu, fc(5)}},
		{Name: "linear", Input: model.Shape{C: 2, H: 4, W: 5}, Layers: []model.Layer{fc(3)}},
		{Name: "linear-norm", Input: model.Shape{C: 3, H: 2, W: 3}, Layers: []model.Layer{norm, fc(3)}},
		{Name: "residual", Input: model.Shape{C: 3, H: 5, W: 5}, Layers: []model.Layer{
			norm, conv(3, 3, 1, 1), relu, conv(3, 3, 1, 1), add(3, 2), relu,
			conv(4, 3, 2, 1), relu, conv(4, 3, 1, 1), from(5, conv(4, 1, 2, 0)), add(9, 8), relu, fc(4),
		}},
		{Name: "input-added", Input: model.Shape{C: 3, H: 3, W: 3}, Layers: []model.Layer{
			norm, conv(3, 3, 1, 1), add(0, 1), relu, from(0, conv(3, 1, 1, 0)), add(3, 4), fc(5), relu, fc(3),
		}},
		{Name: "ends-in-relu", Input: model.Shape{C: 1, H: 4, W: 3}, Layers: []model.Layer{conv(3, 2, 1, 0), relu, fc(5), relu}},
		{Name: "ends-in-map", Input: model.Shape{C: 2, H: 4, W: 4}, Layers: []model.Layer{conv(3, 3, 1, 1), relu, conv(2, 2, 2, 0)}},
		{Name: "ends-in-add", Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{fc(6), relu, fc(6), add(1, 2)}},
		{Name: "ends-in-pixel", Input: model.Shape{C: 2, H: 3, W: 3}, Layers: []model.Layer{conv(3, 2, 1, 0), relu, conv(4, 2, 1, 0)}},
		{Name: "many", Input: model.Shape{C: 1, H: 2, W: 3}, Layers: []model.Layer{fc(8), relu, fc(maxMerged + 2)}},
	}
}

// twist makes weights hard on rounding: nearly equal rows, huge and small
// ones side by side, denormals, exact cancellation.
func twist(m *model.Model, r *rand.Rand) {
	kind := r.IntN(6)
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

type violation struct{ what string }

type bounder interface {
	Bounds(ball net.Ball, x []float32, y int) ([]Interval, []float32, error)
	compiled() *net.Network
}

// search looks for a point of the ball that breaks the bounds: random points,
// corners and edges, evaluated in float64, in float32 in shuffled orders, and by
// the kernels.
func search(t *testing.T, v bounder, m *model.Model, ball net.Ball, x []float32, y int, r *rand.Rand, points int) *violation {
	t.Helper()
	bounds, margins, err := v.Bounds(ball, x, y)
	require.NoError(t, err)
	lo, hi := make([]float32, len(x)), make([]float32, len(x))
	ball.Box().Inner(lo, hi, x)
	n := v.compiled()
	size, classes := len(x), n.Classes()
	ws := n.NewWorkspace(1, false)
	lanes, logits := make([]float32, size*kernels.Lanes), make([]float32, classes)
	p := make([]float32, size)
	for point := range points {
		mode := point % 4
		for k := range p {
			switch {
			case mode == 0 || mode == 1 && r.IntN(2) == 0:
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
		net.PackLanes(lanes, p, n.Input(), 1)
		net.LaneGroups.Gather(logits, ws.Forward(lanes, 1), 0)
		wide := make([]float64, classes)
		for j, z := range logits {
			wide[j] = float64(z)
		}
		for how, outs := range map[string][][]float64{
			"float64": plain.Float64(m, p), "float32": plain.Float32(m, p, nil),
			"float32 shuffled": plain.Float32(m, p, r), "kernels": {wide},
		} {
			if how != "kernels" {
				for i, b := range bounds {
					for k, z := range outs[i] {
						if z < float64(b.Lower[k]) || z > float64(b.Upper[k]) {
							return &violation{fmt.Sprintf("%s: layer %d output %d: %v outside [%v, %v]", how, i, k, z, b.Lower[k], b.Upper[k])}
						}
					}
				}
			}
			z := outs[len(outs)-1]
			for j := range z {
				if j != y && z[y]-z[j] < float64(margins[j]) {
					return &violation{fmt.Sprintf("%s: margin to %d is %v, bound %v", how, j, z[y]-z[j], margins[j])}
				}
			}
		}
	}
	return nil
}

// shrinkInto moves p towards the centre until an L2 or L1 ball holds it.
func shrinkInto(ball net.Ball, x, p []float32) {
	if ball.Norm == net.Linf {
		return
	}
	d := 0.0
	for k := range p {
		e := math.Abs(float64(p[k]) - float64(x[k]))
		if ball.Norm == net.L2 {
			e *= e
		}
		d += e
	}
	if ball.Norm == net.L2 {
		d = math.Sqrt(d)
	}
	if s := ball.Eps.Float64() / d * (1 - 1e-6); s < 1 {
		for k := range p {
			p[k] = x[k] + float32(s)*(p[k]-x[k])
		}
	}
}

func randomImage(size int, r *rand.Rand) []float32 {
	x := make([]float32, size)
	for i := range x {
		switch r.IntN(4) {
		case 0:
			x[i] = float32(r.IntN(2))
		case 1:
			x[i] = float32(r.IntN(256)) / 255
		default:
			x[i] = r.Float32()
		}
	}
	return x
}

var epsilons = []string{"0", "1e-6", "0.003", "8/255", "0.1", "1/3", "1"}

func newIBP(t *testing.T, m *model.Model, threads int) *prover {
	t.Helper()
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	pool := kernels.NewPool(threads)
	t.Cleanup(pool.Close)
	v, err := newIntervals(n, pool)
	require.NoError(t, err)
	return v
}

func TestSoundness(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for _, a := range architectures() {
		t.Run(a.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 7))
			for round := range rounds {
				m, err := model.Random(a, uint64(round))
				require.NoError(t, err)
				twist(m, r)
				v := newIBP(t, m, 1)
				x := randomImage(a.Input.Size(), r)
				ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}
				bad := search(t, v, m, ball, x, r.IntN(a.Classes()), r, 24)
				require.Nil(t, bad, "round %d, %v", round, ball)
			}
		})
	}
}

// TestPlantedUnsoundBound: the search above finds bounds that are a little too
// tight, or it would prove nothing.
func TestPlantedUnsoundBound(t *testing.T) {
	a := architectures()[3] // linear: corners reach the interval's ends
	r := rand.New(rand.NewPCG(8, 8))
	found := 0
	for round := range 40 {
		m, err := model.Random(a, uint64(round))
		require.NoError(t, err)
		// Large weights that cancel: rounding is most of the radius at ε = 0.
		for i := range m.Params[0].W {
			m.Params[0].W[i] = m.Params[0].W[i]*0x1p-10 + float32(1-2*(i%2))
		}
		v := newIBP(t, m, 1)
		x := randomImage(a.Input.Size(), r)
		ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0")}
		require.Nil(t, search(t, v, m, ball, x, 0, r, 8))
		v.intervals.margins.rounding.delta = 0 // forget the rounding
		v.intervals.margins.pairs.e = v.intervals.margins.pairs.small.PadBias(make([]float32, v.intervals.margins.rowCount()))
		if search(t, v, m, ball, x, 0, r, 8) != nil {
			found++
		}
	}
	require.Greater(t, found, 20, "of 40 planted bounds without rounding")
}

// TestTightness: without rounding to speak of, the bounds of a linear net are
// attained, so they are not sound by being useless.
func TestTightness(t *testing.T) {
	m, err := model.Random(architectures()[3], 1)
	require.NoError(t, err)
	v := newIBP(t, m, 1)
	x := randomImage(m.Arch.Input.Size(), rand.New(rand.NewPCG(1, 1)))
	_, margins, err := v.Bounds(net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.01")}, x, 0)
	require.NoError(t, err)
	p := make([]float64, len(x))
	w, size := m.Params[0].W, len(x)
	for k := range p { // the corner that is worst for class 0 against class 1
		lo, hi := math.Max(0, float64(x[k])-0.01), math.Min(1, float64(x[k])+0.01)
		p[k] = lo
		if w[k] < w[size+k] {
			p[k] = hi
		}
	}
	z := plain.Eval(m, p, nil)[0]
	require.InDelta(t, z[0]-z[1], float64(margins[1]), 1e-4)
}

func TestFailsClosed(t *testing.T) {
	a := architectures()[2]
	m, err := model.Random(a, 3)
	require.NoError(t, err)
	for i := range m.Params { // overflows in the second layer
		for k := range m.Params[i].W {
			m.Params[i].W[k] *= 1e25
		}
	}
	v := newIBP(t, m, 1)
	x := randomImage(9*20, rand.New(rand.NewPCG(1, 1)))
	var res Result
	for y := range 5 {
		labels := make([]int, 20)
		for i := range labels {
			labels[i] = y
		}
		for _, norm := range []net.Norm{net.Linf, net.L2} {
			require.NoError(t, v.Certify(context.Background(), net.Ball{Norm: norm, Eps: net.MustEpsilon("0.1")}, Batch{x, labels}, &res))
			done, certified := res.Count()
			require.Equal(t, 20, done)
			require.Zero(t, certified)
			require.True(t, math.IsInf(float64(res.Margin[0]), -1))
		}
	}
}

// TestBatches: bounds are the same bits for any batch, order and threads.
func TestBatches(t *testing.T) {
	a := architectures()[1]
	m, err := model.Random(a, 5)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(9, 9))
	const n = 61
	size := a.Input.Size()
	x, y := randomImage(n*size, r), make([]int, n)
	for i := range y {
		y[i] = r.IntN(3)
	}
	one := newIBP(t, m, 1)
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		ball := net.Ball{Norm: norm, Eps: net.MustEpsilon("0.01")}
		want := make([]float32, n)
		var res Result
		for i := range n {
			require.NoError(t, one.Certify(context.Background(), ball, Batch{x[i*size : (i+1)*size], y[i : i+1]}, &res))
			want[i] = res.Margin[0]
		}
		for threads := 1; threads <= 3; threads++ {
			v := newIBP(t, m, threads)
			for _, count := range []int{1, 2, 7, 8, 9, 24, 25, 48, n} {
				require.NoError(t, v.Certify(context.Background(), ball, Batch{x[:count*size], y[:count]}, &res))
				require.Equal(t, want[:count], res.Margin)
			}
			perm := r.Perm(n)
			px, py := make([]float32, 0, len(x)), make([]int, 0, n)
			for _, i := range perm {
				px, py = append(px, x[i*size:(i+1)*size]...), append(py, y[i])
			}
			require.NoError(t, v.Certify(context.Background(), ball, Batch{px, py}, &res))
			for k, i := range perm {
				require.Equal(t, want[i], res.Margin[k])
			}
		}
	}
}

// TestISAs: every kernel set gives the same bits.
func TestISAs(t *testing.T) {
	for _, a := range architectures() {
		m, err := model.Random(a, 5)
		require.NoError(t, err)
		x := randomImage(5*a.Input.Size(), rand.New(rand.NewPCG(2, 9)))
		var want []float32
		for _, isa := range kernels.Available() {
			n, err := net.Compile(m, net.Options{ISA: isa.Name()})
			require.NoError(t, err)
			pool := kernels.NewPool(1)
			v, err := newIntervals(n, pool)
			require.NoError(t, err)
			var res Result
			require.NoError(t, v.Certify(context.Background(), net.Ball{Eps: net.MustEpsilon("0.02")}, Batch{x, make([]int, 5)}, &res))
			if want == nil {
				want = append(want, res.Margin...)
			}
			require.Equal(t, want, res.Margin, isa.Name())
		}
	}
}

func TestRadius(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		for _, a := range architectures()[:12] {
			m, err := model.Random(a, 2)
			require.NoError(t, err)
			v := newIBP(t, m, 2)
			const n = 30
			x, y := randomImage(n*a.Input.Size(), r), make([]int, n)
			for i := range y {
				out := plain.Float64(m, x[i*a.Input.Size():(i+1)*a.Input.Size()])
				for j, z := range out[len(out)-1] {
					if z > out[len(out)-1][y[i]] {
						y[i] = j
					}
				}
			}
			y[0] = (y[0] + 1) % a.Classes() // misclassified: no radius
			resolution := net.MustEpsilon("1/2000")
			var res RadiusResult
			require.NoError(t, v.Radius(context.Background(), norm, resolution, net.MustEpsilon("0.4"), Batch{x, y}, &res))
			require.Equal(t, -1, res.Steps[0])
			var cert Result
			positive := 0
			for i, k := range res.Steps {
				require.True(t, res.Done[i])
				if k < 0 {
					continue
				}
				positive++
				b := Batch{x[i*a.Input.Size() : (i+1)*a.Input.Size()], y[i : i+1]}
				require.NoError(t, v.Certify(context.Background(), net.Ball{Norm: norm, Eps: resolution.Times(k)}, b, &cert))
				require.True(t, cert.Certified[0], "radius %d steps is not certified", k)
				if k < 800 {
					require.NoError(t, v.Certify(context.Background(), net.Ball{Norm: norm, Eps: resolution.Times(k + 1)}, b, &cert))
					require.False(t, cert.Certified[0], "radius %d steps is not the largest", k)
				}
				require.LessOrEqual(t, res.Radius[i], resolution.Times(k).Float64())
			}
			require.Greater(t, positive, n/2)
		}
	}
}

func TestBadInput(t *testing.T) {
	m, err := model.Random(architectures()[3], 1)
	require.NoError(t, err)
	v := newIBP(t, m, 1)
	ctx, x := context.Background(), make([]float32, 40)
	ok := net.Ball{Eps: net.MustEpsilon("0.1")}
	var res Result
	require.NoError(t, v.Certify(ctx, ok, Batch{x, []int{0}}, &res))
	for what, err := range map[string]error{
		"epsilon":  v.Certify(ctx, net.Ball{Eps: net.MustEpsilon("1.5")}, Batch{x, []int{0}}, &res),
		"image":    v.Certify(ctx, ok, Batch{x[:39], []int{0}}, &res),
		"label":    v.Certify(ctx, ok, Batch{x, []int{3}}, &res),
		"norm":     v.Certify(ctx, net.Ball{Norm: 9}, Batch{x, []int{0}}, &res),
		"largest":  v.Radius(ctx, net.Linf, net.MustEpsilon("0.1"), net.MustEpsilon("2"), Batch{x, []int{0}}, &RadiusResult{}),
		"> 0":      v.Radius(ctx, net.Linf, net.MustEpsilon("0"), net.MustEpsilon("1"), Batch{x, []int{0}}, &RadiusResult{}),
		"steps":    v.Radius(ctx, net.Linf, net.MustEpsilon("1e-12"), net.MustEpsilon("1"), Batch{x, []int{0}}, &RadiusResult{}),
		"pixel 3 ": v.Certify(ctx, ok, Batch{append([]float32{0, 0, 0, float32(math.NaN())}, x[4:]...), []int{0}}, &res),
	} {
		require.ErrorContains(t, err, what)
	}
	one, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 1, W: 1}, Layers: []model.Layer{fc(1)}}, 1)
	require.NoError(t, err)
	require.ErrorContains(t, newIBP(t, one, 1).Certify(ctx, ok, Batch{x[:1], []int{0}}, &res), "at least 2 classes", "a margin to no class is none")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, v.Certify(cancelled, ok, Batch{x, []int{0}}, &res), context.Canceled)
	require.False(t, res.Done[0])
	require.ErrorIs(t, v.Radius(cancelled, net.Linf, net.MustEpsilon("0.1"), net.MustEpsilon("1"), Batch{x, []int{0}}, &RadiusResult{}), context.Canceled)
}

func TestCertifyDoesNotAllocate(t *testing.T) {
	for _, i := range []int{0, 5, 6} {
		m, err := model.Random(architectures()[i], 1)
		require.NoError(t, err)
		certifyDoesNotAllocate(t, m)
	}
}

func certifyDoesNotAllocate(t *testing.T, m *model.Model) {
	for threads := 1; threads <= 2; threads++ {
		v := newIBP(t, m, threads)
		for _, n := range []int{60, 2} {
			x, y := make([]float32, n*m.Arch.Input.Size()), make([]int, n)
			var res Result
			ball := net.Ball{Eps: net.MustEpsilon("0.1")}
			ctx := context.Background()
			require.NoError(t, v.Certify(ctx, ball, Batch{x, y}, &res))
			require.Zero(t, testing.AllocsPerRun(20, func() { _ = v.Certify(ctx, ball, Batch{x, y}, &res) }))
		}
	}
}

// TestRefusedNetworks: no certificate for a network whose execution the proof
// does not cover.
func TestRefusedNetworks(t *testing.T) {
	m, err := model.Random(&model.Architecture{Name: "wide", Input: model.Shape{C: 16, H: 4, W: 4}, Layers: []model.Layer{conv(16, 3, 1, 1), relu, fc(3)}}, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Winograd: true})
	require.NoError(t, err)
	_, err = newIntervals(n, kernels.NewPool(1))
	require.ErrorContains(t, err, "Winograd")
}
