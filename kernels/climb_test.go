package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestClimbSlopes tries windows of every shape, with values that are hard to round.
func TestClimbSlopes(t *testing.T) {
	// One lane of a neuron, as ClimbSlopes says it.
	reference := func(z, v, alpha, m, s *float32, p []float32, k ClimbConstants) {
		x, t := *z, p[RelaxIntercept]
		if !(*v > 0) || !(t > 0) {
			upper := float32(p[RelaxUpper] * x)
			*z = upper + t
			return
		}
		*z = float32(*alpha * x)
		grad := float32(*v * x)
		decayed, share := float32(*m*k.Beta1), float32(grad*k.Rest1)
		*m = decayed + share
		square := float32(grad * grad)
		decayed, share = float32(*s*k.Beta2), float32(square*k.Rest2)
		*s = decayed + share
		root := float32(math.Sqrt(float64(float32(*s * k.Scale))))
		step := float32(*m*k.Rate) / (root + k.Tiny)
		switch to := *alpha + step; {
		case !(to > 0):
			*alpha = 0
		case to > 1:
			*alpha = 1
		default:
			*alpha = to
		}
	}
	constants := []ClimbConstants{
		{0.9, 0.1, 0.98, 0.02, 0.25, 50, 1e-12},
		{0.9, 0.1, 0.98, 0.02, 0.01, 1, 1e-12},
		{0.5, 0.5, 0.75, 0.25, float32(math.Inf(1)), 0x1p-149, 0},
	}
	sc := new(Scratch)
	for _, isa := range Available() {
		for _, special := range []bool{false, true} {
			r := rand.New(rand.NewPCG(7, 8))
			fill := fillRandom
			if special {
				fill = fillSpecial
			}
			for i, run := range []RelaxRun{{0, 3, 4}, {1, 1, 1}, {1, 3, 9}, {3, 5, 5}, {2, 7, 9}, {4, 64, 80}, {2, 300, 301}, {5, 100, 100}} {
				size := run.Rows * run.N * Lanes
				reach := max(0, (run.Rows-1)*run.Stride+run.N)
				var all, bufs [][]float32
				for _, n := range []int{size, size, size, size, size, reach * RelaxParams} {
					a, b := guarded(n)
					fill(r, b)
					all, bufs = append(all, a), append(bufs, b)
				}
				if !special {
					for k, v := range bufs[4] {
						bufs[4][k] = abs32(v)
					}
				}
				want, k := copies(bufs), constants[i%len(constants)]
				for y := range run.Rows {
					for x := range run.N {
						for l := range Lanes {
							j := (y*run.N+x)*Lanes + l
							reference(&want[0][j], &want[1][j], &want[2][j], &want[3][j], &want[4][j], want[5][(y*run.Stride+x)*RelaxParams:], k)
						}
					}
				}
				isa.ClimbSlopes(sc, bufs[0], bufs[1], bufs[2], bufs[3], bufs[4], bufs[5], run, k)
				for b := range want {
					requireSameBits(t, want[b], bufs[b], fmt.Sprintf("%s: buffer %d of %v", isa.Name(), b, run))
					requireGuards(t, all[b])
				}
			}
		}
		long := make([]float32, 2*Lanes*RelaxParams)
		run := RelaxRun{1, 2, 2}
		for b := range 6 {
			args := slices.Repeat([][]float32{long}, 6)
			args[b] = long[:RelaxParams]
			require.Panics(t, func() { isa.ClimbSlopes(sc, args[0], args[1], args[2], args[3], args[4], args[5], run, constants[0]) }, b)
		}
		require.Zero(t, testing.AllocsPerRun(5, func() { isa.ClimbSlopes(sc, long, long, long, long, long, long, run, constants[0]) }))
	}
}
