package vnnlib

import (
	"math"
	"math/big"

	"github.com/epsball/epsball/internal/round"
)

// Outward returns the smallest interval of float32 around iv, open or not: what a proof
// has to cover. An end beyond all float32 is infinite.
func (iv Interval) Outward() (lo, hi float32) { return round.Down(iv.Lo), round.Up(iv.Hi) }

// Inward returns the smallest and the largest float32 inside iv: what an attack may use.
// ok is false if there is none.
func (iv Interval) Inward() (lo, hi float32, ok bool) {
	lo, hi = round.Up(iv.Lo), round.Down(iv.Hi)
	if iv.LoOpen && !round.Above(lo, iv.Lo) {
		lo = math.Nextafter32(lo, float32(math.Inf(1)))
	}
	if iv.HiOpen && !round.Above(-hi, new(big.Rat).Neg(iv.Hi)) {
		hi = math.Nextafter32(hi, float32(math.Inf(-1)))
	}
	return lo + 0, hi + 0, lo <= hi && lo <= math.MaxFloat32 && hi >= -math.MaxFloat32
}
