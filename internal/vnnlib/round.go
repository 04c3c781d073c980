package vnnlib

import (
	"math"
	"math/big"
)

// Down returns the largest float32 not above r; −Inf if r is below all of them.
func Down(r *big.Rat) float32 {
	f, exact := r.Float32()
	switch {
	case exact || !above(f, r):
	case math.IsInf(float64(f), 1):
		f = math.MaxFloat32
	default:
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f + 0 // not −0
}

// Up returns the smallest float32 not below r; +Inf if r is above all of them.
func Up(r *big.Rat) float32 { return -Down(new(big.Rat).Neg(r)) + 0 }

// above reports whether f > r.
func above(f float32, r *big.Rat) bool {
	if math.IsInf(float64(f), 0) {
		return f > 0
	}
	return new(big.Rat).SetFloat64(float64(f)).Cmp(r) > 0
}

// Outward returns the smallest interval of float32 around iv, open or not: what a proof
// has to cover. An end beyond all float32 is infinite.
func (iv Interval) Outward() (lo, hi float32) { return Down(iv.Lo), Up(iv.Hi) }

// Inward returns the smallest and the largest float32 inside iv: what an attack may use.
// ok is false if there is none.
func (iv Interval) Inward() (lo, hi float32, ok bool) {
	lo, hi = Up(iv.Lo), Down(iv.Hi)
	if iv.LoOpen && !above(lo, iv.Lo) {
		lo = math.Nextafter32(lo, float32(math.Inf(1)))
	}
	if iv.HiOpen && !above(-hi, new(big.Rat).Neg(iv.Hi)) {
		hi = math.Nextafter32(hi, float32(math.Inf(-1)))
	}
	return lo + 0, hi + 0, lo <= hi && lo <= math.MaxFloat32 && hi >= -math.MaxFloat32
}
