package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// toLanes copies [image][element] to [group][element][lane].
func toLanes(x []float32, size, images int) []float32 {
	out := make([]float32, Groups(images)*size*Lanes)
	for n := range images {
		for k := range size {
			out[(n/Lanes*size+k)*Lanes+n%Lanes] = x[n*size+k]
		}
	}
	return out
}

// TestSmallMeaning: single images give the same bits as lanes, for any number
// of images and parts, and nothing is stored outside.
func TestSmallMeaning(t *testing.T) {
	more := []Shape{FC(9, 16), FC(9, 17), FC(5, 31), FC(5, 32), FC(7, 33), FC(3, 48), FC(6, 50), {2, 3, 3, 35, 2, 2, 1, 1, 1, 1}}
	for _, isa := range Available() {
		for _, s := range append(more, shapes...) {
			t.Run(fmt.Sprintf("%s/%v", isa.Name(), s), func(t *testing.T) {
				r := rand.New(rand.NewPCG(5, 6))
				w, b := make([]float32, s.Weights()), make([]float32, s.OutC)
				fillRandom(r, w)
				fillRandom(r, b)
				lin, small, sc := NewForward(isa, s), NewSmall(isa, s), new(Scratch)
				for _, abs := range []bool{false, true} {
					lin.Pack(w, abs)
					lin.SetBias(b)
					small.Pack(w, abs)
					small.SetBias(b)
					for images := 1; images <= 7; images++ {
						_, x := guarded(images * s.In())
						fillRandom(r, x)
						want := make([]float32, Groups(images)*s.Out()*Lanes)
						lin.Apply(sc, want, toLanes(x, s.In(), images), Groups(images), ReLU, nil)
						for parts := 1; parts <= small.Parts(4); parts++ {
							all, out := guarded(images * s.Out())
							for part := range parts {
								small.Apply(sc, out, x, images, ReLU, part, parts)
							}
							have := toLanes(out, s.Out(), images)
							for i := range have { // lanes without an image hold what they hold
								if i%Lanes+i/(s.Out()*Lanes)*Lanes >= images {
									have[i] = want[i]
								}
							}
							requireBits(t, want, have)
							requireGuards(t, all)
						}
					}
				}
			})
		}
	}
}

func TestSmallDoesNotAllocate(t *testing.T) {
	for _, isa := range Available() {
		s := Shape{2, 6, 6, 21, 3, 3, 1, 1, 1, 1}
		l, sc := NewSmall(isa, s), new(Scratch)
		x, y := Alloc(3*s.In()), Alloc(3*s.Out())
		require.Zero(t, testing.AllocsPerRun(10, func() { l.Apply(sc, y, x, 3, ReLU, 0, 1) }))
	}
}
