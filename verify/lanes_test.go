package verify

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// sharedLanes reports whether images have gone together.
func sharedLanes(v *Verifier) bool {
	for _, w := range v.workers {
		if w.lanes != nil {
			return true
		}
	}
	return false
}

// requireAlone requires that a batch has the results of its images alone.
func requireAlone(t *testing.T, n *net.Network, o Options, ball net.Ball, b Batch) {
	t.Helper()
	ctx, size := context.Background(), n.Input().Size()
	alone, err := New(n, kernels.NewPool(1))
	require.NoError(t, err)
	var want Result
	want.resize(len(b.Y))
	for i, y := range b.Y {
		var one Result
		require.NoError(t, alone.Certify(ctx, o, ball, Batch{b.X[i*size : (i+1)*size], []int{y}}, &one))
		want.Margin[i], want.Certified[i], want.Method[i], want.Done[i] = one.Margin[0], one.Certified[0], one.Method[0], one.Done[0]
	}
	require.False(t, sharedLanes(alone))
	for workers := 1; workers <= 3; workers++ {
		pool := kernels.NewPool(workers)
		v, err := New(n, pool)
		require.NoError(t, err)
		var have Result
		for range 2 {
			require.NoError(t, v.Certify(ctx, o, ball, b, &have))
			require.Equal(t, want, have, "%d workers", workers)
		}
		if workers == 1 {
			require.True(t, sharedLanes(v))
			require.Zero(t, testing.AllocsPerRun(2, func() { err = v.Certify(ctx, o, ball, b, &have) }))
			require.NoError(t, err)
		}
		pool.Close()
	}
}

// TestLanes: images that share lanes have the bits of images alone, in networks of all shapes
// and with weights that are hard on rounding.
func TestLanes(t *testing.T) {
	const images = 21 // two blocks, and most of one
	r := rand.New(rand.NewPCG(5, 1))
	for k, a := range deeper() {
		if a.Name == "ends-in-relu" || a.Name == "ends-in-map" {
			continue // images go alone: rows end behind a ReLU, or seven fill lanes well
		}
		for seed := range uint64(testsize.Of(3, 1)) {
			m, err := model.Random(a, seed)
			require.NoError(t, err)
			if seed > 0 {
				twist(m, r)
			}
			n, err := net.Compile(m, net.Options{})
			require.NoError(t, err)
			b := Batch{randomImage(images*a.Input.Size(), r), make([]int, images)}
			for i := range b.Y {
				b.Y[i] = r.IntN(a.Classes())
			}
			o := Options{Method: MethodCROWNIBP, Ladder: seed == 1}
			if k%2 == 0 && seed == 2 {
				o = Options{Method: MethodAlphaCROWN, Ladder: true, Iterations: 2}
			}
			t.Run(a.Name, func(t *testing.T) {
				requireAlone(t, n, o, net.Ball{Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}, b)
			})
		}
	}
}

// TestLanesOfDigits is TestLanes with trained networks, one of which has rows that are sparse.
func TestLanesOfDigits(t *testing.T) {
	if testsize.Small() {
		t.Skip("takes minutes without vector kernels; TestLanes has small networks")
	}
	test, err := mnist.Test()
	require.NoError(t, err)
	digits := test.Slice(0, 12)
	for _, c := range []struct{ model, eps string }{{"mnist-small-standard", "0.02"}, {"mnist-small-ibp-0.1", "0.1"}} {
		m, err := zoo.Load(c.model)
		require.NoError(t, err)
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		requireAlone(t, n, Options{Method: MethodCROWNIBP}, net.Ball{Eps: net.MustEpsilon(c.eps)}, Batch{digits.X, digits.Y})
	}
}

// TestLanesOfRungs: CertifyRungs finds what CertifyRung does.
func TestLanesOfRungs(t *testing.T) {
	a, ctx := deeper()[5], context.Background()
	m, err := model.Random(a, 2)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(5, 3))
	b := Batch{randomImage(9*a.Input.Size(), r), make([]int, 9)}
	for i := range b.Y {
		b.Y[i] = r.IntN(a.Classes())
	}
	together, alone := newCROWN(t, m, 1, Options{}).Verifier, newCROWN(t, m, 1, Options{}).Verifier
	for method := MethodIBP; method <= MethodAlphaCROWN; method++ {
		for norm := range 3 {
			o, ball := Options{Method: method, Iterations: 2, Ladder: norm == 0}, net.Ball{Norm: net.Norm(norm), Eps: net.MustEpsilon("0.02")}
			var want, have Result
			require.NoError(t, alone.CertifyRung(ctx, o, ball, b, &want))
			require.NoError(t, together.CertifyRungs(ctx, o, ball, b, &have))
			require.Equal(t, want, have, "%v %v", method, ball)
		}
	}
	require.True(t, sharedLanes(together))
	require.False(t, sharedLanes(alone))
}

// TestLanesOfProperties: rows of a property go like those of labels, over regions like balls.
func TestLanesOfProperties(t *testing.T) {
	ctx := context.Background()
	a := deeper()[0]
	m, err := model.Random(a, 4)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(5, 2))
	var regions []Region
	for range 19 {
		lo, hi := randomImage(a.Input.Size(), r), randomImage(a.Input.Size(), r)
		for k := range lo {
			lo[k], hi[k] = min(lo[k], hi[k]), max(lo[k], hi[k])
		}
		regions = append(regions, Region{Lo: lo, Hi: hi})
	}
	p := &Property{C: randomImage(3*a.Classes(), r), D: randomImage(3, r)}
	o := Options{Method: MethodCROWNIBP, Property: p}
	together, alone := newCROWN(t, m, 1, o).Verifier, newCROWN(t, m, 1, o).Verifier
	var all, one Result
	require.NoError(t, together.CertifyRegions(ctx, o, regions, nil, &all))
	require.True(t, sharedLanes(together))
	for i := range regions {
		require.NoError(t, alone.CertifyRegions(ctx, o, regions[i:i+1], nil, &one))
		require.Equal(t, one.Margin[0], all.Margin[i])
	}
	require.False(t, sharedLanes(alone))
	require.Greater(t, together.Bytes(), alone.Bytes())
}
