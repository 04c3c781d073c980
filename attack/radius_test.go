package attack_test

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

// TestRadiusSearch: radii have witnesses at exactly that distance, do not depend
// on the other images of the batch, and a plain attack half as far away fails
// for most images.
func TestRadiusSearch(t *testing.T) {
	if len(kernels.Available()) == 1 {
		t.Skip("takes minutes without vector kernels")
	}
	test, err := mnist.Test()
	require.NoError(t, err)
	m, err := zoo.Load("mnist-small-standard")
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	pool := kernels.NewPool(2)
	defer pool.Close()
	count := 30
	if testing.Short() {
		count = 9
	}
	images := test.Slice(0, count)
	images.Y[7] = (images.Y[7] + 1) % 10 // misclassified as it is
	ctx := context.Background()
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		resolution, most := net.MustEpsilon("1/500"), net.MustEpsilon("1")
		if norm == net.L2 {
			resolution, most = net.MustEpsilon("1/20"), net.MustEpsilon("8")
		}
		cfg := attack.Config{Ball: net.Ball{Norm: norm}, Method: attack.PGD{Steps: 20, Seed: 3}}
		s, err := attack.NewRadiusSearch(n, cfg, resolution, most, pool)
		require.NoError(t, err)
		var res, alone attack.RadiusResult
		b := attack.Batch{X: images.X, Y: images.Y}
		require.NoError(t, s.Run(ctx, b, nil, &res))
		require.Zero(t, res.Steps[7])
		size := n.Input().Size()
		logits := make([]float32, count*10)
		require.NoError(t, n.NewRunner(pool).Logits(ctx, logits, res.Adv, count))
		sum := 0
		for i, k := range res.Steps {
			require.True(t, res.Done[i])
			require.GreaterOrEqual(t, k, 0, "image %d is not fooled at all", i)
			if i == 7 {
				continue
			}
			sum += k
			x, adv := images.X[i*size:(i+1)*size], res.Adv[i*size:(i+1)*size]
			require.NotEqual(t, images.Y[i], net.Argmax(logits[i*10:i*10+10]))
			require.True(t, net.Ball{Norm: norm, Eps: resolution.Times(k)}.Contains(x, adv))
			require.False(t, net.Ball{Norm: norm, Eps: resolution.Times(k - 1)}.Contains(x, adv), "image %d has a nearer witness", i)
		}
		t.Logf("%v: mean radius %.4f", norm, float64(sum)/float64(count-1)*resolution.Float64())

		one := attack.Batch{X: images.X[3*size : 4*size], Y: images.Y[3:4], First: 3}
		require.NoError(t, s.Run(ctx, one, nil, &alone))
		require.Equal(t, res.Steps[3], alone.Steps[0])
		require.Equal(t, res.Adv[3*size:4*size], alone.Adv)

		// From below a certified radius nothing is tried.
		low := []int{res.Steps[3] - 1}
		require.NoError(t, s.Run(ctx, one, low, &alone))
		require.GreaterOrEqual(t, alone.Steps[0], res.Steps[3])
	}
}

func TestRadiusSearchErrors(t *testing.T) {
	m, err := zoo.Load("mnist-small-standard")
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	cfg := attack.Config{Method: attack.PGD{Steps: 5, Seed: 1}}
	_, err = attack.NewRadiusSearch(n, cfg, net.Epsilon{}, net.MustEpsilon("1"), pool)
	require.ErrorContains(t, err, "resolution: 0, want a value > 0")
	cfg.Method = attack.PGD{StepSize: 0.1}
	_, err = attack.NewRadiusSearch(n, cfg, net.MustEpsilon("0.1"), net.MustEpsilon("1"), pool)
	require.ErrorContains(t, err, "step size")
	cfg.Method = attack.PGD{Steps: 5, Seed: 1}
	s, err := attack.NewRadiusSearch(n, cfg, net.MustEpsilon("0.1"), net.MustEpsilon("1"), pool)
	require.NoError(t, err)
	var res attack.RadiusResult
	require.ErrorContains(t, s.Run(context.Background(), attack.Batch{X: make([]float32, 784), Y: []int{0}}, []int{1, 2}, &res), "lower radii: 2")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Run(ctx, attack.Batch{X: make([]float32, 784), Y: []int{0}}, nil, &res), context.Canceled)
	require.False(t, res.Done[0])
}
