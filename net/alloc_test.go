package net

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/epsball/epsball/kernels"
	"github.com/stretchr/testify/require"
)

// TestPassesDoNotAllocate: not one byte, once everything is made.
func TestPassesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, isa := range kernels.Available() {
		for _, a := range slices.Concat(smallNets()[2:5], smallNets()[7:9]) {
			n := compile(t, randomModel(t, a, 1), isa.Name())
			const images = 50 // several chunks for each worker
			groups := kernels.Groups(images)
			x := randomImages(rand.New(rand.NewPCG(1, 1)), images, a.Input.Size())
			dst := make([]float32, images*n.Classes())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for workers := 1; workers <= 2; workers++ {
				pool := kernels.NewPool(workers)
				defer pool.Close()
				r := n.NewRunner(pool)
				var err error
				require.Zero(t, testing.AllocsPerRun(20, func() { err = r.Logits(ctx, dst, x, images) }), "%d workers", workers)
				require.NoError(t, err)
			}
			w, wg := n.NewWorkspace(images, true), n.NewWeightGradient()
			packed := kernels.Alloc(groups * a.Input.Size() * kernels.Lanes)
			d, z := make([]float32, n.Classes()), make([]float32, n.Classes())
			require.Zero(t, testing.AllocsPerRun(20, func() {
				PackLanes(packed, x, a.Input, images)
				logits := w.Forward(packed, groups)
				for i := range images {
					g, l := i/kernels.Lanes, i%kernels.Lanes
					LaneGroups.Gather(z, Group(logits, n.Classes(), g), l)
					for _, loss := range allLosses {
						loss.loss.Gradient(d, z, 0, Untargeted)
						loss.loss.Gradient(d, z, 0, 1)
					}
					LaneGroups.Scatter(Group(w.LogitGradient(), n.Classes(), g), d, l)
				}
				w.Backward(groups)
				for task := range wg.Tasks() {
					wg.Apply(w.Scratch(), w, groups, task)
				}
			}))
			lo, hi := make([]float32, len(x)), make([]float32, len(x))
			box := Ball{Linf, MustEpsilon("0.1")}.Box()
			require.Zero(t, testing.AllocsPerRun(20, func() {
				box.Inner(lo, hi, x)
				box.Outer(lo, hi, x)
				_ = n.CheckImages(x, images)
			}))
		}
	}
}
