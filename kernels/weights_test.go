package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

var halves = []Weights{BFloat16, Float16}

// rounded returns w with each value rounded to the type, some of them subnormal in it.
func rounded(t Weights, w []float32) []float32 {
	out := make([]float32, len(w))
	for i, v := range w {
		switch {
		case i%7 == 3 && t == Float16:
			v *= 0x1p-18
		case i%11 == 5 && t == BFloat16:
			v *= 0x1p-130
		}
		b := Alloc(1)
		t.scatter(unsafe.Slice((*byte)(base(b)), 4), 1, []float32{v}, 1, 1, float32Mask(false))
		out[i] = t.at(base(b))
	}
	return out
}

// smallCases16 are maps with float32 weights, and the same in 16 bits.
func smallCases16(isa *ISA, s Shape, t Weights) []smallCase {
	return []smallCase{
		{"forward", NewForward(isa, s), NewSmall16(isa, s, t), s.OutC},
		{"adjoint", NewAdjoint(isa, s), NewSmallAdjoint16(isa, s, t), s.InC},
	}
}

// TestSmall16Meaning: weights of 16 bits give the bits of the float32 weights that
// they are, on lanes, for every tile.
func TestSmall16Meaning(t *testing.T) {
	list := []Shape{{2, 5, 6, 19, 3, 3, 1, 1, 1, 1}, {17, 7, 6, 2, 2, 3, 2, 3, 0, 1}}
	for _, c := range []int{1, 5, 8, 9, 16, 17, 24, 31, 33, 48, 50, 72} { // every rest of tiles, and of the unrolled loop
		list = append(list, FC(c, 3), FC(3, c), FC(c, 47), FC(10, c))
	}
	for _, isa := range Available() {
		for _, wt := range halves {
			require.True(t, isa.Has(wt), isa.Name())
			for _, s := range list {
				t.Run(fmt.Sprintf("%s/%v/%v", isa.Name(), wt, s), func(t *testing.T) {
					r := rand.New(rand.NewPCG(8, 9))
					w := make([]float32, s.Weights())
					fillRandom(r, w)
					w = rounded(wt, w)
					for _, c := range smallCases16(isa, s, wt) {
						b := make([]float32, c.outputs)
						fillRandom(r, b)
						for _, abs := range []bool{false, true} {
							c.linear.Pack(w, abs)
							c.linear.SetBias(b)
							c.small.Pack(w, abs)
							c.small.SetBias(b)
							for images := 1; images <= 7; images++ {
								c.require(t, r, images, Epilogue(images%3))
							}
						}
						c.requireBoth(t, r, w, b)
					}
				})
			}
		}
	}
}

// TestSmall16AllPatterns: every 16-bit pattern in memory becomes its float32, NaNs
// some NaN, in each lane of each kernel for one pixel.
func TestSmall16AllPatterns(t *testing.T) {
	one := []float32{1}
	for _, isa := range Available() {
		for _, wt := range halves {
			l := NewSmall16(isa, FC(1, 1<<16), wt)
			for shift := range 2 {
				for h := range 1 << 16 {
					at := (h + 5*shift) % (1 << 16)
					binary.NativeEndian.PutUint16(l.packed[2*at:], uint16(h))
				}
				out := make([]float32, 1<<16)
				l.Apply(new(Scratch), out, one, 1, None, nil, 0, 1)
				for at, have := range out {
					want := wt.at(unsafe.Pointer(&l.packed[2*at]))
					if want != want {
						require.True(t, have != have)
						continue
					}
					require.Equal(t, math.Float32bits(want+0), math.Float32bits(have), "%s %v %v", isa.Name(), wt, want)
				}
			}
		}
	}
}

// TestSmall16Tables: a set that has one 16-bit kernel has all that Small asks for.
func TestSmall16Tables(t *testing.T) {
	for _, isa := range append(testSets(), generic) {
		for _, wt := range halves {
			if !isa.Has(wt) {
				continue
			}
			for _, both := range []bool{false, true} {
				for p, list := range isa.tiles(Float32, both) {
					for v, f := range list {
						require.Equal(t, f == nil, isa.tiles(wt, both)[p][v] == nil, "%s %v %dx%d", isa.name, wt, p, v)
					}
				}
			}
		}
	}
	lacking := &ISA{name: "lacking", small: generic.small, both: generic.both}
	require.True(t, lacking.Has(Float32))
	require.False(t, lacking.Has(Float16))
	require.Panics(t, func() { NewSmall16(lacking, FC(3, 3), BFloat16) })
}

// TestSmallInPlace: tiles somewhere in memory, nothing behind them, serve as packed
// ones do, and are not written to.
func TestSmallInPlace(t *testing.T) {
	for _, isa := range Available() {
		for _, wt := range []Weights{Float32, BFloat16, Float16} {
			for _, s := range []Shape{FC(5, 19), FC(19, 5), FC(3, 48), FC(4, 8), {3, 5, 5, 11, 3, 3, 1, 1, 1, 1}, {2, 7, 6, 33, 2, 3, 2, 3, 0, 1}} {
				r := rand.New(rand.NewPCG(1, 9))
				w := make([]float32, s.Weights())
				fillRandom(r, w)
				w = rounded(wt, w)
				own := NewSmall16(isa, s, wt)
				own.Pack(w, false)
				mem := pageEnd(t, (len(own.packed)+3)/4)
				tiles := unsafe.Slice((*byte)(base(mem)), 4*len(mem))[4*len(mem)-len(own.packed):]
				copy(tiles, own.packed)
				l := NewSmallInPlace(isa, s, wt, tiles)
				if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
					require.Nil(t, l, "the bytes are in another order")
					continue
				}
				require.NotNil(t, l)
				require.Equal(t, len(tiles), l.InPlace())
				require.Equal(t, own.Bytes()-len(tiles), l.Bytes())
				require.Zero(t, own.InPlace())
				x, want, have := make([]float32, 3*s.In()), make([]float32, 3*s.Out()), make([]float32, 3*s.Out())
				fillRandom(r, x)
				for _, images := range []int{1, 3} {
					own.Apply(new(Scratch), want, x, images, ReLU, nil, 0, 1)
					l.Apply(new(Scratch), have, x, images, ReLU, nil, 0, 1)
					requireBits(t, want, have)
				}
				require.Equal(t, own.packed, tiles)
				require.Panics(t, func() { l.Pack(w, false) })
				require.Panics(t, func() { NewSmallInPlace(isa, s, wt, tiles[:len(tiles)-8]) })
				require.Nil(t, NewSmallInPlace(isa, s, wt, append(make([]byte, 1, len(tiles)+8), tiles...)[1:]), "misaligned")
			}
		}
	}
}

// TestPackRows: packing by parts is packing.
func TestSmallPackRows(t *testing.T) {
	for _, s := range []Shape{FC(7, 50), FC(3, 16), {2, 4, 4, 40, 3, 2, 1, 1, 1, 1}} {
		w := make([]float32, s.Weights())
		fillRandom(rand.New(rand.NewPCG(1, 1)), w)
		whole, parts := NewSmall(generic, s), NewSmall(generic, s)
		whole.Pack(w, false)
		for from := 0; from < s.OutC; from += 2 * smallTile {
			to := min(s.OutC, from+2*smallTile)
			parts.PackRows(w[from*s.FanIn():to*s.FanIn()], from)
		}
		require.Equal(t, whole.packed, parts.packed)
		require.Panics(t, func() { parts.PackRows(w, 1) })
		require.Panics(t, func() { NewSmallAdjoint(generic, s).PackRows(w, 0) })
	}
}

func TestSmall16DoesNotAllocate(t *testing.T) {
	for _, isa := range Available() {
		for _, wt := range halves {
			for _, c := range smallCases16(isa, FC(21, 37), wt) {
				sc, x, y, gate := new(Scratch), Alloc(3*c.small.In()), Alloc(3*c.small.Out()), Alloc(3*c.small.Out())
				e := c.small.PadBias(make([]float32, c.outputs))
				require.Zero(t, testing.AllocsPerRun(10, func() {
					c.small.Apply(sc, y, x, 1, None, nil, 0, 1)
					c.small.Apply(sc, y, x, 3, Gate, gate, 0, 1)
					c.small.ApplyBoth(sc, y, x, gate, x, e, 3, 0, 1)
				}))
			}
		}
	}
}

// FuzzSmall16 holds the kernels of every set to the generic ones.
func FuzzSmall16(f *testing.F) {
	f.Add(uint8(5), uint8(19), uint8(1), uint64(1))
	f.Add(uint8(1), uint8(1), uint8(6), uint64(2))
	f.Add(uint8(33), uint8(40), uint8(3), uint64(3))
	f.Fuzz(func(t *testing.T, in, out, images uint8, seed uint64) {
		s := FC(1+int(in), 1+int(out))
		n := 1 + int(images)%7
		r := rand.New(rand.NewPCG(seed, 0))
		w, b, x := make([]float32, s.Weights()), make([]float32, s.OutC), make([]float32, n*s.In())
		for _, v := range [][]float32{w, b, x} {
			fillRandom(r, v)
		}
		for _, wt := range halves {
			want := make([]float32, n*s.Out())
			for i, isa := range append([]*ISA{generic}, testSets()...) {
				if !isa.Has(wt) {
					continue
				}
				l := NewSmall16(isa, s, wt)
				l.Pack(w, false)
				l.SetBias(b)
				all, have := guarded(n * s.Out())
				l.Apply(new(Scratch), have, x, n, None, nil, 0, 1)
				requireGuards(t, all)
				if i == 0 {
					copy(want, have)
				}
				requireBits(t, want, have)
			}
		}
	})
}
