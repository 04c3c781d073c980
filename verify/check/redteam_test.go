package check_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// claimsOf is what the checker says of a case: of the prover's proofs by every method, or
// without a pool of claims alone, and of certificates with slopes of no sense, at both
// levels.
func claimsOf(t *testing.T, c *redteam.Case, pool *kernels.Pool) []redteam.Claim {
	t.Helper()
	r := rand.New(rand.NewPCG(c.Seed, 8))
	k := newChecker(t, c.Model)
	eps := cert.Eps(c.Ball.Eps.String(), c.Ball.Eps.Rat())
	var claims []redteam.Claim
	judge := func(name string, one *check.Certificate, ask func(margin float64) redteam.Claim) {
		margin := verdict(t, k, one, c.X, check.Unknown).Margin
		q := ask(margin)
		q.Name, q.Real = name+" at level "+one.Level, one.Level == check.Real
		claims = append(claims, q)
	}
	worst := func(margin float64) redteam.Claim { return redteam.Claim{Worst: &margin} }
	both := func(name string, one *check.Certificate) {
		judge(name, one, worst)
		one.Level = check.Real
		judge(name, one, worst)
	}
	if pool == nil {
		for _, m := range methods {
			both(m, claim(c.Model, c.X, c.Y, c.Ball.Norm.String(), eps, m))
		}
	} else {
		n, err := net.Compile(c.Model, net.Options{Batches: net.SmallBatches})
		require.NoError(t, err, c)
		for m := verify.MethodIBP; m <= verify.MethodAlphaCROWN; m++ {
			how := verify.Options{Method: m, Iterations: 2}
			v, err := verify.New(n, pool)
			require.NoError(t, err, c)
			p, err := v.Prove(context.Background(), how, verify.Around(c.Ball, c.X), c.Y)
			require.NoError(t, err, c)
			both(m.String(), proved(t, c.Model, p, c.Ball, c.X, c.Y))
		}
	}
	for i, row := range c.Rows {
		one := claim(c.Model, c.X, -1, c.Ball.Norm.String(), eps, methods[r.IntN(4)])
		one.Level = []string{check.Real, check.Executed}[r.IntN(2)]
		one.Rows, one.Offsets = [][]float64{nil}, []float64{0}
		for _, v := range row {
			one.Rows[0] = append(one.Rows[0], float64(v))
		}
		if one.Method != check.IBP {
			one.Slopes = randomSlopes(c.Model, one.Method, 1, r.IntN(3), r)
		}
		judge(one.Method+", a row by any slopes", one, func(margin float64) redteam.Claim {
			rows := make([]float64, len(c.Rows))
			for j := range rows {
				rows[j] = math.NaN()
			}
			rows[i] = margin
			return redteam.Claim{Rows: rows}
		})
	}
	return claims
}

// TestRedTeam looks for points that break what the checker says of hostile networks.
func TestRedTeam(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	redteam.Run(t, 3, func(t *testing.T, c *redteam.Case) []redteam.Claim { return claimsOf(t, c, pool) })
}

// TestRedTeamTraps: no certificate says of networks built to fool verifiers what their
// executions or real numbers refute.
func TestRedTeamTraps(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	redteam.RunTraps(t, 1, func(t *testing.T, c *redteam.Trap) []redteam.Claim { return claimsOf(t, c.Case, pool) })
}

// TestRedTeamFindsFaults: without any one of the proof's error terms some claim is
// broken, or the test above would show nothing about it.
func TestRedTeamFindsFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, term := range check.ErrorTerms {
		check.WithoutTerm(term, func() {
			v, ok := redteam.Find(t, 4, func(t *testing.T, c *redteam.Case) []redteam.Claim { return claimsOf(t, c, pool) })
			require.True(t, ok, "nothing is found without %s", term)
			t.Logf("%s: %v", term, v)
		})
	}
}

// TestRedTeamOfLayers is TestRedTeam on networks of all kinds of layers, without a prover.
func TestRedTeamOfLayers(t *testing.T) {
	redteam.RunOn(t, redteam.LayerFamilies(), 150, func(t *testing.T, c *redteam.Case) []redteam.Claim { return claimsOf(t, c, nil) })
}

// TestRedTeamFindsFaultsOfLayers is TestRedTeamFindsFaults for the terms of such layers.
func TestRedTeamFindsFaultsOfLayers(t *testing.T) {
	for _, term := range check.LayerTerms {
		check.WithoutTerm(term, func() {
			v, ok := redteam.FindIn(t, redteam.LayerFamilies(), 200, func(t *testing.T, c *redteam.Case) []redteam.Claim { return claimsOf(t, c, nil) })
			require.True(t, ok, "nothing is found without %s", term)
			t.Logf("%s: %v", term, v)
		})
	}
}
