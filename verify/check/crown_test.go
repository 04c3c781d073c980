package check_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
)

// crownMargins are what package verify proves of images.
func crownMargins(t *testing.T, m *model.Model, method verify.Method, ball net.Ball, b verify.Batch) verify.Result {
	compiled, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	v, err := verify.NewCROWN(compiled, kernels.NewPool(1), verify.Config{Method: method})
	require.NoError(t, err)
	var res verify.Result
	require.NoError(t, v.Certify(context.Background(), ball, b, &res))
	return res
}

var crownMethods = []verify.Method{verify.MethodIBP, verify.MethodCROWNIBP, verify.MethodCROWN}

// TestAcceptsWhatCROWNProves: every certificate of package verify's linear bounds
// is accepted, and the checker's bound is never looser.
func TestAcceptsWhatCROWNProves(t *testing.T) {
	proved := 0
	for _, c := range []struct {
		model string
		ball  net.Ball
		n     int
	}{
		{"mnist-small-standard", net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.02")}, 6},
		{"mnist-small-pgd-0.1", net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.03")}, 8},
		{"mnist-small-pgd-0.1", net.Ball{Norm: net.L2, Eps: net.MustEpsilon("0.2")}, 6},
		{"mnist-small-ibp-0.1", net.Ball{Norm: net.L1, Eps: net.MustEpsilon("0.3")}, 6},
		{"mnist-small-ibp-0.1", net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}, 20},
	} {
		m, set := zooModel(t, c.model, c.n)
		k := newChecker(t, m)
		for _, method := range crownMethods[1:] {
			res := crownMargins(t, m, method, c.ball, verify.Batch{X: set.X, Y: set.Y})
			for i := range c.n {
				one := claim(m, set.Image(i), set.Y[i], c.ball.Norm.String(), c.ball.Eps.String(), res.Method[i].String())
				if res.Certified[i] {
					proved++
					one.Margin = cert.Margin(float64(res.Margin[i]))
				}
				v := verdict(t, k, reread(t, one), set.Image(i), set.Y[i])
				require.GreaterOrEqual(t, v.Margin, float64(res.Margin[i]), "%s %v %v", c.model, c.ball, method)
				require.True(t, v.Valid || !res.Certified[i], v.Reason)
			}
		}
	}
	require.Greater(t, proved, 40)
}

// TestNoLooserThanCROWN: the same on random networks, residual ones among them.
func TestNoLooserThanCROWN(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	certified := 0
	for seed := range uint64(2400) {
		a := architectures()[seed%6]
		m, err := model.Random(a, seed)
		require.NoError(t, err)
		twist(m, int(seed/6)%3, r)
		x := make([]float32, a.Input.Size())
		for i := range x {
			x[i] = r.Float32()
		}
		k := newChecker(t, m)
		ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon([]string{"0", "0.003", "1/20"}[r.IntN(3)])}
		y := r.IntN(a.Classes())
		for _, method := range crownMethods {
			res := crownMargins(t, m, method, ball, verify.Batch{X: x, Y: []int{y}})
			c := claim(m, x, y, ball.Norm.String(), ball.Eps.String(), method.String())
			margin := float64(res.Margin[0])
			if res.Certified[0] {
				certified++
				c.Margin = cert.Margin(margin)
			}
			v := verdict(t, k, reread(t, c), x, y)
			require.True(t, v.Valid || !res.Certified[0], "seed %d: %s %v %v: %s", seed, a.Name, ball, method, v.Reason)
			room := 1e-9 * (0.01 + math.Abs(margin)) // slopes differ where u and −l nearly tie; exact zeros
			require.True(t, v.Valid || v.Margin >= margin-room, "seed %d: %s %v %v: %g and %g", seed, a.Name, ball, method, v.Margin, margin)
		}
	}
	require.Greater(t, certified, 500)
}
