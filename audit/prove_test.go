package audit

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// TestProving: blocks, what was known before and an end of the context do not change
// what is proved of an image.
func TestProving(t *testing.T) {
	const n = 30
	s := newSmall(t, n)
	ctx := context.Background()
	ibp, err := verify.NewIBP(s.net, s.pool)
	require.NoError(t, err)
	crown, err := verify.NewCROWN(s.net, s.pool, verify.Config{Method: verify.MethodCROWN, Ladder: true, RowsOnly: true})
	require.NoError(t, err)
	resolution, most := net.MustEpsilon("1/500"), net.MustEpsilon("1/2")
	search, err := attack.NewRadiusSearch(s.net, attack.Config{Ball: net.Ball{Norm: net.Linf}, Method: attack.PGD{Steps: 5, Seed: 1}}, resolution, most, s.pool)
	require.NoError(t, err)
	pred, err := Predict(ctx, s.net, s.pool, s.x, n)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		prover Prover
		o      ProveOptions
	}{
		"ibp":     {ibp, ProveOptions{Eps: net.MustEpsilon("0.01")}},
		"crown":   {crown, ProveOptions{Eps: net.MustEpsilon("0.02"), Slopes: true}},
		"radius":  {ibp, ProveOptions{Resolution: resolution, Max: most}},
		"bracket": {ibp, ProveOptions{Resolution: resolution, Max: most, Search: search, First: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			prove := func(ctx context.Context, block int, before *Proving) (*Proving, error) {
				o := c.o
				o.Block = block
				saved := map[int]int{}
				o.Save = func(at []int) error {
					for _, i := range at {
						saved[i]++
					}
					return nil
				}
				p, err := NewProving(c.prover, s.x, s.y, o)
				require.NoError(t, err)
				if before != nil {
					for i := 0; i < n; i += 3 {
						p.Done[i], p.Proved[i], p.Method[i], p.Margin[i] = true, before.Proved[i], before.Method[i], before.Margin[i]
						p.Steps[i], p.Proof[i] = before.Steps[i], before.Proof[i]
					}
				}
				if err = p.Run(ctx); err == nil {
					require.NoError(t, p.Check(pred))
					require.Equal(t, n, p.Whole)
					for i, times := range saved {
						require.Equal(t, 1, times, "image %d", i)
					}
				}
				return p, err
			}
			want, err := prove(ctx, n, nil)
			require.NoError(t, err)
			certified := 0
			for i := range n {
				if want.Certified(i) {
					certified++
					require.NotEqual(t, 3, i%10, "a wrong label is never proved")
				}
				if c.o.Search != nil && want.Attacked[i] >= 0 {
					require.Less(t, want.Steps[i], want.Attacked[i])
				}
			}
			require.Positive(t, certified)
			for _, block := range []int{1, 7} {
				for _, before := range []*Proving{nil, want} {
					got, err := prove(ctx, block, before)
					require.NoError(t, err)
					require.Equal(t, []any{want.Done, want.Proved, want.Method, want.Margin, want.Steps, want.Attacked},
						[]any{got.Done, got.Proved, got.Method, got.Margin, got.Steps, got.Attacked})
				}
			}
			gone, cancel := context.WithCancel(ctx)
			cancel()
			p, err := prove(gone, 7, nil)
			require.ErrorIs(t, err, context.Canceled)
			require.Zero(t, p.Whole)
		})
	}

	// A proof for an image that is misclassified is found out.
	p, err := NewProving(ibp, s.x, s.y, ProveOptions{Eps: net.MustEpsilon("0.01"), Block: 8, First: 100})
	require.NoError(t, err)
	require.NoError(t, p.Run(ctx))
	p.Proved[13] = true
	var contradiction *Contradiction
	require.ErrorAs(t, p.Check(pred), &contradiction)
	require.Equal(t, 113, contradiction.Image)

	// So is a radius that was known before and that an attack reaches.
	p, err = NewProving(ibp, s.x, s.y, ProveOptions{Resolution: resolution, Max: most, Search: search, Block: 8})
	require.NoError(t, err)
	p.Done[5], p.Proved[5], p.Steps[5] = true, true, 250
	require.ErrorAs(t, p.Run(ctx), &contradiction)
	require.Equal(t, 5, contradiction.Image)

	for want, o := range map[string]ProveOptions{
		"block: 0":     {},
		"search: want": {Block: 1, Search: search, Resolution: resolution},
	} {
		_, err := NewProving(ibp, s.x, s.y, o)
		require.ErrorContains(t, err, want)
	}
	_, err = NewProving(ibp, s.x, nil, ProveOptions{Block: 1})
	require.ErrorContains(t, err, "images: ")
}
