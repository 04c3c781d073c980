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
	"github.com/epsball/epsball/verify/check"
)

// crownMargins are what package verify proves of images.
func crownMargins(t *testing.T, m *model.Model, method verify.Method, ball net.Ball, b verify.Batch) verify.Result {
	compiled, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	how := verify.Options{Method: method, RowsOnly: true} // as certificates state it
	v, err := verify.New(compiled, kernels.NewPool(1))
	require.NoError(t, err)
	v.JoinBalls()
	var res verify.Result
	require.NoError(t, v.Certify(context.Background(), how, ball, b, &res))
	return res
}

var crownMethods = []verify.Method{verify.MethodIBP, verify.MethodCROWNIBP, verify.MethodCROWN}

// TestAcceptsWhatCROWNProves: every certificate of package verify's linear bounds
// is accepted, and the checker's bound is never looser.
func TestAcceptsWhatCROWNProves(t *testing.T) {
	certified := 0
	for _, c := range []struct {
		model string
		ball  net.Ball
		n     int
	}{
		{"mnist-small-standard", net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.02")}, 4},
		{"mnist-small-pgd-0.1", net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.03")}, 4},
		{"mnist-small-pgd-0.1", net.Ball{Norm: net.L2, Eps: net.MustEpsilon("0.2")}, 3},
		{"mnist-small-ibp-0.1", net.Ball{Norm: net.L1, Eps: net.MustEpsilon("0.3")}, 3},
		{"mnist-small-ibp-0.1", net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}, 10},
	} {
		m, set := zooModel(t, c.model, c.n)
		k := newChecker(t, m)
		for _, method := range crownMethods[1:] {
			res := crownMargins(t, m, method, c.ball, verify.Batch{X: set.X, Y: set.Y})
			for i := range c.n {
				one := claim(m, set.Image(i), set.Y[i], c.ball.Norm.String(), c.ball.Eps.String(), res.Method[i].String())
				if res.Certified[i] {
					certified++
					one.Margin = cert.Margin(float64(res.Margin[i]))
				}
				v := verdict(t, k, reread(t, one), set.Image(i), set.Y[i])
				require.GreaterOrEqual(t, v.Margin, float64(res.Margin[i]), "%s %v %v", c.model, c.ball, method)
				require.True(t, v.Valid || !res.Certified[i], v.Reason)
			}
		}
	}
	require.Greater(t, certified, 25)
}

// TestAcceptsOptimisedSlopes: α-CROWN on real images, with a vector of slopes for
// each row.
func TestAcceptsOptimisedSlopes(t *testing.T) {
	const n = 3
	m, set := zooModel(t, "mnist-small-standard", n)
	k := newChecker(t, m)
	compiled, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.025")}
	crown := crownMargins(t, m, verify.MethodCROWN, ball, verify.Batch{X: set.X, Y: set.Y})
	how := verify.Options{Method: verify.MethodAlphaCROWN}
	v, err := verify.New(compiled, kernels.NewPool(1))
	require.NoError(t, err)
	certified := 0
	for i := range n {
		p, err := v.Prove(context.Background(), how, verify.Around(ball, set.Image(i)), set.Y[i])
		require.NoError(t, err)
		require.Greater(t, p.Margin, crown.Margin[i])
		c := proved(t, m, p, ball, set.Image(i), set.Y[i])
		got := verdict(t, k, c, set.Image(i), set.Y[i])
		require.GreaterOrEqual(t, got.Margin, float64(p.Margin))
		require.Equal(t, p.Certified, got.Valid, got.Reason)
		if !p.Certified {
			continue
		}
		certified++
		t.Logf("a line of %d bytes", len(line(t, c)))
		for j := range c.Slopes { // without its slopes the claim does not hold
			c.Slopes[j].Alpha = check.Adaptive
		}
		require.False(t, verdict(t, k, c, set.Image(i), set.Y[i]).Valid)
	}
	require.Positive(t, certified)
}

// proved makes the certificate that a proof of package verify stands for.
func proved(t *testing.T, m *model.Model, p *verify.Proof, ball net.Ball, x []float32, y int) *check.Certificate {
	var relus []int
	for i := range m.Arch.Layers {
		if m.Arch.Layers[i].Kind == model.ReLU {
			relus = append(relus, i)
		}
	}
	proof := cert.Proof{Method: p.Method.String(), Certified: true, Margin: float64(p.Margin)}
	if p.Method != verify.MethodIBP {
		require.Len(t, p.Slopes, len(relus))
	}
	for k, s := range p.Slopes {
		proof.Slopes = append(proof.Slopes, cert.Slopes{For: check.ForAll, ReLU: relus[k], Alpha: [][]float32{s.Alpha}})
		if s.Rows != nil {
			proof.Slopes = append(proof.Slopes, cert.Slopes{For: check.ForRows, ReLU: relus[k], Alpha: s.Rows})
		}
	}
	c := claim(m, x, y, ball.Norm.String(), ball.Eps.String(), "")
	proof.Fill(c)
	return reread(t, c)
}

// TestNoLooserThanCROWN: the same on random networks, residual ones among them, with
// the slopes that the prover used.
func TestNoLooserThanCROWN(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	certified := 0
	for seed := range uint64(1200) {
		a := architectures()[seed%6]
		m, err := model.Random(a, seed)
		require.NoError(t, err)
		twist(m, int(seed/6)%3, r)
		x := make([]float32, a.Input.Size())
		for i := range x {
			x[i] = r.Float32()
		}
		k := newChecker(t, m)
		compiled, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon([]string{"0", "0.003", "1/20"}[r.IntN(3)])}
		y := r.IntN(a.Classes())
		for method := verify.MethodIBP; method <= verify.MethodAlphaCROWN; method++ {
			how := verify.Options{Method: method, Iterations: 3}
			v, err := verify.New(compiled, kernels.NewPool(1))
			require.NoError(t, err)
			p, err := v.Prove(context.Background(), how, verify.Around(ball, x), y)
			require.NoError(t, err)
			c := proved(t, m, p, ball, x, y)
			if p.Certified {
				certified++
			}
			v2 := verdict(t, k, c, x, y)
			require.True(t, v2.Valid || !p.Certified, "seed %d: %s %v %v: %s", seed, a.Name, ball, method, v2.Reason)
			room := 1e-9 * (0.01 + math.Abs(float64(p.Margin))) // exact zeros
			require.True(t, v2.Valid || v2.Margin >= float64(p.Margin)-room, "seed %d: %s %v %v: %g and %g", seed, a.Name, ball, method, v2.Margin, p.Margin)
		}
	}
	require.Greater(t, certified, 300)
}
