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
	v, err := NewCROWN(compiled, kernels.NewPool(1), Config{Method: MethodAlphaCROWN, Ladder: true, Iterations: 3})
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
	stopped := 0
	for looks := range int64(150) {
		ctx := &endsAfter{Context: context.Background()}
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
		ctx.left.Store(looks)
		var radius RadiusResult
		_ = v.Radius(ctx, net.Linf, step, most, b, &radius)
		for i, done := range radius.Done {
			if done {
				require.Equal(t, wantRadius.Steps[i], radius.Steps[i], "looks %d, image %d", looks, i)
			}
		}
	}
	require.Positive(t, stopped)
}
