package kernels

import (
	"math"
	"math/bits"
)

// Stream is one stream of a counter-based random generator, Philox4x32-10 (Salmon et
// al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011). Its n-th number depends
// only on (seed, id, sub, n). Give each image its own id, and results cannot depend on
// batches or threads. A Stream is a small value; it is not safe for concurrent use.
type Stream struct {
	key   [2]uint32
	ctr   [4]uint32
	block [4]uint32
	used  int
	spare float32 // the other normal number of a pair; 0: none
}

// NewStream returns the stream of seed, stream number id (below 2^64) and
// sub-stream sub (a restart, say).
func NewStream(seed, id uint64, sub uint32) Stream {
	return Stream{
		key:  [2]uint32{uint32(seed), uint32(seed >> 32)},
		ctr:  [4]uint32{0, sub, uint32(id), uint32(id >> 32)},
		used: 4,
	}
}

// Uint32 returns the next 32 random bits.
func (s *Stream) Uint32() uint32 {
	if s.used == 4 {
		b, c := &s.block, &s.ctr
		b[0], b[1], b[2], b[3] = Philox(c[0], c[1], c[2], c[3], s.key[0], s.key[1])
		s.ctr[0]++
		s.used = 0
	}
	v := s.block[s.used]
	s.used++
	return v
}

// Float32 returns a multiple of 2^-24 drawn uniformly from [0, 1).
func (s *Stream) Float32() float32 { return float32(s.Uint32()>>8) * (1.0 / (1 << 24)) }

// Intn returns a number drawn from [0, n), 0 < n < 2^31, by multiplication
// (bias below n/2^32).
func (s *Stream) Intn(n int) int { return int(uint64(s.Uint32()) * uint64(n) >> 32) }

// Norm returns a number drawn from the standard normal distribution, by
// Marsaglia's polar method: its pairs take 64 random bits or
// more. The bits are the same on every platform.
func (s *Stream) Norm() float32 {
	if v := s.spare; v != 0 {
		s.spare = 0
		return v
	}
	for {
		u, v := 2*s.Float32()-1, 2*s.Float32()-1 // exact: multiples of 2^-23
		q := float32(u*u) + float32(v*v)
		if q == 0 || q >= 1 {
			continue
		}
		f := float32(math.Sqrt(float64(-2 * Log(q) / q)))
		s.spare = float32(v * f)
		return float32(u * f)
	}
}

// Philox returns the 128 random bits that a counter and a key stand for: a block of the
// generator of Stream, whose stream (seed, id, sub) has the counters n, sub and the two
// halves of id, low first, and the halves of seed as its key.
func Philox(c0, c1, c2, c3, k0, k1 uint32) (r0, r1, r2, r3 uint32) {
	const m0, m1, w0, w1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
	for range 10 {
		hi0, lo0 := bits.Mul32(m0, c0)
		hi1, lo1 := bits.Mul32(m1, c2)
		c0, c1, c2, c3 = hi1^c1^k0, lo1, hi0^c3^k1, lo0
		k0 += w0
		k1 += w1
	}
	return c0, c1, c2, c3
}
