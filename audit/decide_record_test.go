package audit

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

// TestDecideRecord: what Decide takes down becomes certificates that the checker proves, of what
// holds by exact minima over all activation patterns.
func TestDecideRecord(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	byBounds, byInputs, byNeurons, refuted, lost := 0, 0, 0, 0, 0
	for seed := range testsize.Of(60, 60) {
		r := rand.New(rand.NewPCG(11, uint64(seed)))
		drawn := drawQuestions(t, r)
		if drawn == nil {
			continue
		}
		c, n, questions, holds := drawn.c, drawn.n, drawn.questions, drawn.holds
		o := DecideOptions{Record: true, Branch: branch.Options{FewInputs: []int{0, -1}[seed%2], Round: 4, Parts: 100}}
		d, err := Decide(t.Context(), n, questions, o, pool)
		require.NoError(t, err)
		require.False(t, d.Answer == Holds && !holds, "seed %d: it does not hold", seed)
		if d.Answer != Holds {
			require.Empty(t, d.Proofs)
			refuted++
			continue
		}
		require.Len(t, d.Proofs, len(questions))
		k, err := check.New(c.Model)
		require.NoError(t, err)
		for i := range questions {
			q, region := &questions[i], questions[i].Region()
			claim := check.Certificate{
				Model: c.Model.Hash(), Run: "a test", Level: check.Executed, Index: i, Label: -1,
				Region: &check.Region{Property: "drawn", Low: region.Lo, High: region.Hi, Clauses: q.Proves.Clauses},
			}
			outputs := n.Classes()
			for at := 0; at < len(q.Proves.C); at += outputs {
				row, offset := make([]float64, outputs), 0.0
				for j, v := range q.Proves.C[at : at+outputs] {
					row[j] = float64(v)
				}
				if q.Proves.D != nil {
					offset = float64(q.Proves.D[at/outputs])
				}
				claim.Rows, claim.Offsets = append(claim.Rows, row), append(claim.Offsets, offset)
			}
			p := d.Proofs[i]
			lines, err := bab.RegionLines(t.Context(), k, &claim, p, 1)
			switch {
			case errors.Is(err, bab.ErrBounds) || err != nil && p != nil: // what the prover's rounding leaves is a little more
				lost++
				t.Logf("seed %d: %v", seed, err)
				continue
			case p == nil:
				byBounds++
			case len(p.Cuts) > 0:
				byInputs++
			default:
				byNeurons++
			}
			require.NoError(t, err, "seed %d", seed)
			require.NotEmpty(t, lines)
		}
	}
	t.Logf("%d by bounds, %d at inputs, %d at neurons; %d not proved, %d without a certificate", byBounds, byInputs, byNeurons, refuted, lost)
	require.Greater(t, min(byBounds, byInputs, byNeurons, refuted), 1)
	require.LessOrEqual(t, lost, 1)
}
