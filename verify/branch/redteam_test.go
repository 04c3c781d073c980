package branch

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/verify"
)

// claimsOf is what searches by neurons and by inputs say of the label and of a row of a case.
func claimsOf(t *testing.T, c *redteam.Case) (claims []redteam.Claim) {
	v := verifier(t, c.Model, 1)
	r := rand.New(rand.NewPCG(c.Seed, 11))
	outputs := c.Model.Arch.Classes()
	for _, few := range []int{-1, 1 << 20} {
		o := Options{FewInputs: few, Parts: 40, Round: 8, Steps: 2, Root: verify.Options{Method: verify.Method(r.IntN(4)), Iterations: 2}}
		if o.Root.Method == 0 { // which means the default
			o.Root.Method = verify.MethodCROWN
		}
		res, err := Prove(t.Context(), v, verify.Around(c.Ball, c.X), verify.LabelProperty(outputs, c.Y), o)
		require.NoError(t, err, c)
		low := float64(res.Low)
		if res.Proved {
			low = max(low, math.SmallestNonzeroFloat64)
		}
		claims = append(claims, redteam.Claim{Name: "search for the label", Worst: &low})
		row := r.IntN(len(c.Rows))
		res, err = Prove(t.Context(), v, verify.Around(c.Ball, c.X), &verify.Property{C: c.Rows[row]}, o)
		require.NoError(t, err, c)
		rows := make([]float64, len(c.Rows))
		for k := range rows {
			rows[k] = math.NaN()
		}
		if rows[row] = float64(res.Low); res.Proved {
			rows[row] = max(rows[row], math.SmallestNonzeroFloat64)
		}
		claims = append(claims, redteam.Claim{Name: "search for a row", Rows: rows})
	}
	return claims
}

// TestRedTeamTraps: searches prove nothing of networks built to fool verifiers that their
// executions or real numbers refute.
func TestRedTeamTraps(t *testing.T) {
	redteam.RunTraps(t, 1, func(t *testing.T, c *redteam.Trap) []redteam.Claim { return claimsOf(t, c.Case) })
}

// TestRedTeam looks for points that break what searches say of hostile networks.
func TestRedTeam(t *testing.T) {
	redteam.Run(t, 1, func(t *testing.T, c *redteam.Case) []redteam.Claim { return claimsOf(t, c) })
}
