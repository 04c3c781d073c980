package bab_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
	"github.com/epsball/epsball/verify/cert/bab"
	"github.com/epsball/epsball/verify/check"
)

// bending are small networks whose proofs need splits of a kind.
func bending(r *rand.Rand) map[string]*model.Architecture {
	fc := func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }
	conv := model.Layer{Kind: model.Conv, Out: 3, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}}
	pool := model.Layer{Kind: model.MaxPool, Kernel: [2]int{2, 2}, Stride: [2]int{1 + r.IntN(2), 1}}
	with := func(name string, l ...model.Layer) *model.Architecture {
		return &model.Architecture{Name: name, Input: model.Shape{C: 1, H: 1, W: 4}, Layers: append(append([]model.Layer{fc(6)}, l...), fc(3))}
	}
	leaky := func(slope ...float32) model.Layer { return model.Layer{Kind: model.LeakyReLU, Slope: slope} }
	sigmoid, tanh := model.Layer{Kind: model.Sigmoid}, model.Layer{Kind: model.Tanh}
	pooled := with("maxpool", conv, pool)
	pooled.Input, pooled.Layers = model.Shape{C: 1, H: 4, W: 4}, pooled.Layers[1:]
	mixed := with("mixed", conv, tanh, pool, leaky(0.125), fc(4), sigmoid)
	mixed.Input, mixed.Layers = model.Shape{C: 1, H: 4, W: 4}, mixed.Layers[1:]
	return map[string]*model.Architecture{
		"leakyrelu": with("leakyrelu", leaky(0.1), fc(6), leaky(0.25)),
		"clip":      with("clip", model.Layer{Kind: model.Clip, Min: -0.25, Max: 0.5}, fc(6), model.Layer{Kind: model.Clip, Max: 1}),
		"steep":     with("steep", leaky(1.5), fc(6), leaky(-0.5)),
		"sigmoid":   with("sigmoid", sigmoid, fc(6), sigmoid),
		"tanh":      with("tanh", tanh, fc(6), tanh),
		"maxpool":   pooled,
		"mixed":     mixed,
	}
}

// TestSplits: proofs by splits of each kind become certificates that are valid, at both levels,
// on any number of workers, and no point contradicts them.
func TestSplits(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 15))
	proved, lost := 0, 0
	var kinds [verify.PairSplits + 1]int // of splits
	for _, name := range []string{"leakyrelu", "steep", "sigmoid", "tanh", "maxpool", "mixed", "clip"} {
		for n := range 5 {
			a := bending(r)[name]
			q := ask(plain.Random(a, r), r, []string{"0.3", "1/2"}[n%2], net.Norm(n%4%3), 0.1)
			rec := &branch.Record{}
			o := branch.Options{Record: rec, Parts: 700, FewInputs: -1}
			res, err := branch.Prove(t.Context(), verifier(t, q.m, 1), verify.Around(q.ball, q.x), q.p, o)
			require.NoError(t, err)
			if !res.Proved {
				continue
			}
			proved++
			for _, s := range rec.Steps {
				for _, tree := range s.Trees {
					for _, l := range tree.Leaves {
						for _, f := range l.Splits {
							kinds[f.Kind]++
						}
					}
				}
			}
			k := checker(t, q.m)
			for _, level := range []string{check.Executed, check.Real} {
				q.claim.Level = level
				lines, err := bab.Lines(t.Context(), k, q.claim, q.x, rec, 2)
				if err != nil {
					t.Logf("%s: %v", name, err)
					lost++
					break
				}
				v := follow(t, k, lines, q.x, check.Unknown)
				require.True(t, v.Valid, v.Reason)
			}
			q.holds(t, r)
			again := &branch.Record{}
			o.Record = again
			_, err = branch.Prove(t.Context(), verifier(t, q.m, 3), verify.Around(q.ball, q.x), q.p, o)
			require.NoError(t, err)
			require.Equal(t, rec.Steps, again.Steps)
		}
		t.Logf("%s: so far %d proved, %d of them without a certificate; splits %v", name, proved, lost, kinds)
	}
	require.GreaterOrEqual(t, proved, 12)
	require.LessOrEqual(t, lost, 1, "lines are the checker's but for rounding")
	require.GreaterOrEqual(t, min(kinds[verify.SignSplits], kinds[verify.PointSplits], kinds[verify.KinkSplits], kinds[verify.PairSplits]), 2)
}
