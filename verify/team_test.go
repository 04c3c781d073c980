package verify

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// found is all that a verifier says of one region.
type found struct {
	Margin    float32
	Low       []float32
	Intervals []Interval
	Proof     *Proof
	Radius    RadiusResult
	Rows      []float32
	Domain    []Interval
	Slopes    [][][]float32
}

func findAll(t *testing.T, v *Verifier, o Options, ball net.Ball, x []float32) (f found) {
	t.Helper()
	ctx, b := context.Background(), Batch{x, []int{1}}
	var res Result
	require.NoError(t, v.Certify(ctx, o, ball, b, &res))
	f.Margin = res.Margin[0]
	var err error
	f.Intervals, f.Low, err = v.Bounds(ctx, o, Around(ball, x), 1)
	require.NoError(t, err)
	f.Proof, err = v.Prove(ctx, o, Around(ball, x), 1)
	require.NoError(t, err)
	require.NoError(t, v.Radius(ctx, o, ball.Norm, net.MustEpsilon("0.004"), net.MustEpsilon("0.03"), b, &f.Radius))
	d, err := v.Root(Around(ball, x), LabelProperty(v.outputs, 1))
	require.NoError(t, err)
	require.NoError(t, v.BoundDomains(ctx, o, 0, d))
	f.Rows = d.Rows()
	for i := range v.net.Nodes() {
		f.Domain, f.Slopes = append(f.Domain, d.Interval(i)), append(f.Slopes, d.Slopes(i))
	}
	return f
}

// TestTeam: the workers that bound one region together find the bits that one alone finds,
// whatever there are of them, and know their own regions again afterwards.
func TestTeam(t *testing.T) {
	archs := deeper()
	archs = append([]*model.Architecture{archs[5], archs[11], manyClasses()}, layerArchitectures()...)
	together := 0
	for _, a := range archs {
		m := newLayers(t, a, 8, rand.New(rand.NewPCG(4, 4)))
		x := randomImage(a.Input.Size(), rand.New(rand.NewPCG(2, 2)))
		if a.Name == "many" {
			nearlyProve(t, m, x)
		}
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		other := randomImage(2*a.Input.Size(), rand.New(rand.NewPCG(3, 3)))
		for k := range a.Input.Size() { // a dark one, so that other neurons are inactive
			other[k] *= 0.05
		}
		for method := MethodCROWNIBP; method <= MethodAlphaCROWN; method++ {
			ball := net.Ball{Norm: net.Norm(int(method) % 3), Eps: net.MustEpsilon("0.02")}
			for _, o := range []Options{{Method: method, Iterations: 2}, {Method: method, Iterations: 2, Ladder: true}} {
				var want found
				var others []float32
				for workers := 1; workers <= 4; workers++ {
					pool := kernels.NewPool(workers)
					v, err := New(n, pool)
					require.NoError(t, err)
					have := findAll(t, v, o, ball, x)
					var res Result
					require.NoError(t, v.Certify(context.Background(), o, ball, Batch{other, []int{0, 1}}, &res))
					if workers == 1 {
						want, others = have, res.Margin
						require.Nil(t, v.together)
					}
					require.Equal(t, want, have, "%s %v, %d workers", a.Name, method, workers)
					require.Equal(t, others, res.Margin, "%s %v, %d workers", a.Name, method, workers)
					if workers > 1 && len(v.together.parts) > 2 {
						together++
					}
					pool.Close()
				}
			}
		}
	}
	require.Greater(t, together, len(archs), "hardly any work was divided")
}

// nearlyProve raises the output of label 1 until CROWN proves nearly all of its rows, so that
// optimised ones end at different steps.
func nearlyProve(t *testing.T, m *model.Model, x []float32) {
	t.Helper()
	_, low, err := newCROWN(t, m, 1, Options{Method: MethodCROWN}).Bounds(net.Ball{Eps: net.MustEpsilon("0.02")}, x, 1)
	require.NoError(t, err)
	m.Params[len(m.Params)-1].B[1] -= smallest(low) + 1e-3
}

// manyClasses has more rows than go backward at once, and neurons that are inactive on whole
// maps.
func manyClasses() *model.Architecture {
	return &model.Architecture{Name: "many", Input: model.Shape{C: 1, H: 5, W: 5}, Layers: []model.Layer{
		conv(16, 3, 1, 1), relu, fc(20), relu, fc(150),
	}}
}

// TestTeamGivesUp: a context that ends while several workers bound a region leaves nothing
// half done.
func TestTeamGivesUp(t *testing.T) {
	a := deeper()[11]
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	pool := kernels.NewPool(3)
	defer pool.Close()
	v, err := New(n, pool)
	require.NoError(t, err)
	x := randomImage(a.Input.Size(), rand.New(rand.NewPCG(1, 1)))
	ball, o := net.Ball{Eps: net.MustEpsilon("0.02")}, Options{Method: MethodAlphaCROWN, Iterations: 2}
	var want, res Result
	require.NoError(t, v.Certify(context.Background(), o, ball, Batch{x, []int{1}}, &want))
	stopped := 0
	for looks := range int64(400) {
		ctx := &endsAfter{Context: context.Background()}
		ctx.left.Store(looks)
		err := v.Certify(ctx, o, ball, Batch{x, []int{1}}, &res)
		if err == nil {
			require.True(t, res.Done[0])
		} else {
			require.ErrorIs(t, err, context.Canceled)
			stopped++
		}
		if res.Done[0] {
			require.Equal(t, want.Margin, res.Margin)
		}
	}
	require.Greater(t, stopped, 20)
	require.NoError(t, v.Certify(context.Background(), o, ball, Batch{x, []int{1}}, &res))
	require.Equal(t, want.Margin, res.Margin)
}

// TestTeamForgets: a worker that helps does not take neurons for inactive that were so for an
// image of its own before.
func TestTeamForgets(t *testing.T) {
	a := &model.Architecture{Name: "dark", Input: model.Shape{C: 1, H: 4, W: 4}, Layers: []model.Layer{fc(256), relu, fc(512), relu, fc(40)}}
	m := newLayers(t, a, 8, rand.New(rand.NewPCG(4, 4)))
	for k := range m.Params[0].W { // each neuron of the first layer sees the left or the right half
		if left := k%4 < 2; left == (k/16%2 == 0) {
			m.Params[0].W[k] = float32(1+k%7) / 8
		} else {
			m.Params[0].W[k] = 0
		}
	}
	for k := range m.Params[0].B {
		m.Params[0].B[k] = -0.5
	}
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	half := func(left bool) []float32 {
		x := make([]float32, 16)
		for k := range x {
			if (k%4 < 2) == left {
				x[k] = 0.9
			}
		}
		return x
	}
	ball, o := net.Ball{Eps: net.MustEpsilon("0.02")}, Options{Method: MethodCROWN}
	var want, res Result
	for workers := 1; workers <= 4; workers++ {
		pool := kernels.NewPool(workers)
		v, err := New(n, pool)
		require.NoError(t, err)
		for k := range 12 {
			left := k%2 == 0
			own := half(!left) // of each worker
			for range 2 * workers {
				own = append(own, half(!left)...)
			}
			require.NoError(t, v.Certify(context.Background(), o, ball, Batch{own, make([]int, 2*workers+1)}, &res))
			require.NoError(t, v.Certify(context.Background(), o, ball, Batch{half(left), []int{1}}, &res))
			if workers == 1 {
				if left {
					want.Margin = append(want.Margin[:0], res.Margin[0])
				}
				continue
			}
			if left {
				require.Equal(t, want.Margin[0], res.Margin[0], "%d workers", workers)
			}
		}
		pool.Close()
	}
}
