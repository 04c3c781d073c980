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

// The constants of Philox4x32: factors, and what keys grow by.
const philoxM0, philoxM1, philoxW0, philoxW1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85

// Philox returns the 128 random bits that a counter and a key stand for: a block of the
// generator of Stream, whose stream (seed, id, sub) has the counters n, sub and the two
// halves of id, low first, and the halves of seed as its key.
func Philox(c0, c1, c2, c3, k0, k1 uint32) (r0, r1, r2, r3 uint32) {
	for range 10 {
		hi0, lo0 := bits.Mul32(philoxM0, c0)
		hi1, lo1 := bits.Mul32(philoxM1, c2)
		c0, c1, c2, c3 = hi1^c1^k0, lo1, hi0^c3^k1, lo0
		k0 += philoxW0
		k1 += philoxW1
	}
	return c0, c1, c2, c3
}

// PhiloxKeys are the keys of the rounds of a seed.
type PhiloxKeys [10][2]uint32

// NewPhiloxKeys returns those of the two halves of a seed.
func NewPhiloxKeys(k0, k1 uint32) (k PhiloxKeys) {
	for i := range k {
		k[i] = [2]uint32{k0 + uint32(i)*philoxW0, k1 + uint32(i)*philoxW1}
	}
	return k
}

// Pair is Philox of two counters, the second of which has c1 + 1: two chains that need not wait for
// each other.
func (k *PhiloxKeys) Pair(a, b *[4]uint32, c0, c1, c2, c3 uint32) {
	a0, a1, a2, a3 := c0, c1, c2, c3
	b0, b1, b2, b3 := c0, c1+1, c2, c3
	for i := range k {
		p0, p1 := uint64(philoxM0)*uint64(a0), uint64(philoxM1)*uint64(a2)
		q0, q1 := uint64(philoxM0)*uint64(b0), uint64(philoxM1)*uint64(b2)
		k0, k1 := k[i][0], k[i][1]
		a0, a1, a2, a3 = uint32(p1>>32)^a1^k0, uint32(p1), uint32(p0>>32)^a3^k1, uint32(p0)
		b0, b1, b2, b3 = uint32(q1>>32)^b1^k0, uint32(q1), uint32(q0>>32)^b3^k1, uint32(q0)
	}
	*a, *b = [4]uint32{a0, a1, a2, a3}, [4]uint32{b0, b1, b2, b3}
}
