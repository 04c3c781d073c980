package audit

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset"
	_ "github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// TestLatticeFindsAsMuch: on MNIST, an attack on 8-bit images fools about as many
// as one on any, where the ball ends at levels. Rounding what that finds does not
// keep all where the ball ends between levels.
func TestLatticeFindsAsMuch(t *testing.T) {
	n := testsize.Of(200, 20)
	set, err := dataset.Load("builtin:mnist")
	require.NoError(t, err)
	m, err := zoo.Load("mnist-small-standard")
	require.NoError(t, err)
	target, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	pool := kernels.NewPool(2)
	defer pool.Close()
	b := attack.Batch{X: set.X[:n*784], Y: set.Y[:n]}
	for _, c := range []struct {
		norm net.Norm
		eps  string
	}{{net.Linf, "0.0628"}, {net.Linf, "0.102"}, {net.Linf, "0.1"}, {net.L2, "1"}} {
		ball := net.Ball{Norm: c.norm, Eps: net.MustEpsilon(c.eps)}
		var found [2]attack.Result
		var kept [2]Rounding
		for k, bits := range []int{0, 8} {
			a, err := attack.New(target, attack.Config{Ball: ball, Method: attack.APGD{Steps: 25, Seed: 1}, Lattice: bits, Recheck: true}, pool)
			require.NoError(t, err)
			require.NoError(t, a.Run(context.Background(), b, &found[k]))
			kept[k], err = Round(context.Background(), target, pool, ball, b, &found[k], 8)
			require.NoError(t, err)
		}
		t.Logf("%v: float %+v, lattice %+v", ball, kept[0], kept[1])
		require.Equal(t, Rounding{Fooled: kept[1].Fooled, Kept: kept[1].Fooled}, kept[1], "what is on the lattice stays")
		require.Greater(t, kept[1].Fooled, n/10)
		if c.eps == "0.1" { // 25.5 levels
			require.Zero(t, kept[0].Kept)
		} else {
			require.InDelta(t, kept[0].Fooled, kept[1].Fooled, 2) // 1,000 images: docs/attacks.md
		}
		require.GreaterOrEqual(t, kept[0].Correct+kept[0].Outside+kept[0].Kept, kept[0].Fooled)
	}
}

// TestRoundTargets: with targets, only the target counts.
func TestRoundTargets(t *testing.T) {
	set, err := dataset.Load("builtin:mnist")
	require.NoError(t, err)
	m, err := zoo.Load("mnist-small-standard")
	require.NoError(t, err)
	target, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	res := &attack.Result{Adv: set.X[:2*784], Success: []bool{true, true}}
	b := attack.Batch{X: set.X[:2*784], Y: []int{0, 0}, Targets: []int{set.Y[0], set.Y[1] + 1}}
	got, err := Round(context.Background(), target, pool, net.Ball{Eps: net.MustEpsilon("0")}, b, res, 8)
	require.NoError(t, err)
	require.Equal(t, Rounding{Fooled: 2, Kept: 1, Correct: 1}, got)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Round(ctx, target, pool, net.Ball{}, b, res, 8)
	require.ErrorIs(t, err, context.Canceled)
	res.Success = []bool{false, false}
	got, err = Round(ctx, target, pool, net.Ball{}, b, res, 8)
	require.NoError(t, err)
	require.Zero(t, got)
}

func TestGrid(t *testing.T) {
	linf := func(eps string) net.Ball { return net.Ball{Norm: net.Linf, Eps: net.MustEpsilon(eps)} }
	on := []float32{0, 1, 100. / 255, 0, 8. / 255, 0.2} // 0.2 is 51/255
	require.Equal(t, Grid{Levels: 8}, NewGrid(linf("0.0314"), 8, on, 2))
	require.Equal(t, Grid{Levels: 7}, NewGrid(linf("0.0313"), 8, on, 2))
	require.Equal(t, Grid{Levels: 8}, NewGrid(attack.LatticeBall(linf("8/255"), 8), 8, on, 2))
	off := append([]float32{0.5 / 255, 0, 0}, on[:3]...)
	require.Equal(t, Grid{Off: 1, Out: 1}, NewGrid(linf("0.0019"), 8, off, 2))
	require.Equal(t, Grid{Off: 1}, NewGrid(linf("0.002"), 8, off, 2))
	require.Equal(t, Grid{Off: 1, Out: 1}, NewGrid(net.Ball{Norm: net.L1, Eps: net.MustEpsilon("0.0019")}, 8, off, 2))
	require.Equal(t, Grid{}, NewGrid(net.Ball{Norm: net.L2, Eps: net.MustEpsilon("8/255")}, 8, on, 2))
}
