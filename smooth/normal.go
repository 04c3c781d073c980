package smooth

import (
	"math"
	"math/big"
	"sync"

	"github.com/epsball/epsball/net"
)

// precision is that of the arithmetic of normal.
const precision = 160

// wide is a number of that precision.
func wide() *big.Float { return new(big.Float).SetPrec(precision) }

// mostNormal is the largest |x| for which the series is added up: beyond it Φ is within
// 2⁻¹⁰⁸ of 0 or 1.
const mostNormal = 12

// constants are made when first needed: no package computes in floating point in init.
var constants = sync.OnceValue(func() (c struct {
	half, root2Pi *big.Float
	slack         *big.Float   // more than normal errs by
	odd           []*big.Float // 1/(2k+1)
	whole         []*big.Float // 1/k
},
) {
	// π = 16·atan(1/5) − 4·atan(1/239) (Machin).
	atan := func(n int64) *big.Float {
		sum, power := wide(), wide().Quo(wide().SetInt64(1), wide().SetInt64(n))
		for k := int64(0); power.MantExp(nil) > -precision-8; k++ {
			t := wide().Quo(power, wide().SetInt64(2*k+1))
			if k%2 == 1 {
				t.Neg(t)
			}
			sum.Add(sum, t)
			power.Quo(power, wide().SetInt64(n*n))
		}
		return sum
	}
	pi := wide().Mul(wide().SetInt64(16), atan(5))
	pi.Sub(pi, wide().Mul(wide().SetInt64(4), atan(239)))
	one := wide().SetInt64(1)
	c.half, c.slack = wide().SetMantExp(one, -1), wide().SetMantExp(one, -120)
	c.root2Pi = wide().Sqrt(pi.Mul(pi, wide().SetInt64(2)))
	for k := range int64(600) {
		c.odd = append(c.odd, wide().Quo(one, wide().SetInt64(2*k+1)))
		c.whole = append(c.whole, wide().Quo(one, wide().SetInt64(max(k, 1))))
	}
	return c
})

// normal returns lo ≤ Φ(x) ≤ hi, where Φ is the standard normal distribution function and x
// is off by no more than 2⁻¹⁵⁵ of itself.
//
// For 0 ≤ x ≤ 12, Φ(x) − ½ = φ(x)·Σ xᵏ/(1·3·…·k), k odd (Abramowitz, Stegun 26.2.11). All
// terms are positive. There are fewer than 600, each the result of at most 1800 operations
// of relative error 2⁻¹⁶⁰; the sum stops at a term below 2⁻¹³⁰ of which the next is less than
// half, so that what is left out is less than that. φ(x) = exp(−x²/2)/√2π has a relative
// error below 2⁻¹³⁷ (exp). With Φ ≤ 1, all of this is far below 2⁻¹²⁰.
func normal(x *big.Float) (lo, hi *big.Float) {
	one := wide().SetInt64(1)
	if x.Sign() < 0 {
		lo, hi = normal(wide().Neg(x))
		return wide().Sub(one, hi), wide().Sub(one, lo)
	}
	if x.Cmp(wide().SetInt64(mostNormal)) > 0 {
		return wide().Sub(one, wide().SetMantExp(one, -108)), one
	}
	c := constants()
	square := wide().Mul(x, x)
	sum, term, next, ratio := wide(), wide().Set(x), wide(), wide() // none is its own operand, which would allocate
	for k := 1; term.Sign() != 0; k++ {
		sum.Add(sum, term)
		ratio.Mul(square, c.odd[k])
		if ratio.Cmp(c.half) < 0 && term.MantExp(nil) < -130 {
			break
		}
		next.Mul(term, ratio)
		term, next = next, term
	}
	density := wide().Mul(exp(wide().Mul(square, c.half)), c.root2Pi)
	v := sum.Quo(sum, density)
	v.Add(v, c.half)
	lo, hi = wide().Sub(v, c.slack), wide().Add(v, c.slack)
	if hi.Cmp(one) > 0 {
		hi = one
	}
	return lo, hi
}

// exp returns eʸ, 0 ≤ y ≤ 72, as (exp(y/2¹²))^(2¹²). The series of a y below 0.02 errs by less
// than 2⁻¹⁵⁰ of itself: 80 operations, and a rest below 2·0.02²⁴/24! < 2⁻²⁰⁰. Twelve squarings
// double the relative error and add 2⁻¹⁶⁰ each: less than 2⁻¹³⁷.
func exp(y *big.Float) *big.Float {
	const halvings = 12
	c := constants()
	y = wide().SetMantExp(y, -halvings)
	sum, term, next := wide().SetInt64(1), wide().SetInt64(1), wide()
	for k := 1; k < 24; k++ {
		next.Mul(term, y)
		term.Mul(next, c.whole[k])
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum
}

// ratio returns r/σ.
func ratio(r, sigma *big.Rat) *big.Float { return wide().SetRat(new(big.Rat).Quo(r, sigma)) }

// Radius returns a float64 r ≥ 0 with σ·Φ⁻¹(p) ≥ r, the largest but for an error of some
// 10⁻¹⁵ σ: 0 if p ≤ 1/2. It is in the unit of σ (Cohen et al. 2019, equation 3, with
// p_B = 1 − p_A). A p that is NaN or more than 1 gives 0.
func Radius(sigma net.Epsilon, p float64) float64 {
	if !(p > 0.5 && p <= 1) || sigma.IsZero() {
		return 0
	}
	bound, s := wide().SetFloat64(p), sigma.Rat()
	_, top := sigma.Bounds()
	// Φ(hi/σ) > p, for Φ(9) is the float64 1 or 2⁻⁵³ below it: only p = 1 is above.
	lo, hi := 0.0, 9*top
	for range 60 {
		mid := lo + (hi-lo)/2
		if mid <= lo || mid >= hi {
			break
		}
		if _, most := normal(ratio(new(big.Rat).SetFloat64(mid), s)); most.Cmp(bound) <= 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// threshold returns a float64 ≥ Φ(r/σ): a probability above it certifies the radius r.
func threshold(sigma, r net.Epsilon) float64 {
	_, hi := normal(ratio(r.Rat(), sigma.Rat()))
	return roundUp(hi)
}

// roundUp returns the least float64 ≥ v.
func roundUp(v *big.Float) float64 {
	f, accuracy := v.Float64()
	if accuracy == big.Below {
		f = math.Nextafter(f, math.Inf(1))
	}
	return f
}
