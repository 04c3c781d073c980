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

// smallShapes have outputs and inputs around the edges of the weight tiles.
func smallShapes() []Shape {
	list := []Shape{FC(9, 16), FC(9, 17), FC(5, 31), FC(5, 32), FC(7, 33), FC(3, 48), FC(6, 50), {2, 3, 3, 35, 2, 2, 1, 1, 1, 1}}
	for _, c := range []int{1, 3, 5, 8, 9, 16, 17, 24, 33} {
		list = append(list, FC(c, 3), FC(3, c),
			Shape{2, 5, 6, c, 3, 3, 1, 1, 1, 1}, Shape{c, 5, 6, 2, 3, 3, 1, 1, 1, 1},
			Shape{2, 7, 6, c, 2, 3, 2, 3, 0, 1}, Shape{c, 7, 6, 2, 2, 3, 2, 3, 0, 1},
			Shape{c, 6, 6, 2, 1, 1, 2, 2, 0, 0}) // inputs without taps
	}
	return append(list, shapes...)
}

// smallCase is a map on lanes and the same one on single images.
type smallCase struct {
	name    string
	linear  *Linear
	small   *Small
	outputs int // channels of a bias
}

func smallCases(isa *ISA, s Shape) []smallCase {
	return []smallCase{
		{"forward", NewForward(isa, s), NewSmall(isa, s), s.OutC},
		{"adjoint", NewAdjoint(isa, s), NewSmallAdjoint(isa, s), s.InC},
	}
}

// TestSmallMeaning: single images give the same bits as lanes, for some numbers
// of images and parts, and nothing is read or stored outside.
func TestSmallMeaning(t *testing.T) {
	for _, isa := range Available() {
		for _, s := range smallShapes() {
			t.Run(fmt.Sprintf("%s/%v", isa.Name(), s), func(t *testing.T) {
				r := rand.New(rand.NewPCG(5, 6))
				w := make([]float32, s.Weights())
				fillRandom(r, w)
				for _, c := range smallCases(isa, s) {
					b := make([]float32, c.outputs)
					fillRandom(r, b)
					for _, abs := range []bool{false, true} {
						c.linear.Pack(w, abs)
						c.linear.SetBias(b)
						c.small.Pack(w, abs)
						c.small.SetBias(b)
						most := 7 // all kernels by pixels
						if abs {
							most = 1
						}
						for images := 1; images <= most; images++ {
							c.require(t, r, images, Epilogue(images%3))
						}
						c.require(t, r, 1, Gate)
					}
					c.requireBoth(t, r, w, b)
				}
			})
		}
	}
}

func (c *smallCase) require(t *testing.T, r *rand.Rand, images int, e Epilogue) {
	t.Helper()
	sc := new(Scratch)
	_, x := guarded(images * c.linear.In())
	_, gate := guarded(images * c.linear.Out())
	fillRandom(r, x)
	fillRandom(r, gate)
	want := make([]float32, Groups(images)*c.linear.Out()*Lanes)
	c.linear.Apply(sc, want, toLanes(x, c.linear.In(), images), Groups(images), e, toLanes(gate, c.linear.Out(), images))
	for _, parts := range []int{1, c.small.Parts(3)} {
		all, out := guarded(images * c.linear.Out())
		for part := range parts {
			c.small.Apply(sc, out, x, images, e, gate, part, parts)
		}
		have := toLanes(out, c.linear.Out(), images)
		for i := range have { // lanes without an image hold what they hold
			if i%Lanes+i/(c.linear.Out()*Lanes)*Lanes >= images {
				have[i] = want[i]
			}
		}
		requireBits(t, want, have)
		requireGuards(t, all)
	}
}

// requireBoth compares ApplyBoth with two maps.
func (c *smallCase) requireBoth(t *testing.T, r *rand.Rand, w, b []float32) {
	t.Helper()
	sc := new(Scratch)
	e := make([]float32, len(b))
	fillRandom(r, e)
	padded := c.small.PadBias(e)
	for images := 1; images <= 3; images++ {
		_, x := guarded(images * c.small.In())
		_, y := guarded(images * c.small.In())
		fillRandom(r, x)
		fillRandom(r, y)
		wantC, wantR := make([]float32, images*c.small.Out()), make([]float32, images*c.small.Out())
		c.small.Pack(w, true)
		c.small.SetBias(e)
		c.small.Apply(sc, wantR, y, images, None, nil, 0, 1)
		c.small.Pack(w, false)
		c.small.SetBias(b)
		c.small.Apply(sc, wantC, x, images, None, nil, 0, 1)
		for _, parts := range []int{1, c.small.Parts(3)} {
			allC, haveC := guarded(images * c.small.Out())
			allR, haveR := guarded(images * c.small.Out())
			for part := range parts {
				c.small.ApplyBoth(sc, haveC, x, haveR, y, padded, images, part, parts)
			}
			requireBits(t, wantC, haveC)
			requireBits(t, wantR, haveR)
			requireGuards(t, allC)
			requireGuards(t, allR)
		}
	}
}

// TestSmallAtTheEnd: what lies behind an image's last value need not be memory.
func TestSmallAtTheEnd(t *testing.T) {
	for _, isa := range Available() {
		for _, s := range []Shape{{3, 5, 5, 11, 3, 3, 1, 1, 1, 1}, {11, 5, 5, 3, 2, 2, 2, 2, 0, 0}, FC(5, 19), FC(19, 5)} {
			for _, c := range smallCases(isa, s) {
				x, out, gate := pageEnd(t, c.small.In()), pageEnd(t, c.small.Out()), pageEnd(t, c.small.Out())
				for _, e := range []Epilogue{None, ReLU, Gate} {
					c.small.Apply(new(Scratch), out, x, 1, e, gate, 0, 1)
				}
			}
		}
	}
}

func TestSmallDoesNotAllocate(t *testing.T) {
	for _, isa := range Available() {
		for _, c := range smallCases(isa, Shape{2, 6, 6, 21, 3, 3, 1, 1, 1, 1}) {
			sc, x, y, gate := new(Scratch), Alloc(3*c.small.In()), Alloc(3*c.small.Out()), Alloc(3*c.small.Out())
			e := c.small.PadBias(make([]float32, c.outputs))
			require.Zero(t, testing.AllocsPerRun(10, func() {
				c.small.Apply(sc, y, x, 3, Gate, gate, 0, 1)
				c.small.ApplyBoth(sc, y, x, gate, x, e, 3, 0, 1)
			}))
		}
	}
}
