package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoise: every set draws what Philox and the table say, for any number of blocks, and calls for each
// value that the table misses, and no other.
func TestNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for _, isa := range Available() {
		for blocks := range NoiseBlocks + 1 {
			table := new(NoiseTable)
			number, end := int32(r.IntN(30)), r.IntN(40)
			for k := range table { // a few larger than one before, some that tell nothing
				for ; end < k*16; end += 1 + r.IntN(60) {
					number++
				}
				if table[k] = number<<16 | int32(min(end, math.MaxUint16)); r.IntN(10) == 0 {
					table[k] = math.MinInt32
				}
			}
			levels := make([]int32, blocks*NoiseBlock)
			for k := range levels {
				levels[k] = int32(r.IntN(256))
			}
			from := NoiseSource{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()}
			if r.IntN(3) == 0 {
				from.First, from.Sample = math.MaxUint32-2, math.MaxUint32-4 // counters wrap
			}
			k0, k1, shift := r.Uint32(), r.Uint32(), -int32(r.IntN(5000))
			s := &NoiseScratch{}
			s.Seed(k0, k1)
			x := make([]float32, len(levels)*Lanes+1)
			x[len(x)-1] = -7
			called := map[int]uint32{}
			isa.Noise(s, x[:len(x)-1], levels, table, shift, from, func(at int, top uint32) { called[at] = top })
			misses := 0
			for at := range len(levels) * Lanes {
				k, l := at/Lanes, at%Lanes
				var w [4]uint32
				w[0], w[1], w[2], w[3] = Philox(from.First+uint32(k/NoiseBlock), from.Sample+uint32(l), from.Third, from.Fourth, k0, k1)
				top := w[k%NoiseBlock/2] >> (k % 2 * 16) & 0xffff
				e := table[top>>4]
				if e < 0 || uint32(e)&0xffff == top {
					misses++
					require.Contains(t, called, at)
					require.Equal(t, top, called[at])
					continue
				}
				want := levels[k] + e>>16 + shift
				if top > uint32(e)&0xffff {
					want++
				}
				require.Equal(t, float32(want)/255, x[at], "%s, %d blocks, value %d, lane %d", isa.Name(), blocks, k, l)
			}
			require.Len(t, called, misses)
			require.EqualValues(t, -7, x[len(x)-1])
		}
	}
}

func TestNoiseAllocatesNothing(t *testing.T) {
	s, table, x, levels := &NoiseScratch{}, new(NoiseTable), make([]float32, 256*Lanes), make([]int32, 256)
	calls := 0
	for k := range table {
		table[k] = -1
	}
	require.Zero(t, testing.AllocsPerRun(10, func() {
		Default().Noise(s, x, levels, table, 0, NoiseSource{}, func(int, uint32) { calls++ })
	}))
	require.Positive(t, calls)
}
