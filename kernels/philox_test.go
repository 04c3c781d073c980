package kernels

import (
	"math"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

func philox(c [4]uint32, k [2]uint32) (r [4]uint32) {
	r[0], r[1], r[2], r[3] = Philox(c[0], c[1], c[2], c[3], k[0], k[1])
	return r
}

// TestPhiloxKnownAnswers: the vectors of Random123 (kat_vectors).
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = math.MaxUint32
	for _, c := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ones, ones, ones, ones}, [2]uint32{ones, ones}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		require.Equal(t, c.want, philox(c.ctr, c.key))
		var a, b [4]uint32
		keys := NewPhiloxKeys(c.key[0], c.key[1])
		keys.Pair(&a, &b, c.ctr[0], c.ctr[1], c.ctr[2], c.ctr[3])
		require.Equal(t, c.want, a)
		require.Equal(t, philox([4]uint32{c.ctr[0], c.ctr[1] + 1, c.ctr[2], c.ctr[3]}, c.key), b)
	}
}

// TestStreamLayout: seed is the key; counter, sub-stream and id make the
// counter words. It pins what a seed means.
func TestStreamLayout(t *testing.T) {
	zero := NewStream(0, 0, 0)
	for _, want := range []uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8} {
		require.Equal(t, want, zero.Uint32())
	}
	const seed, id, sub = 0x0123456789abcdef, 0xfedcba9876543210, 0x55aa55aa
	s := NewStream(seed, id, sub)
	for block := range uint32(3) {
		for _, want := range philox([4]uint32{block, sub, 0x76543210, 0xfedcba98}, [2]uint32{0x89abcdef, 0x01234567}) {
			require.Equal(t, want, s.Uint32())
		}
	}
}

// TestStreamsAreIndependent: streams that differ in one bit of seed, id or
// sub-stream differ in half their bits, and no block occurs twice.
func TestStreamsAreIndependent(t *testing.T) {
	const n = 256
	draw := func(seed, id uint64, sub uint32) (v [n]uint32) {
		s := NewStream(seed, id, sub)
		for i := range v {
			v[i] = s.Uint32()
		}
		return v
	}
	base := draw(1, 2, 3)
	require.Equal(t, base, draw(1, 2, 3))
	seen := map[[2]uint32]bool{}
	check := func(other [n]uint32) {
		differ := 0
		for i := range n {
			differ += bits.OnesCount32(base[i] ^ other[i])
		}
		// 8192 fair coins: the deviation is 45
		require.InDelta(t, n*16, differ, 6*45)
		for i := 0; i < n; i += 2 {
			k := [2]uint32{other[i], other[i+1]}
			require.False(t, seen[k], "two streams overlap")
			seen[k] = true
		}
	}
	for bit := range 64 {
		check(draw(1^1<<bit, 2, 3))
		check(draw(1, 2^1<<bit, 3))
		if bit < 32 {
			check(draw(1, 2, 3^1<<bit))
		}
	}
}

func TestStreamUniform(t *testing.T) {
	const n = 1 << 16
	s := NewStream(42, 0, 0)
	sum, sum2 := 0.0, 0.0
	var count [10]int
	for range n {
		v := s.Float32()
		require.True(t, v >= 0 && v < 1)
		require.Equal(t, v, float32(int(v*(1<<24)))/(1<<24), "a multiple of 2^-24")
		sum += float64(v)
		sum2 += float64(v) * float64(v)
		count[s.Intn(10)]++
	}
	require.InDelta(t, 0.5, sum/n, 6*0.289/256)
	require.InDelta(t, 1.0/3, sum2/n, 6*0.298/256)
	for _, c := range count {
		require.InDelta(t, n/10, c, 6*77)
	}
	for range 1000 {
		require.Zero(t, s.Intn(1))
		require.Less(t, s.Intn(math.MaxInt32), math.MaxInt32)
	}
}

func TestStreamNormal(t *testing.T) {
	const n = 1 << 16
	s := NewStream(42, 0, 0)
	var m1, m2, m3, m4, pairs, last float64
	var beyond [4]int // 1, 2, 3 standard deviations
	for range n {
		v := float64(s.Norm())
		m1 += v
		m2 += v * v
		m3 += v * v * v
		m4 += v * v * v * v
		pairs += v * last
		last = v
		for k := range beyond {
			if math.Abs(v) > float64(k) {
				beyond[k]++
			}
		}
	}
	require.InDelta(t, 0, m1/n, 6.0/256)
	require.InDelta(t, 1, m2/n, 6*math.Sqrt2/256)
	require.InDelta(t, 0, m3/n, 6*math.Sqrt(15)/256)
	require.InDelta(t, 3, m4/n, 6*math.Sqrt(96)/256)
	require.InDelta(t, 0, pairs/n, 6.0/256)
	for k, got := range beyond {
		p := math.Erfc(float64(k) / math.Sqrt2)
		require.InDelta(t, n*p, got, 6*math.Sqrt(n*p*(1-p))+1e-9, "beyond %d", k)
	}
}

// TestStreamNormalBits pins what a seed means.
func TestStreamNormalBits(t *testing.T) {
	s := NewStream(1, 2, 3)
	var got [4]float32
	for i := range got {
		got[i] = s.Norm()
	}
	require.Equal(t, [4]float32{0.7724514, -0.1760809, -0.7675122, -0.2551426}, got)
}

func TestStreamDoesNotAllocate(t *testing.T) {
	var sum float32
	require.Zero(t, testing.AllocsPerRun(10, func() {
		s := NewStream(1, 2, 3)
		for range 10 {
			sum += s.Float32()
		}
	}))
}
