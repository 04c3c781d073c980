package kernels

import (
	"math/bits"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// NoiseBlocks is how many blocks of eight values Noise draws at once at most.
const NoiseBlocks = 32

// NoiseBlock is the number of values of a block.
const NoiseBlock = 8

// NoiseTable says how values are found from sixteen random bits, their top: entry e of top >> 4 has
// number e >> 16 in it, the larger one by one where top > e & 0xffff. A top that is that, or whose
// entry is below 0, is missed: it takes more than the table.
type NoiseTable [1 << 12]int32

// NoiseScratch is that of one goroutine, for Noise.
type NoiseScratch struct {
	args   asm.NoiseArgs
	keys   PhiloxKeys
	words  [NoiseBlocks][NoiseBlock / 2][Lanes]uint32
	misses [NoiseBlocks][Lanes]uint32
}

// NoiseSource says which random numbers Noise draws: lane l of block First + b has those of
// Philox(First + b, Sample + l, Third, Fourth, keys).
type NoiseSource struct{ First, Sample, Third, Fourth uint32 }

// Seed sets the keys.
func (s *NoiseScratch) Seed(k0, k1 uint32) { s.keys = NewPhiloxKeys(k0, k1) }

// Noise writes float32(levels + number + shift)/255 for each value of some blocks and each lane, to x:
// [block][value][lane]. It calls missed for each value that the table does not find, with its place
// in x and its top; what x has there then is to be replaced.
func (i *ISA) Noise(s *NoiseScratch, x []float32, levels []int32, table *NoiseTable, shift int32, from NoiseSource, missed func(at int, top uint32)) {
	blocks := len(levels) / NoiseBlock
	if blocks == 0 {
		return
	}
	_, x = s.misses[:blocks], x[:mustFit("x", len(x), blocks*NoiseBlock*Lanes)]
	raceWrite(x)
	s.args = asm.NoiseArgs{
		X: base(x), Levels: unsafe.Pointer(&levels[0]), Quick: unsafe.Pointer(table), Words: unsafe.Pointer(&s.words),
		Misses: unsafe.Pointer(&s.misses), Keys: unsafe.Pointer(&s.keys), Blocks: blocks,
		First: from.First, Sample: from.Sample, Third: from.Third, Fourth: from.Fourth, Base: shift, Lanes: [8]uint32{0, 1, 2, 3, 4, 5, 6, 7},
	}
	if kernel := nativeNoise(i); kernel != nil {
		kernel(&s.args)
	} else {
		genericNoise(&s.args)
	}
	s.args = asm.NoiseArgs{}
	for b := range blocks {
		for l, m := range s.misses[b] {
			for ; m != 0; m &= m - 1 {
				j := 31 - bits.TrailingZeros32(m)
				missed((b*NoiseBlock+j)*Lanes+l, s.words[b][j/2][l]>>(j%2*16)&0xffff)
			}
		}
	}
}

//go:noinline
func genericNoise(a *asm.NoiseArgs) {
	keys, table := (*PhiloxKeys)(a.Keys), (*NoiseTable)(a.Quick)
	levels := unsafe.Slice((*[NoiseBlock]int32)(a.Levels), a.Blocks)
	words := unsafe.Slice((*[NoiseBlock / 2][Lanes]uint32)(a.Words), a.Blocks)
	misses := unsafe.Slice((*[Lanes]uint32)(a.Misses), a.Blocks)
	values := unsafe.Slice((*[NoiseBlock][Lanes]float32)(a.X), a.Blocks)
	var w [2][4]uint32
	for b := range a.Blocks {
		for l := 0; l < Lanes; l += 2 {
			keys.Pair(&w[0], &w[1], a.First+uint32(b), a.Sample+uint32(l), a.Third, a.Fourth)
			for k := range w {
				missed := uint32(0)
				for j, level := range &levels[b] {
					words[b][j/2][l+k] = w[k][j/2]
					top := int32(w[k][j/2] >> (j % 2 * 16) & 0xffff)
					e := table[top>>4]
					less := e&0xffff - top
					if e < 0 || less == 0 {
						missed |= 1 << (31 - j)
					}
					values[b][j][l+k] = float32(level+int32(uint32(e)>>16)+int32(uint32(less)>>31)+a.Base) / 255
				}
				misses[b][l+k] = missed
			}
		}
	}
}
