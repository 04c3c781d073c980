// Package sha256 computes SHA-256 (FIPS 180-4). It stands in for crypto/sha256 in the
// packages that every embedder links: that one brings the power-on self tests of other
// algorithms along, 160 kB in each program that can load a model. It names files and
// networks; use crypto/sha256 where speed or certification counts.
package sha256

import (
	"encoding/binary"
	"math/bits"
)

// Size is the length of a sum in bytes.
const Size = 32

const block = 64

// Digest hashes what is written to it. Its zero value is not usable: see New.
type Digest struct {
	h    [8]uint32
	rest [block]byte // the first n bytes of an unfinished block
	n    int
	size uint64 // bytes written
}

// New returns the hash of nothing.
func New() *Digest {
	return &Digest{h: [8]uint32{
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	}}
}

// Write hashes p. It returns no error.
func (d *Digest) Write(p []byte) (int, error) {
	n := len(p)
	d.size += uint64(n)
	if d.n > 0 {
		k := copy(d.rest[d.n:], p)
		d.n += k
		p = p[k:]
		if d.n == block {
			d.blocks(d.rest[:])
			d.n = 0
		}
	}
	whole := len(p) / block * block
	d.blocks(p[:whole])
	d.n += copy(d.rest[d.n:], p[whole:])
	return n, nil
}

// Sum appends the hash of what was written to b. It may be followed by more writes.
func (d *Digest) Sum(b []byte) []byte {
	e := *d
	bits := e.size * 8
	pad := make([]byte, 1+(2*block-9-e.n)%block, block)
	pad[0] = 0x80
	_, _ = e.Write(pad)
	_, _ = e.Write(binary.BigEndian.AppendUint64(nil, bits))
	for _, v := range e.h {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func (d *Digest) blocks(p []byte) {
	var w [64]uint32
	for ; len(p) >= block; p = p[block:] {
		for i := range 16 {
			w[i] = binary.BigEndian.Uint32(p[4*i:])
		}
		for i := 16; i < 64; i++ {
			a, b := w[i-15], w[i-2]
			s0 := bits.RotateLeft32(a, -7) ^ bits.RotateLeft32(a, -18) ^ a>>3
			s1 := bits.RotateLeft32(b, -17) ^ bits.RotateLeft32(b, -19) ^ b>>10
			w[i] = w[i-16] + s0 + w[i-7] + s1
		}
		a, b, c, e0, e, f, g, h := d.h[0], d.h[1], d.h[2], d.h[3], d.h[4], d.h[5], d.h[6], d.h[7]
		for i := range 64 {
			s1 := bits.RotateLeft32(e, -6) ^ bits.RotateLeft32(e, -11) ^ bits.RotateLeft32(e, -25)
			t1 := h + s1 + (e&f ^ ^e&g) + constants[i] + w[i]
			s0 := bits.RotateLeft32(a, -2) ^ bits.RotateLeft32(a, -13) ^ bits.RotateLeft32(a, -22)
			t2 := s0 + (a&b ^ a&c ^ b&c)
			h, g, f, e, e0, c, b, a = g, f, e, e0+t1, c, b, a, t1+t2
		}
		for i, v := range [8]uint32{a, b, c, e0, e, f, g, h} {
			d.h[i] += v
		}
	}
}

// constants are the first 32 bits of the fractional parts of the cube roots of the
// first 64 primes.
var constants = [64]uint32{
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}
