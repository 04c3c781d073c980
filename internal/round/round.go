// Package round takes exact numbers to float32 in a chosen direction.
package round

import (
	"math"
	"math/big"
)

// Down returns the largest float32 not above r; −Inf if r is below all of them.
func Down(r *big.Rat) float32 {
	f, exact := r.Float32()
	switch {
	case exact || !Above(f, r):
	case math.IsInf(float64(f), 1):
		f = math.MaxFloat32
	default:
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f + 0 // not −0
}

// Up returns the smallest float32 not below r; +Inf if r is above all of them.
func Up(r *big.Rat) float32 { return -Down(new(big.Rat).Neg(r)) + 0 }

// Above reports whether f > r.
func Above(f float32, r *big.Rat) bool {
	if math.IsInf(float64(f), 0) {
		return f > 0
	}
	return new(big.Rat).SetFloat64(float64(f)).Cmp(r) > 0
}
