package bab_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

// TestRecordInSteps: a search that is taken down in runs of a few parts, each from the state of the
// one before, with little memory or without a limit, ends in a certificate that is valid.
func TestRecordInSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 77))
	fc, relu := func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }, model.Layer{Kind: model.ReLU}
	proved, several, refined, packed := 0, 0, 0, 0
	for n := range 40 {
		a := &model.Architecture{Name: "dense", Input: model.Shape{C: 1, H: 1, W: 3 + r.IntN(3)}, Layers: []model.Layer{fc(8), relu, fc(8), relu, fc(6), relu, fc(3)}}
		q := ask(plain.Random(a, r), r, []string{"0.3", "1/2"}[n%2], net.Norm(n%4%3), 0.04)
		o := branch.Options{Round: 4, FewInputs: -1, Memory: n % 2 * 20000, Parts: []int{20, 60}[n/2%2]}
		runs, done := 0, false
		var rec *branch.Record
		for ; !done && runs < 16; runs++ {
			rec = &branch.Record{}
			o.Record = rec
			var last *branch.State
			o.Save = func(st *branch.State) error { last = st; return nil }
			o.SaveEvery = time.Hour
			res, err := branch.Prove(t.Context(), verifier(t, q.m, 1+runs%2), verify.Around(q.ball, q.x), q.p, o)
			require.NoError(t, err)
			if done = res.Proved; done {
				require.Nil(t, last)
				continue
			}
			require.NotNil(t, last)
			for _, trees := range [][]branch.SavedTree{last.Trees, last.Neurons} {
				for _, tree := range trees {
					packed += min(1, len(tree.Closed))
				}
			}
			if len(last.Neurons) > 0 {
				refined++
			}
			back, err := branch.ReadRecord(last.Record)
			require.NoError(t, err)
			require.Equal(t, last.Record, back.AppendTo(nil))
			for cut := range last.Record { // and nothing of it when it is cut short
				if cut%97 == 0 {
					_, err := branch.ReadRecord(last.Record[:cut])
					require.Error(t, err)
				}
			}
			o.Resume = last
		}
		if !done {
			continue
		}
		proved++
		if runs > 1 {
			several++
		}
		k := checker(t, q.m)
		lines, err := bab.Lines(t.Context(), k, q.claim, q.x, rec, 2)
		require.NoError(t, err)
		v := follow(t, k, lines, q.x, check.Unknown)
		require.True(t, v.Valid, v.Reason)
		q.holds(t, r)
	}
	t.Logf("%d proved, %d of them in several runs; %d states amid searches for neurons, %d trees with closed parts", proved, several, refined, packed)
	require.Greater(t, several, 5)
	require.Greater(t, min(refined, packed), 3)
}

// TestCutsInSteps is the same where few inputs vary.
func TestCutsInSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 78))
	fc, relu := func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }, model.Layer{Kind: model.ReLU}
	several := 0
	for range 12 {
		a := &model.Architecture{Name: "dense", Input: model.Shape{C: 1, H: 1, W: 2}, Layers: []model.Layer{fc(8), relu, fc(8), relu, fc(3)}}
		q := ask(plain.Random(a, r), r, "1/2", net.Linf, 0.02)
		n, err := net.Compile(q.m, net.Options{})
		require.NoError(t, err)
		region := verify.Around(q.ball, q.x)
		lo, hi, err := region.Box(n)
		require.NoError(t, err)
		region = verify.BoxOf(lo, hi)
		o := branch.Options{Round: 2, Parts: 8}
		for runs := 1; runs < 200; runs++ {
			rec := &branch.Record{ByInputs: true}
			o.Record = rec
			o.Save = func(st *branch.State) error { o.Resume = st; return nil }
			o.SaveEvery = time.Hour
			res, err := branch.Prove(t.Context(), verifier(t, q.m, 1), region, q.p, o)
			require.NoError(t, err)
			if !res.Proved {
				require.NotEmpty(t, o.Resume.Record)
				continue
			}
			if runs > 1 {
				several++
			}
			k := checker(t, q.m)
			claim := check.Certificate{
				Model: q.m.Hash(), Run: "a test", Level: check.Executed, Label: -1, Rows: q.claim.Rows, Offsets: q.claim.Offsets,
				Region: &check.Region{Property: "drawn", Low: lo, High: hi},
			}
			lines, err := bab.RegionLines(t.Context(), k, &claim, rec, 1)
			require.NoError(t, err)
			v := follow(t, k, lines, nil, check.Unknown)
			require.True(t, v.Valid, v.Reason)
			break
		}
	}
	t.Logf("%d proved in several runs", several)
	require.Greater(t, several, 3)
}
