// Package half converts between float32 and the two 16-bit formats that weights
// may be stored in: IEEE 754 binary16 and bfloat16, the upper half of a float32.
// Every 16-bit value is exactly a float32.
package half

import "math"

const (
	infinity  = 0xff << 23 // of float32
	signBit   = 1 << 15    // of both
	signShift = 31 - 15    // from a float32's sign

	f16Infinity = 0x1f << 10
	f16Fraction = 1<<10 - 1
	f16Dropped  = 23 - 10  // bits of a float32's fraction that a binary16 lacks
	f16Bias     = 127 - 15 // between the exponents
	f16Smallest = 0x1p-24  // subnormal
	f16Normal   = 0x1p-14  // the smallest
	f16Quiet    = 1 << 9   // of a NaN

	bf16Dropped = 16
	bf16Quiet   = 1 << 6 // of a NaN
)

// FromF16 returns the value of a binary16. NaNs keep sign and payload.
func FromF16(h uint16) float32 {
	sign := uint32(h&signBit) << signShift
	fraction := uint32(h & f16Fraction)
	switch h & f16Infinity {
	case 0: // zero or subnormal: an integer times 2^-24, exact in float32
		return math.Float32frombits(math.Float32bits(float32(fraction)*f16Smallest) | sign)
	case f16Infinity:
		return math.Float32frombits(sign | infinity | fraction<<f16Dropped)
	}
	exponent := uint32(h&f16Infinity)>>10 + f16Bias
	return math.Float32frombits(sign | exponent<<23 | fraction<<f16Dropped)
}

// ToF16 returns the binary16 nearest to v, of two the even one. Values from
// 65520 on become infinite; a NaN stays a quiet one.
func ToF16(v float32) uint16 {
	bits := math.Float32bits(v)
	sign := uint16(bits>>signShift) & signBit
	bits &^= 1 << 31
	switch {
	case bits > infinity:
		return sign | f16Infinity | f16Quiet | uint16(bits>>f16Dropped&f16Fraction)
	case math.Float32frombits(bits) < f16Normal:
		// A float32 in [½, 1) has the subnormals' last place, 2^-24: the sum is
		// rounded as they are, to an integer of them in its low bits.
		sum := math.Float32frombits(bits) + 0.5
		return sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5))
	}
	odd := bits >> f16Dropped & 1
	bits += 1<<(f16Dropped-1) - 1 + odd
	bits -= f16Bias << 23
	if bits >= f16Infinity<<f16Dropped {
		return sign | f16Infinity
	}
	return sign | uint16(bits>>f16Dropped)
}

// FromBF16 returns the value of a bfloat16.
func FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << bf16Dropped) }

// ToBF16 returns the bfloat16 nearest to v, of two the even one. Values that
// would round to 2^128 become infinite; a NaN stays a quiet one.
func ToBF16(v float32) uint16 {
	bits := math.Float32bits(v)
	if bits&^(1<<31) > infinity {
		return uint16(bits>>bf16Dropped) | bf16Quiet
	}
	odd := bits >> bf16Dropped & 1
	return uint16((bits + 1<<(bf16Dropped-1) - 1 + odd) >> bf16Dropped)
}
