package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWinograd: the same bits on every set, near the direct sums, nothing
// stored outside, for images that are no multiple of the tile.
func TestWinograd(t *testing.T) {
	for _, s := range []Shape{
		{1, 4, 4, 1, 3, 3, 1, 1, 1, 1},
		{3, 5, 6, 4, 3, 3, 1, 1, 1, 1},
		{2, 7, 9, 5, 3, 3, 1, 1, 0, 0},
		{4, 3, 3, 7, 3, 3, 1, 1, 2, 2},
		{16, 8, 8, 18, 3, 3, 1, 1, 1, 1},
		{5, 13, 2, 6, 3, 3, 1, 1, 1, 1},
	} {
		for groups := 1; groups <= 3; groups++ {
			t.Run(fmt.Sprintf("%v/g%d", s, groups), func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, 9))
				w, b := make([]float32, s.Weights()), make([]float32, s.OutC)
				_, x := guarded(groups * s.In() * Lanes)
				_, dy := guarded(groups * s.Out() * Lanes)
				for _, v := range [][]float32{w, b, x, dy} {
					fillRandom(r, v)
				}
				var first, firstBack []float32
				for _, isa := range Available() {
					sc := new(Scratch)
					fwd, adj := NewWinograd(isa, s, false), NewWinograd(isa, s, true)
					fwd.Pack(w)
					fwd.SetBias(b)
					adj.Pack(w)
					all, out := guarded(groups * s.Out() * Lanes)
					fwd.Apply(sc, out, x, groups, None, nil)
					near(t, plainForward(s, x, w, b, groups), out)
					fwd.Apply(sc, out, x, groups, ReLU, nil)
					requireGuards(t, all)
					all, back := guarded(groups * s.In() * Lanes)
					adj.Apply(sc, back, dy, groups, None, nil)
					near(t, plainAdjoint(s, dy, w, groups), back)
					ungated := append([]float32(nil), back...)
					adj.Apply(sc, back, dy, groups, Gate, x)
					for i, v := range ungated {
						ungated[i] = epilogue(v, Gate, x[i])
					}
					requireBits(t, ungated, back)
					requireGuards(t, all)
					if first == nil {
						first, firstBack = append(first, out...), append(firstBack, back...)
					}
					requireBits(t, first, out)
					requireBits(t, firstBack, back)
				}
			})
		}
	}
}

// near allows an error of 1e-5 of the largest value.
func near(t *testing.T, want, have []float32) {
	t.Helper()
	top, worst := 0.0, 0.0
	for i := range want {
		top = math.Max(top, math.Abs(float64(want[i])))
		worst = math.Max(worst, math.Abs(float64(want[i])-float64(have[i])))
	}
	require.LessOrEqual(t, worst, 1e-5*top)
}
