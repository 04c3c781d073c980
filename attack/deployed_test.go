package attack

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestLogits: those of a target that is no network, in any batch, and the same draw for an
// image wherever it stands.
func TestLogits(t *testing.T) {
	const n = 60
	ctx := context.Background()
	s := newSetup(t, tiny, 1, n, "")
	target := squeezed{Network: s.n, levels: 12}
	q := make([]float32, len(s.x))
	for k, v := range s.x {
		q[k] = target.squeeze(v)
	}
	want := s.logits(t, q, n)
	for threads := 1; threads <= 2; threads++ {
		pool := kernels.NewPool(threads)
		defer pool.Close()
		noisy := squeezed{Network: s.n, noise: 0.1}
		all := make([]float32, n*5)
		require.NoError(t, Logits(ctx, noisy, pool, all, Batch{X: s.x}))
		require.NotEqual(t, s.logits(t, s.x, n), all)
		for _, count := range []int{1, 3, 20, n} {
			z := make([]float32, count*5)
			for _, from := range []int{0, n - count} {
				require.NoError(t, Logits(ctx, target, pool, z, Batch{X: s.x[from*s.size : (from+count)*s.size]}))
				require.Equal(t, want[from*5:(from+count)*5], z)
				require.NoError(t, Logits(ctx, noisy, pool, z, Batch{X: s.x[from*s.size : (from+count)*s.size], First: from}))
				require.Equal(t, all[from*5:(from+count)*5], z)
			}
			require.NoError(t, Logits(ctx, s.n, pool, z, Batch{X: s.x[:count*s.size]}))
			require.Equal(t, s.logits(t, s.x, n)[:count*5], z)
		}
		z := make([]float32, 10)
		require.NoError(t, Logits(ctx, noisy, pool, z, Batch{X: s.x[3*s.size : 5*s.size], Index: []int{3, 4}}))
		require.Equal(t, all[15:25], z)
		require.ErrorContains(t, Logits(ctx, target, pool, make([]float32, 9), Batch{X: s.x[:s.size]}), "logits: 9 values")
		require.ErrorContains(t, Logits(ctx, target, pool, z, Batch{X: s.x}), "images")
		require.ErrorContains(t, Logits(ctx, target, pool, z, Batch{X: s.x[:2*s.size], Index: []int{1}}), "indices: 1")
		gone, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, Logits(gone, target, pool, all, Batch{X: s.x}), context.Canceled)
	}
}

// TestStubborn: a point that fools one draw of a random target does not end the attack on
// its image, unless the batch names targets; the best point is that of the lowest margin.
func TestStubborn(t *testing.T) {
	const n, steps, restarts = 20, 7, 2
	s := newSetup(t, tiny, 2, n, "")
	pool := kernels.NewPool(1)
	noisy := squeezed{Network: s.n, noise: 0.01}
	a, err := New(noisy, Config{Ball: ball(net.Linf, "0.3"), Method: PGD{Steps: steps, Restarts: restarts, Seed: 1}}, pool)
	require.NoError(t, err)
	var r, plain Result
	require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r))
	_, clean, left := r.Count()
	require.Equal(t, int64(clean*steps*restarts), r.ImageSteps)
	require.Zero(t, left)
	b, err := New(s.n, Config{Ball: ball(net.Linf, "0.3"), Method: PGD{Steps: steps, Restarts: restarts, Seed: 1}}, pool)
	require.NoError(t, err)
	require.NoError(t, b.Run(context.Background(), Batch{X: s.x, Y: s.y}, &plain))
	var stubborn, first float64
	for i := range n {
		stubborn += float64(r.Margin[i])
		first += float64(plain.Margin[i])
	}
	require.Less(t, stubborn, first, "points that go on are deeper")

	targeted, err := New(noisy, Config{Ball: ball(net.Linf, "0.3"), Method: PGD{Steps: steps, Targeted: true, Seed: 1}}, pool)
	require.NoError(t, err)
	targets := make([]int, n)
	for i, y := range s.y {
		targets[i] = (y + 1) % 5
	}
	require.NoError(t, targeted.Run(context.Background(), Batch{X: s.x, Y: s.y, Targets: targets}, &r))
	require.Less(t, r.ImageSteps, int64(n*steps))
}
