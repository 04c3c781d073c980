package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/asm"
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
						from, to := wg.Channels(task)
						wg.Apply(sc, wantW[from*s.FanIn():to*s.FanIn()], wantB[from:to], dy, x, groups, task)
						for _, pixels := range []int{1, 7, 40} {
							for i := range dw[from*s.FanIn() : to*s.FanIn()] {
								dw[from*s.FanIn()+i] = float32(math.NaN())
							}
							sc.grad = asm.GradArgs{OutStride: 4 * s.FanIn()}
							p := gradPart{wg, sc, &sc.grad, dw[from*s.FanIn() : to*s.FanIn()], db[from:to], dy, x, from}
							p.conv(groups, pixels)
						}
					}
					requireBits(t, wantW, dw)
					requireBits(t, wantB, db)
					requireGuards(t, allW)
					requireGuards(t, allB)
					_, first := wg.Channels(0)
					require.Zero(t, testing.AllocsPerRun(2, func() { wg.Apply(sc, dw[:first*s.FanIn()], db[:first], dy, x, groups, 0) }))
				})
			}
		}
	}
}
