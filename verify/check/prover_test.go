package check_test

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// TestIBPAgreesWithProver: on the built-in models, for several radii and norms,
// the checker accepts exactly what package verify proves, but for margins within
// rounding of zero; its bounds are no looser and, on a network trained for
// intervals, barely tighter (another multiplies what rounding costs).
func TestIBPAgreesWithProver(t *testing.T) {
	const n = 24
	proved := 0
	var trained *check.Checker
	for _, name := range []string{"mnist-small-ibp-0.1", "mnist-small-standard"} {
		m, set := zooModel(t, name, n)
		compiled, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		ibp, err := verify.NewIBP(compiled, kernels.NewPool(1))
		require.NoError(t, err)
		k := newChecker(t, m)
		if trained == nil {
			trained = k
		}
		for _, ball := range []net.Ball{
			{Norm: net.Linf, Eps: net.MustEpsilon("0.1")},
			{Norm: net.Linf, Eps: net.MustEpsilon("1/255")},
			{Norm: net.L2, Eps: net.MustEpsilon("0.3")},
			{Norm: net.Linf},
		} {
			var res verify.Result
			require.NoError(t, ibp.Certify(context.Background(), ball, verify.Batch{X: set.X, Y: set.Y}, &res))
			for i := range n {
				margin := float64(res.Margin[i])
				c := claim(m, set.Image(i), set.Y[i], ball.Norm.String(), cert.Eps(ball.Eps.String(), ball.Eps.Rat()), check.IBP)
				if res.Certified[i] {
					proved++
					c.Margin = cert.Margin(margin)
					require.Positive(t, c.Margin)
				}
				v := verdict(t, k, reread(t, c), set.Image(i), set.Y[i])
				require.GreaterOrEqual(t, v.Margin, margin, "looser than the prover's")
				near := 1e-2 * (1 + math.Abs(margin))
				if ball.Norm == net.Linf && k == trained {
					require.InDelta(t, margin, v.Margin, near)
				}
				if res.Certified[i] {
					require.True(t, v.Valid, v.Reason)
				}
				if v.Margin <= 0 {
					require.False(t, v.Valid)
				}
			}
		}
	}
	require.Greater(t, proved, n)
}

// TestMethodsInOrder: on real images CROWN is tighter than CROWN-IBP and that
// than IBP; a ball is worse than its centre, and executed worse than exact.
func TestMethodsInOrder(t *testing.T) {
	const n = 3
	m, set := zooModel(t, "mnist-small-standard", n)
	k := newChecker(t, m)
	for i := range n {
		x, y := set.Image(i), set.Y[i]
		margin := map[string]float64{}
		for _, method := range methods {
			v := verdict(t, k, reread(t, claim(m, x, y, "linf", "0.02", method)), x, y)
			margin[method] = v.Margin
			centre := verdict(t, k, reread(t, claim(m, x, y, "linf", "0", method)), x, y)
			require.Less(t, v.Margin, centre.Margin)
		}
		require.Equal(t, margin[check.CROWN], margin[check.AlphaCROWN])
		require.Greater(t, margin[check.CROWN], margin[check.CROWNIBP])
		require.Greater(t, margin[check.CROWNIBP], margin[check.IBP])
		real := claim(m, x, y, "linf", "0.02", check.CROWN)
		real.Level = check.Real
		require.Greater(t, verdict(t, k, real, x, y).Margin, margin[check.CROWN], "execution errs")
	}
}

// TestRefusesNetworks: what cannot be checked is refused when the checker is
// made.
func TestRefusesNetworks(t *testing.T) {
	_, err := check.New(&model.Model{})
	require.Error(t, err)
	m, err := model.Random(architectures()[0], 1)
	require.NoError(t, err)
	m.Params[0].W[3] = float32(math.NaN())
	_, err = check.New(m)
	require.ErrorContains(t, err, "NaN")
}
