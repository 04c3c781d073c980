package kernels

import "math"

// FMA32 returns a·b + c rounded once to float32 (round to nearest even),
// exactly as the hardware's fused multiply-add does, on every platform.
//
// The product of two float32 is exact in float64. The float64 sum rounds, and
// rounding that a second time to float32 errs only when the first rounding
// landed on a midpoint between two float32; such a sum is nudged towards its
// exact value first (round to odd: Boldo & Melquiond 2008).
func FMA32(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	bits := math.Float64bits(s)
	// 29 fraction bits are dropped. A midpoint has the pattern 100…0 in them
	// when the result is a normal float32; denormal results are left to the
	// slow path, as are zero (sign), Inf and NaN.
	if exp := bits >> 52 & 0x7ff; bits&(1<<29-1) != 1<<28 && exp-897 < 254 {
		return float32(s)
	}
	return fmaOdd(p, float64(c), s)
}

func fmaOdd(p, c, s float64) float32 {
	// Two-sum: p + c = s + err exactly. Nothing here is a product, so no
	// compiler fuses anything.
	pp := s - c
	err := (p - pp) + (c - (s - pp))
	bits := math.Float64bits(s)
	if err == 0 || err != err || bits&1 != 0 || math.IsInf(s, 0) {
		return float32(s)
	}
	if (err > 0) == (s > 0) {
		bits++
	} else {
		bits--
	}
	return float32(math.Float64frombits(bits))
}
