package audit

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// mid is a network that bounds leave open at radii between proof and attack.
func mid(t *testing.T, normalize bool) (*net.Network, *verify.Verifier, *kernels.Pool) {
	t.Helper()
	relu, fc := model.Layer{Kind: model.ReLU}, func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }
	a := &model.Architecture{Name: "mid", Input: model.Shape{C: 2, H: 3, W: 2}}
	if normalize {
		a.Layers = append(a.Layers, model.Layer{Kind: model.Normalize, Mean: []float32{0.4, 0.6}, Std: []float32{0.3, 0.25}})
	}
	a.Layers = append(a.Layers, fc(16), relu, fc(12), relu, fc(3))
	n, err := net.Compile(plain.Random(a, rand.New(rand.NewPCG(3, 9))), net.Options{Backward: true})
	require.NoError(t, err)
	pool := kernels.NewPool(2)
	t.Cleanup(pool.Close)
	v, err := verify.New(n, pool)
	require.NoError(t, err)
	return n, v, pool
}

// labelled returns images that are random, labelled by the network but for each fourth.
func labelled(t *testing.T, n *net.Network, pool *kernels.Pool, count int) ([]float32, []int) {
	t.Helper()
	r := rand.New(rand.NewPCG(8, 8))
	x := make([]float32, count*n.Input().Size())
	for k := range x {
		x[k] = r.Float32()
	}
	y, err := Predict(context.Background(), n, pool, x, count)
	require.NoError(t, err)
	for i := 0; i < count; i += 4 {
		y[i] = (y[i] + 1) % n.Classes()
	}
	return x, y
}

// TestCompletion: without a limit of time each ball of Linf is decided, of the other norms some
// (bounds know an L2 or L1 ball and the box of pixels, but not what they have in common). What
// is proved no attack finds.
func TestCompletion(t *testing.T) {
	ctx := context.Background()
	for _, normalize := range []bool{false, true} {
		n, v, pool := mid(t, normalize)
		const count = 24
		x, y := labelled(t, n, pool, count)
		for _, ball := range []net.Ball{
			{Norm: net.Linf, Eps: net.MustEpsilon("0.15")},
			{Norm: net.L2, Eps: net.MustEpsilon("0.4")},
			{Norm: net.L1, Eps: net.MustEpsilon("0.65")},
		} {
			crown := verify.Options{Method: verify.MethodCROWN, Ladder: true}
			var o CompleteOptions
			if ball.Norm != net.Linf {
				o.Branch.Parts = 1000
			}
			c, err := NewCompletion(n, v, pool, o)
			require.NoError(t, err)
			p, err := NewProving(v, x, y, ProveOptions{Norm: ball.Norm, Eps: ball.Eps, How: crown, Complete: c, Block: 7})
			require.NoError(t, err)
			require.NoError(t, p.Run(ctx))
			require.Equal(t, count, p.Whole)
			a, err := attack.New(n, attack.Config{Ball: ball, Method: attack.Auto{}}, pool)
			require.NoError(t, err)
			var res attack.Result
			require.NoError(t, a.Run(ctx, attack.Batch{X: x, Y: y}, &res))
			split, fooled := 0, 0
			for i := range count {
				require.True(t, p.Done[i])
				if ball.Norm == net.Linf {
					require.NotEqual(t, Undecided, p.AnswerOf(i), "image %d", i)
				}
				if res.Success[i] || !res.Clean[i] {
					require.NotEqual(t, Holds, p.AnswerOf(i), "%v, image %d", ball, i)
				}
				if p.Proved[i] && p.Method[i] == verify.MethodBaB {
					split++
					require.GreaterOrEqual(t, p.Margin[i], 0.0)
				}
				if p.Fooled[i] && i%4 != 0 {
					fooled++
				}
				one, _, err := c.Decide(ctx, ball, x[i*p.size:(i+1)*p.size], y[i], i)
				require.NoError(t, err)
				require.Equal(t, p.AnswerOf(i), one)
			}
			require.Positive(t, split, "%v: no ball is left to branch and bound", ball)
			require.Positive(t, fooled, "%v: no ball is attacked", ball)
		}
	}
}

// TestCompletionOfRadii: brackets close, and never cross.
func TestCompletionOfRadii(t *testing.T) {
	ctx := context.Background()
	n, v, pool := mid(t, false)
	const count = 8
	x, y := labelled(t, n, pool, count)
	resolution, most := net.MustEpsilon("1/200"), net.MustEpsilon("0.6")
	search, err := attack.NewRadiusSearch(n, attack.Config{Ball: net.Ball{Norm: net.Linf}, Method: attack.PGD{Steps: 5, Seed: 1}}, resolution, most, pool)
	require.NoError(t, err)
	for _, s := range []*attack.RadiusSearch{search, nil} {
		c, err := NewCompletion(n, v, pool, CompleteOptions{Branch: branch.Options{Parts: 2000}})
		require.NoError(t, err)
		p, err := NewProving(v, x, y, ProveOptions{
			Resolution: resolution, Max: most, Search: s, Complete: c, Block: 3,
			How: verify.Options{Method: verify.MethodCROWN, Ladder: true},
		})
		require.NoError(t, err)
		require.NoError(t, p.Run(ctx))
		require.True(t, p.Attacks())
		closer := 0
		for i := range count {
			if i%4 == 0 {
				require.Equal(t, -1, p.Steps[i])
				require.False(t, p.Proved[i])
				continue
			}
			high := p.Attacked[i]
			if high < 0 {
				high = 121
			}
			require.Less(t, p.Steps[i], high, "image %d", i)
			require.GreaterOrEqual(t, p.Steps[i], p.Before.Steps[i])
			if p.Steps[i] > p.Before.Steps[i] {
				closer++
			}
		}
		require.Positive(t, closer)
	}
}

// TestCompletionEnds: what time or ^C cut short is open or not done; nonsense is refused.
func TestCompletionEnds(t *testing.T) {
	n, v, pool := mid(t, false)
	x, y := labelled(t, n, pool, 8)
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.15")}
	c, err := NewCompletion(n, v, pool, CompleteOptions{Timeout: time.Nanosecond})
	require.NoError(t, err)
	require.Equal(t, time.Nanosecond, c.Timeout())
	o := ProveOptions{Norm: ball.Norm, Eps: ball.Eps, Complete: c, Block: 8}
	p, err := NewProving(v, x, y, o)
	require.NoError(t, err)
	require.NoError(t, p.Run(context.Background()))
	open := 0
	for i := range y {
		require.True(t, p.Done[i])
		if p.AnswerOf(i) == Undecided {
			open++
		}
	}
	require.Positive(t, open)

	ctx, cancel := context.WithCancel(context.Background())
	o.Complete, err = NewCompletion(n, v, pool, CompleteOptions{Branch: branch.Options{Progress: func(branch.Progress) { cancel() }}})
	require.NoError(t, err)
	p, err = NewProving(v, x, y, o)
	require.NoError(t, err)
	require.ErrorIs(t, p.Run(ctx), context.Canceled)
	require.Contains(t, p.Done, false)

	other, _, _ := mid(t, true)
	_, err = NewCompletion(other, v, pool, CompleteOptions{})
	require.ErrorContains(t, err, "another network")
	_, err = NewCompletion(n, v, pool, CompleteOptions{Timeout: -1})
	require.ErrorContains(t, err, "timeout")
	_, err = NewCompletion(n, v, pool, CompleteOptions{Attack: attack.Spatial{}})
	require.ErrorContains(t, err, "knows no ball")
	_, err = ParseProofMethod("crowm")
	require.ErrorContains(t, err, "alpha-crown, bab")
	m, err := ParseProofMethod("bab")
	require.NoError(t, err)
	require.Equal(t, verify.MethodBaB, m)
	require.Error(t, v.Certify(context.Background(), verify.Options{Method: m}, ball, verify.Batch{X: x, Y: y}, &verify.Result{}))
}
