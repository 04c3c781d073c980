package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWeightGradBlocks: taking the pixels in blocks keeps every chain, whatever
// the shape: blocks of rows and of groups, padding, strides, narrow channels.
func TestWeightGradBlocks(t *testing.T) {
	for _, isa := range Available() {
		for _, s := range append([]Shape{{2, 8, 8, 5, 3, 3, 1, 1, 1, 1}, {3, 16, 16, 6, 3, 3, 1, 1, 1, 1}}, shapes...) {
			if s.MACs() > 200000 {
				continue
			}
			for groups := 1; groups <= 3; groups++ {
				t.Run(fmt.Sprintf("%s/%v/g%d", isa.Name(), s, groups), func(t *testing.T) {
					r := rand.New(rand.NewPCG(3, 4))
					_, x := guarded(groups * s.In() * Lanes)
					_, dy := guarded(groups * s.Out() * Lanes)
					fillRandom(r, x)
					fillRandom(r, dy)
					wantW, wantB := make([]float32, s.Weights()), make([]float32, s.OutC)
					allW, dw := guarded(len(wantW))
					allB, db := guarded(len(wantB))
					wg, sc := NewWeightGrad(isa, s), new(Scratch)
					for task := range wg.Tasks() {
						wg.Apply(sc, wantW, wantB, dy, x, groups, task)
						wg.applyBlocks(sc, dw, db, dy, x, groups, task)
					}
					requireBits(t, wantW, dw)
					requireBits(t, wantB, db)
					requireGuards(t, allW)
					requireGuards(t, allB)
					require.Zero(t, testing.AllocsPerRun(2, func() { wg.applyBlocks(sc, dw, db, dy, x, groups, 0) }))
				})
			}
		}
	}
}
