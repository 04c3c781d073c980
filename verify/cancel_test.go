package verify

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// endsAfter is a context that ends at the n-th look at it.
type endsAfter struct {
	context.Context
	left atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestCancelledIsNotDone: wherever a run is stopped, what it calls done is what a
// whole run finds, on every rung of the ladder.
func TestCancelledIsNotDone(t *testing.T) {
	a := architectures()[0]
	m, err := model.Random(a, 3)
	require.NoError(t, err)
	compiled, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	const n = 40
	b := Batch{X: make([]float32, n*a.Input.Size()), Y: make([]int, n)}
	random := kernels.NewStream(1, 0, 0)
	for i := range b.X {
		b.X[i] = random.Float32()
	}
	logits := make([]float32, n*a.Classes())
	require.NoError(t, compiled.NewRunner(kernels.NewPool(1)).Logits(context.Background(), logits, b.X, n))
	for i := range b.Y {
		b.Y[i] = net.Argmax(logits[i*a.Classes() : (i+1)*a.Classes()])
	}
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.03")}
	step, most := net.MustEpsilon("0.002"), net.MustEpsilon("0.1")
	v, err := newProver(compiled, kernels.NewPool(1), Options{Method: MethodAlphaCROWN, Ladder: true, Iterations: 3})
	require.NoError(t, err)
	var want Result
	var wantRadius RadiusResult
	require.NoError(t, v.Certify(context.Background(), ball, b, &want))
	require.NoError(t, v.Radius(context.Background(), net.Linf, step, most, b, &wantRadius))
	rungs := map[Method]bool{}
	for _, m := range want.Method {
		rungs[m] = true
	}
	require.Greater(t, len(rungs), 1)
	// looks counts those of a whole run.
	looks := func(run func(ctx context.Context) error) int64 {
		const many = 1 << 40
		ctx := &endsAfter{Context: context.Background()}
		ctx.left.Store(many)
		require.NoError(t, run(ctx))
		return many - ctx.left.Load()
	}
	const points = 150
	var scratch Result
	ofCertify := looks(func(ctx context.Context) error { return v.Certify(ctx, ball, b, &scratch) })
	ofRadius := looks(func(ctx context.Context) error { return v.Radius(ctx, net.Linf, step, most, b, &RadiusResult{}) })
	require.Greater(t, ofRadius, int64(60*n), "an image is given up between rungs alone")
	stopped := 0
	for p := range int64(points) {
		ctx := &endsAfter{Context: context.Background()}
		looks := ofCertify * p / points
		ctx.left.Store(looks)
		var res Result
		if v.Certify(ctx, ball, b, &res) != nil {
			stopped++
		}
		for i, done := range res.Done {
			if done {
				require.Equal(t, want.Certified[i], res.Certified[i], "looks %d, image %d", looks, i)
				require.Equal(t, want.Method[i], res.Method[i], "looks %d, image %d", looks, i)
			}
		}
		looks = ofRadius * p / points
		ctx.left.Store(looks)
		var radius RadiusResult
		_ = v.Radius(ctx, net.Linf, step, most, b, &radius)
		for i, done := range radius.Done {
			if done {
				require.Equal(t, wantRadius.Steps[i], radius.Steps[i], "looks %d, image %d", looks, i)
			}
		}
	}
	require.Equal(t, points, stopped)
}

// TestCertifyRung: the rungs one by one are the ladder, and one that is stopped
// proves nothing.
func TestCertifyRung(t *testing.T) {
	a := architectures()[0]
	m, err := model.Random(a, 3)
	require.NoError(t, err)
	compiled, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	v, err := newProver(compiled, kernels.NewPool(1), Options{Method: MethodAlphaCROWN, Ladder: true, Iterations: 3})
	require.NoError(t, err)
	const n = 20
	b := Batch{X: make([]float32, n*a.Input.Size()), Y: make([]int, n)}
	random := kernels.NewStream(1, 0, 0)
	for i := range b.X {
		b.X[i] = random.Float32()
	}
	ctx := context.Background()
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.03")}
	var want, got, part Result
	require.NoError(t, v.Certify(ctx, ball, b, &want))
	certified := make([]bool, n)
	for rung := MethodIBP; rung <= MethodAlphaCROWN; rung++ {
		require.NoError(t, v.CertifyRung(ctx, rung, ball, b, &got))
		for i := range n {
			require.True(t, got.Done[i])
			require.Equal(t, got.Margin[i] > 0, got.Certified[i])
			if want.Certified[i] && want.Method[i] == rung {
				require.Equal(t, want.Margin[i], got.Margin[i])
			}
			certified[i] = certified[i] || got.Certified[i]
		}
		for looks := range int64(60) {
			ctx := &endsAfter{Context: context.Background()}
			ctx.left.Store(looks)
			err := v.CertifyRung(ctx, rung, ball, b, &part)
			for i, done := range part.Done {
				require.True(t, done || !part.Certified[i])
				require.False(t, done && part.Certified[i] != got.Certified[i], "rung %v", rung)
				require.True(t, done || err != nil)
			}
		}
	}
	require.Equal(t, want.Certified, certified)
	require.ErrorContains(t, v.CertifyRung(ctx, MethodAlphaCROWN+1, ball, b, &got), "method")
}
