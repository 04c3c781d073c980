package audit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/pieces"
	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// TestRedTeamTraps: Decide says of no network built to fool verifiers that its label holds,
// which an execution of it or real numbers refute, and finds witnesses of some.
func TestRedTeamTraps(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	answers := map[Answer]int{}
	o := DecideOptions{Branch: branch.Options{Parts: 20}}
	if testsize.Small() { // a search that finds nothing is most of the work
		o.Search = attack.Search{Steps: 5, Restarts: 1}
	}
	redteam.RunTraps(t, 1, func(t *testing.T, c *redteam.Trap) []redteam.Claim {
		n, err := net.Compile(c.Model, net.Options{Backward: true})
		require.NoError(t, err, c)
		q := Question{Proves: verify.LabelProperty(n.Classes(), c.Y)}
		q.Box, err = BoxOfRegion(verify.Around(c.Ball, c.X))
		require.NoError(t, err, c)
		q.Refutes = q.Proves
		o.Branch.FewInputs = []int{-1, 1 << 20}[c.Seed%2]
		d, err := Decide(t.Context(), n, []Question{q}, o, pool)
		require.NoError(t, err, c)
		answers[d.Answer]++
		low := float64(d.Low)
		if d.Answer == Holds {
			low = max(low, math.SmallestNonzeroFloat64)
		}
		if w := d.Witness; w != nil {
			v, err := pieces.At(c.Model, w.Point, q.Refutes)
			require.NoError(t, err)
			require.Equal(t, v.Sign() <= 0, w.Exact == Violated, c)
		}
		return []redteam.Claim{{Name: "answer " + d.Answer.String(), Worst: &low}}
	})
	t.Log(answers)
	require.Positive(t, answers[Violated])
}
