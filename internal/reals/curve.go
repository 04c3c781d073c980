package reals

import "math"

// curveError bounds the error of sigmoid: that of e⁻ˣ, below 2⁻⁴⁶, whose effect a quotient
// at most doubles, and a few roundings.
const curveError = 0x1p-44

// sigmoid returns 1/(1 + e⁻ᶻ) within curveError; NaN for NaN.
func sigmoid(z float64) float64 {
	if z != z {
		return z
	}
	e := decay(math.Abs(z))
	if z >= 0 {
		return 1 / (1 + e)
	}
	return e / (1 + e)
}

// decay returns e⁻ˣ for x ≥ 0 within 2⁻⁴⁶. math.Exp differs between platforms, and no
// bound of its error is promised. Proof: as in verify/check, which computes it likewise and
// imports nothing. x = k·ln 2 + r with |r| ≤ 0.35, where r errs by less than 2⁻⁵³; a Taylor
// series up to r¹⁴ leaves out less than 2⁻⁶², and by Horner's rule, three roundings a step,
// it errs by at most γ₄₂·e^|r|.
func decay(x float64) float64 {
	const (
		ln2High = 0x1.62e42feep-1
		ln2Low  = 0x1.a39ef35793c76p-33
	)
	if x > 500 {
		return 0
	}
	k := math.Floor(x/math.Ln2 + 0.5)
	r := (x - float64(k*ln2High)) - float64(k*ln2Low)
	p := 1.0
	for n := 14.0; n > 0; n-- { // 1 − r/1·(1 − r/2·(1 − …))
		p = 1 - float64(r/n*p)
	}
	return math.Ldexp(p, -int(k))
}
