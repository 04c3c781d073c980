package verify

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// nearCorner draws a point of a box, most of whose inputs are at the end where a bound is attained
// or near to it.
func nearCorner(lo, hi []float32, atLow []bool, r *rand.Rand) []float32 {
	x := make([]float32, len(lo))
	for k := range x {
		s := 0.0
		if r.IntN(4) == 0 {
			s = r.Float64()
		}
		if !atLow[k] {
			s = 1 - s
		}
		x[k] = max(lo[k], min(hi[k], float32(float64(lo[k])+s*(float64(hi[k])-float64(lo[k])))))
	}
	return x
}

// TestClip: every evaluation, exact or executed, in which a row is not positive has its input in the
// box that Clip leaves. Half of that box would be too little.
func TestClip(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(11, 5))
	archs := append(layerArchitectures(), deeper()...)
	failing, narrower, tooNarrow, normalized := 0, 0, 0, 0
	for round := range max(1000, trials(t, 1000)) { // few of them fail where inputs are normalized
		a := archs[round%len(archs)]
		if round%3 == 1 {
			a = randomLayers(r)
		}
		m := newLayers(t, a, uint64(round), r)
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		v, err := New(n, pool)
		v.FirstPlanes()
		require.NoError(t, err)
		size := a.Input.Size()
		g := Around(net.Ball{Eps: net.MustEpsilon([]string{"0.1", "1/3", "0.003"}[r.IntN(3)])}, randomImage(size, r))
		p := randomProperty(a.Classes(), r)
		rows := len(p.C) / a.Classes()
		bound := func() []*Leaf {
			frame, err := v.Root(g, p)
			require.NoError(t, err)
			require.NoError(t, v.BoundDomains(t.Context(), Options{Method: Method(1 + r.IntN(3)), Iterations: 2}, 0, frame))
			if frame.Empty() {
				return nil
			}
			var leaves []*Leaf
			for k := range rows {
				leaves = append(leaves, NewLeaf(frame, Target{Row: k}))
			}
			require.NoError(t, v.BoundLeaves(t.Context(), LeafOptions{Steps: r.IntN(3), Candidates: 1}, leaves...))
			return leaves
		}
		p.D = make([]float32, rows)
		for k, l := range bound() {
			p.D[k] = -l.Low - 1 // they are open
		}
		for k, l := range bound() {
			width := float32(0)
			for _, s := range l.Spread {
				width += s
			}
			p.D[k] -= l.Low + float32(r.Float64())*width // a part of the row's range is below 0
		}
		for _, l := range bound() {
			lo, hi, clipped := l.Clip()
			if l.Low > 0 || !clipped {
				continue
			}
			narrower++
			from, to, err := g.Box(n)
			require.NoError(t, err)
			atLow := make([]bool, size)
			for k := range atLow {
				atLow[k] = hi[k] < to[k] || lo[k] == from[k]
			}
			for range 30 {
				x := nearCorner(from, to, atLow, r)
				if !g.Ball.Contains(g.Centre, x) {
					continue
				}
				for _, e := range evaluations(n, x, r) {
					if e.row(p, l.Target.Row, n.Output()).Sign() > 0 {
						continue
					}
					failing++
					if mean, _ := n.Normalization(); mean != nil {
						normalized++
					}
					half := false
					for k := range x {
						require.True(t, lo[k] <= x[k] && x[k] <= hi[k], "%s %s: input %d at %v, the box has %v … %v", a.CanonicalJSON(), e.how, k, x[k], lo[k], hi[k])
						middle := (lo[k] + hi[k]) / 2
						half = half || hi[k] < to[k] && x[k] > middle || lo[k] > from[k] && x[k] < middle
					}
					if half {
						tooNarrow++
					}
				}
			}
		}
	}
	t.Logf("%d boxes narrower, %d evaluations in them in which rows fail, %d of normalized inputs; %d not in half of the box", narrower, failing, normalized, tooNarrow)
	require.Positive(t, min(narrower, failing, normalized, tooNarrow))
}
