package verify

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// TestBuiltinLadder: on digits, each rung certifies what the one below does, and more
// where intervals are loose.
func TestBuiltinLadder(t *testing.T) {
	test, err := mnist.Test()
	require.NoError(t, err)
	count := 40
	if len(kernels.Available()) == 1 {
		count = 2
	}
	digits := test.Slice(0, count)
	for _, c := range []struct{ model, eps string }{{"mnist-small-standard", "0.02"}, {"mnist-small-ibp-0.1", "0.1"}} {
		m, err := zoo.Load(c.model)
		require.NoError(t, err)
		ball := net.Ball{Eps: net.MustEpsilon(c.eps)}
		var below Result
		counts := []int{}
		for method := MethodIBP; method <= MethodCROWN; method++ {
			v := newCROWN(t, m, 2, Options{Method: method, Ladder: true})
			var res Result
			require.NoError(t, v.Certify(context.Background(), ball, Batch{digits.X, digits.Y}, &res))
			for i := range below.Done {
				require.GreaterOrEqual(t, res.Margin[i], below.Margin[i])
			}
			_, certified := res.Count()
			counts = append(counts, certified)
			below = res
		}
		t.Log(c.model, counts)
		if count > 2 && c.eps == "0.02" {
			require.Greater(t, counts[2], counts[0]+10)
		}
	}
}

// TestRelaxedRadius: each radius is certified, the next is not, and none is below IBP's.
func TestRelaxedRadius(t *testing.T) {
	test, err := mnist.Test()
	require.NoError(t, err)
	if len(kernels.Available()) == 1 {
		t.Skip("minutes without assembly")
	}
	const count = 3
	digits := test.Slice(0, count)
	m, err := zoo.Load("mnist-small-standard")
	require.NoError(t, err)
	resolution, most := net.MustEpsilon("1/500"), net.MustEpsilon("0.5")
	ctx := context.Background()
	for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
		v := newCROWN(t, m, 2, Options{Method: MethodCROWN})
		var res, ibp RadiusResult
		b := Batch{digits.X, digits.Y}
		require.NoError(t, v.Radius(ctx, norm, resolution, most, b, &res))
		require.NoError(t, v.intervalRadius(ctx, norm, resolution, most, b, &ibp))
		t.Log(norm, res.Steps, ibp.Steps)
		for i, k := range res.Steps {
			require.True(t, res.Done[i])
			require.GreaterOrEqual(t, k, ibp.Steps[i])
			for _, step := range []int{k, k + 1} {
				var cert Result
				ball := net.Ball{Norm: norm, Eps: resolution.Times(max(0, step))}
				if ball.Eps.Cmp(most) > 0 {
					continue
				}
				one := Batch{digits.X[i*784 : (i+1)*784], digits.Y[i : i+1]}
				require.NoError(t, v.Certify(ctx, ball, one, &cert))
				require.Equal(t, step == k && k >= 0, cert.Certified[0])
			}
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	v := newCROWN(t, m, 1, Options{Method: MethodCROWN})
	var res Result
	require.ErrorIs(t, v.Certify(cancelled, net.Ball{Eps: resolution}, Batch{digits.X, digits.Y}, &res), context.Canceled)
	var radius RadiusResult
	require.ErrorIs(t, v.Radius(cancelled, net.Linf, resolution, most, Batch{digits.X, digits.Y}, &radius), context.Canceled)
	require.ErrorContains(t, v.Radius(ctx, net.Linf, net.MustEpsilon("0"), most, Batch{digits.X, digits.Y}, &radius), "resolution")
}
