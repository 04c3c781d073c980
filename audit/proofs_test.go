package audit

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// TestProofsFollowTheBall: what is proved in one ball is not taken for proved in a larger
// one, by the same configuration.
func TestProofsFollowTheBall(t *testing.T) {
	m, err := zoo.Load("mnist-small-ibp-0.1")
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	set, err := mnist.Test()
	require.NoError(t, err)
	const images = 40
	pool := kernels.NewPool(1)
	defer pool.Close()
	c := attack.Config{Ball: net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}, Method: attack.Fast{Seed: 1}}
	c, err = WithProofs(n, pool, c)
	require.NoError(t, err)
	count := func() (proved, robust int) {
		a, err := attack.New(n, c, pool)
		require.NoError(t, err)
		var r attack.Result
		require.NoError(t, a.Run(context.Background(), attack.Batch{X: set.X[:images*784], Y: set.Y[:images]}, &r))
		for _, p := range r.Proved {
			if p {
				proved++
			}
		}
		_, _, robust = r.Count()
		return proved, robust
	}
	proved, _ := count()
	require.Greater(t, proved, images/2)
	c.Ball.Eps = net.MustEpsilon("0.5")
	proved, robust := count()
	require.Zero(t, proved)
	require.Zero(t, robust)
}
