package epsball_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// TestGuard: the guard of a model flags what Certify does not prove.
func TestGuard(t *testing.T) {
	m, err := epsball.New(randomModel(t))
	require.NoError(t, err)
	defer m.Close()
	x, ctx := randomBatch(20), context.Background()
	pred, err := m.Classify(ctx, x)
	require.NoError(t, err)
	cert, err := m.Certify(ctx, x.With(pred.Label), epsball.Linf(0.02), epsball.CROWN)
	require.NoError(t, err)
	g, err := m.Guard(audit.GuardOptions{Threshold: net.MustEpsilon("0.02"), Method: verify.MethodCROWN, Budget: audit.Unlimited})
	require.NoError(t, err)
	size := len(x.X) / len(pred.Label)
	for i := range pred.Label {
		var v audit.Verdict
		require.NoError(t, g.Classify(ctx, x.X[i*size:(i+1)*size], &v))
		require.Equal(t, pred.Label[i], v.Label)
		require.Equal(t, cert.Robust[i], !v.Flagged)
	}
	ball := epsball.Linf(0.5)
	how := epsball.PGD{Steps: 5}
	adv, err := m.Attack(ctx, x.With(pred.Label), ball, how)
	require.NoError(t, err)
	g, err = m.Guard(audit.GuardOptions{Threshold: net.MustEpsilon("0.5"), Budget: audit.Unlimited, Attack: epsball.GuardAttack(how)})
	require.NoError(t, err)
	fooled := 0
	for i := range pred.Label {
		var v audit.Verdict
		require.NoError(t, g.Classify(ctx, x.X[i*size:(i+1)*size], &v))
		require.Equal(t, pred.Logits[i*m.Classes():(i+1)*m.Classes()], v.Logits, "the bits of Classify")
		if v.Fooled {
			fooled++
		}
	}
	_, _, left := adv.Count()
	require.InDelta(t, len(pred.Label)-left, fooled, 3, "the same but for random starts")
	require.Positive(t, fooled)
	_, err = m.Guard(audit.GuardOptions{Threshold: net.MustEpsilon("0.5"), Attack: epsball.GuardAttack(nil)})
	require.ErrorContains(t, err, "attack: method: none")
	_, err = m.Guard(audit.GuardOptions{Budget: -1})
	require.ErrorContains(t, err, "budget")
}
