package kernels

import "math"

// Sigmoid and Tanh take e^−a in single precision, where Exp takes float64: near ±1 their
// own rounding hides the difference, and vectors hold twice as many.

// Sigmoid returns 1/(1 + e^−x): in [0, 1], NaN for NaN, the same bits on every platform.
// The error is below 2⁻²³; below −87, the result is e^−87.
func Sigmoid(x float32) float32 {
	u, m := expm1(abs32(x))
	e := FMA32(u, m, u)
	n := float32(1)
	if math.Signbit(float64(x)) {
		n = e
	}
	return n / (1 + e)
}

// Tanh returns the hyperbolic tangent of x: in [−1, 1], NaN for NaN, the same bits on
// every platform. The error is below 2⁻²³ and below 3 units in the last place.
func Tanh(x float32) float32 {
	// tanh x = (1−e)/(1+e) with e = e^−2x. Where that cancels, 1−e is taken from m; where
	// it does not, 1 − 2e/(1+e) has the smaller error.
	a := abs32(x)
	a += a
	u, m := expm1(a)
	e := FMA32(u, m, u)
	n := FMA32(-u, m, 1-u)
	if 1 < a {
		n = e + e
	}
	q := n / (1 + e)
	if 1 < a {
		q = 1 - q
	}
	return float32(math.Copysign(float64(q), float64(x)))
}

// expm1 returns u = 2^k and m with e^−a = u + u·m for a ≥ 0, but no less than e^−87: Cody
// and Waite's reduction −a = k·ln 2 + r with |r| ≤ 0.35, and m = r + r²·p(r).
func expm1(a float32) (u, m float32) {
	if expMost < a {
		a = expMost
	}
	t := FMA32(a, expLog2e, expRound)
	k := t - expRound
	r := FMA32(k, expLn2Hi, -a)
	r = FMA32(k, expLn2Lo, r)
	p := float32(expTaylor7)
	for _, c := range [...]float32{expTaylor6, expTaylor5, expTaylor4, expTaylor3, expTaylor2} {
		p = FMA32(p, r, c)
	}
	m = FMA32(p, float32(r*r), r)
	return math.Float32frombits(math.Float32bits(t) << 23), m
}

const (
	expLog2e = -1.4426950408889634
	// The sum of this and k is a whole number, in its last bits, and the biased exponent
	// of 2^k with them.
	expRound = 0x1.8p23 + 127
	expLn2Hi = -0x1.62e4p-1
	expLn2Lo = -0x1.7f7d1cp-20
	expMost  = 87 // e^−87 is still normal

	// 1/n!; what is left out is below 2⁻²⁶ of e^r.
	expTaylor7 = 1. / 5040
	expTaylor6 = 1. / 720
	expTaylor5 = 1. / 120
	expTaylor4 = 1. / 24
	expTaylor3 = 1. / 6
	expTaylor2 = 1. / 2
)

// expTable are the constants in the order in which the assembly wants them.
var expTable = [...]lane{
	{expLog2e, expLog2e, expLog2e, expLog2e, expLog2e, expLog2e, expLog2e, expLog2e},
	{expRound, expRound, expRound, expRound, expRound, expRound, expRound, expRound},
	{expLn2Hi, expLn2Hi, expLn2Hi, expLn2Hi, expLn2Hi, expLn2Hi, expLn2Hi, expLn2Hi},
	{expLn2Lo, expLn2Lo, expLn2Lo, expLn2Lo, expLn2Lo, expLn2Lo, expLn2Lo, expLn2Lo},
	{1, 1, 1, 1, 1, 1, 1, 1},
	{expMost, expMost, expMost, expMost, expMost, expMost, expMost, expMost},
	{expTaylor7, expTaylor7, expTaylor7, expTaylor7, expTaylor7, expTaylor7, expTaylor7, expTaylor7},
	{expTaylor6, expTaylor6, expTaylor6, expTaylor6, expTaylor6, expTaylor6, expTaylor6, expTaylor6},
	{expTaylor5, expTaylor5, expTaylor5, expTaylor5, expTaylor5, expTaylor5, expTaylor5, expTaylor5},
	{expTaylor4, expTaylor4, expTaylor4, expTaylor4, expTaylor4, expTaylor4, expTaylor4, expTaylor4},
	{expTaylor3, expTaylor3, expTaylor3, expTaylor3, expTaylor3, expTaylor3, expTaylor3, expTaylor3},
	{expTaylor2, expTaylor2, expTaylor2, expTaylor2, expTaylor2, expTaylor2, expTaylor2, expTaylor2},
}
