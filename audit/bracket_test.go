package audit

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/zoo"
)

// liar claims a radius for every image.
type liar struct{ steps int }

func (l liar) Radius(_ context.Context, _ net.Norm, _, _ net.Epsilon, b verify.Batch, res *verify.RadiusResult) error {
	n := len(b.Y)
	*res = verify.RadiusResult{Steps: make([]int, n), Radius: make([]float64, n), Done: make([]bool, n)}
	for i := range n {
		res.Steps[i], res.Done[i] = l.steps, true
	}
	return nil
}

func TestBracket(t *testing.T) {
	if len(kernels.Available()) == 1 {
		t.Skip("takes minutes without vector kernels")
	}
	test, err := mnist.Test()
	require.NoError(t, err)
	m, err := zoo.Load("mnist-small-ibp-0.1")
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	pool := kernels.NewPool(2)
	defer pool.Close()
	images := test.Slice(0, 40)
	images.Y[5] = (images.Y[5] + 1) % 10
	ibp, err := verify.NewIBP(n, pool)
	require.NoError(t, err)
	ctx := context.Background()
	index := make([]int, 40)
	for i := range index {
		index[i] = 7 + i
	}
	for norm, resolution := range map[net.Norm]string{net.Linf: "1/1000", net.L2: "1/50"} {
		s, err := attack.NewRadiusSearch(n, attack.Config{Ball: net.Ball{Norm: norm}, Method: attack.PGD{Steps: 20, Seed: 1}}, net.MustEpsilon(resolution), net.MustEpsilon("1"), pool)
		require.NoError(t, err)
		b, err := Bracket(ctx, ibp, s, images.X, images.Y, index)
		require.NoError(t, err)
		require.Equal(t, -1, b.Certified[5])
		require.Zero(t, b.Attacked[5])
		proved, fooled := 0, 0
		for i := range b.Certified {
			require.True(t, b.ProofDone[i] && b.AttackDone[i])
			if b.Attacked[i] >= 0 {
				require.Less(t, b.Certified[i], b.Attacked[i], "image %d", i)
				fooled++
			}
			if b.Certified[i] > 0 {
				proved++
			}
		}
		t.Logf("%v: %d of 40 proved at some radius, %d fooled", norm, proved, fooled)
		require.Greater(t, proved, 30)

		// A prover that claims too much is found out.
		_, err = Bracket(ctx, liar{300}, s, images.X, images.Y, index)
		var c *Contradiction
		require.ErrorAs(t, err, &c)
	}

	s, err := attack.NewRadiusSearch(n, attack.Config{Method: attack.PGD{Steps: 20, Seed: 1}}, net.MustEpsilon("1/100"), net.MustEpsilon("1"), pool)
	require.NoError(t, err)
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	b, err := Bracket(stopped, ibp, s, images.X, images.Y, index)
	require.ErrorIs(t, err, context.Canceled)
	require.NotContains(t, b.AttackDone, true)
}
