package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/asm"
)

// TestConvTiles holds every conv kernel of every set, chosen by it or not, to
// the generic one: misaligned, with skips between segments and tiles.
func TestConvTiles(t *testing.T) {
	const (
		maxIn, maxOut = 4096, 4 * 4 * 8 // float32 of one pixel's input and output
		maxBatches    = 3
	)
	r := rand.New(rand.NewPCG(4, 4))
	_, in := guarded(asm.MaxPixels * maxIn)
	_, w := guarded(16 << 10)
	_, bias := guarded(16)
	_, gate := guarded(maxBatches * asm.MaxPixels * maxOut)
	for _, s := range [][]float32{in, w, bias, gate} {
		fillRandom(r, s)
	}
	allOut, out := guarded(maxBatches * asm.MaxPixels * maxOut)
	want := make([]float32, len(out))
	tested := map[string]bool{}
	for _, isa := range testSets() {
		for ch := 1; ch <= tileChannels; ch++ {
			for px := 1; px <= asm.MaxPixels; px++ {
				f := isa.conv[ch].at[px]
				if f == nil || isa == generic {
					continue
				}
				tested[fmt.Sprint(isa.name, ch, px)] = true
				for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 13} {
					for trial := range 12 {
						a := &new(Scratch).conv // in the heap
						a.Tiles, a.Segs, a.SegLen = 1+trial%4, 1+r.IntN(3), k*vecBytes
						a.SegSkip, a.WSegSkip, a.WTileSkip = r.IntN(3)*vecBytes, 4*r.IntN(5), 4*r.IntN(5)
						a.W, a.Bias, a.Epilogue = base(w), base(bias), trial%3
						batches := 1 + r.IntN(maxBatches)
						table := make([]pixel, batches*px)
						for i := range table {
							table[i] = pixel{int32(r.IntN(asm.MaxPixels) * maxIn / Lanes), int32(i * maxOut / Lanes)}
						}
						shift := r.IntN(64)
						for _, k := range []struct {
							f   func(*asm.ConvArgs)
							out []float32
						}{{genericConv(ch, px), want}, {f, out}} {
							clear(k.out)
							fillConv(a, table, px, in[shift:], k.out)
							a.GateOff = int(uintptr(base(gate)) - uintptr(base(k.out)))
							k.f(a)
						}
						requireBits(t, want, out)
						requireGuards(t, allOut)
					}
				}
			}
		}
		for ch := range isa.conv {
			for left := range 3 * asm.MaxPixels {
				if ch > 0 && left > 0 {
					require.NotEmpty(t, isa.conv[ch].pixels)
					require.NotNil(t, isa.conv[ch].at[isa.conv[ch].next(left)], "%s: %d channels, %d pixels", isa.name, ch, left)
				}
			}
		}
	}
	t.Log(len(tested), "kernels")
}

// fillConv gives a the pixels of table, px a batch.
func fillConv(a *asm.ConvArgs, table []pixel, px int, in, out []float32) {
	a.InBase, a.OutBase = base(in), base(out)
	for j, p := range table[:px] {
		a.In[j], a.Out[j] = unsafe.Add(a.InBase, int(p.in)*vecBytes), unsafe.Add(a.OutBase, int(p.out)*vecBytes)
	}
	a.Batches, a.Table, a.Next = len(table)/px, unsafe.Pointer(unsafe.SliceData(table)), px*int(unsafe.Sizeof(pixel{}))
}

// TestGradTiles does the same for the gradients.
func TestGradTiles(t *testing.T) {
	const maxX, strideOut = 8192, 64
	r := rand.New(rand.NewPCG(5, 5))
	_, x := guarded(maxX)
	_, dy := guarded(maxX)
	fillRandom(r, x)
	fillRandom(r, dy)
	allOut, out := guarded(tileChannels * strideOut)
	want := make([]float32, len(out))
	for _, isa := range testSets() {
		for ch := 1; ch <= tileChannels; ch++ {
			for k := 1; k <= gradWeights; k++ {
				f := isa.grads().kernels[ch][k]
				if f == nil || isa == generic {
					continue
				}
				for trial := range 40 {
					a := &new(Scratch).grad
					a.Tiles, a.Groups, a.Rows, a.Cols = 1+trial%4, 1+r.IntN(2), 1+r.IntN(3), 1+r.IntN(4)
					a.DYCol, a.DYRow, a.DYGroup = r.IntN(6)*vecBytes, r.IntN(6)*vecBytes, r.IntN(6)*vecBytes
					a.XCol, a.XRow, a.XGroup = r.IntN(6)*vecBytes, r.IntN(6)*vecBytes, r.IntN(6)*vecBytes
					a.X, a.DY, a.OutStride = base(x), base(dy), 4*strideOut
					clear(want)
					clear(out)
					a.Out = base(want)
					genericGrad(ch, k)(a)
					a.Out = base(out)
					f(a)
					requireBits(t, want, out)
					requireGuards(t, allOut)
				}
			}
			list := isa.grads().weights[ch]
			require.Equal(t, 1, list[len(list)-1])
			last := math.MaxInt
			for _, k := range list {
				require.Less(t, k, last)
				last = k
				require.NotNil(t, isa.grads().kernels[ch][k])
			}
		}
	}
}

// TestConvPair holds the kernel of one pixel and pairs of tiles to the generic
// one, which is made of single tiles.
func TestConvPair(t *testing.T) {
	const maxIn, maxOut = 1024, 3 * 2 * tileChannels * Lanes
	r := rand.New(rand.NewPCG(6, 6))
	_, in := guarded(maxIn)
	_, w := guarded(8 << 10)
	_, bias := guarded(3 * 2 * tileChannels)
	_, gate := guarded(maxOut)
	for _, s := range [][]float32{in, w, bias, gate} {
		fillRandom(r, s)
	}
	allOut, out := guarded(maxOut)
	want := make([]float32, len(out))
	for _, isa := range testSets() {
		for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 13} {
			for trial := range 12 {
				a := &new(Scratch).conv // in the heap
				a.Tiles, a.Segs, a.SegLen = 1+trial%3, 1+r.IntN(3), k*vecBytes
				a.SegSkip, a.WSegSkip, a.WTileSkip = r.IntN(3)*vecBytes, 4*r.IntN(5), 4*r.IntN(900)
				a.WTile = 4 * r.IntN(800)
				a.W, a.Bias, a.Epilogue = base(w), base(bias), trial%3
				for _, f := range []struct {
					run func(*asm.ConvArgs)
					out []float32
				}{{genericConvPair, want}, {isa.convPair, out}} {
					clear(f.out)
					a.Batches, a.In[0], a.Out[0] = 1, base(in), base(f.out)
					a.GateOff = int(uintptr(base(gate)) - uintptr(base(f.out)))
					f.run(a)
				}
				requireBits(t, want, out)
				requireGuards(t, allOut)
			}
		}
	}
}
