package kernels

import "math"

// Exp returns e^x. It uses float64 additions and products, each rounded
// explicitly, so that its bits are the same on every platform (math.Exp's are
// not). The error is below 0.501 ulp for normal results.
func Exp(x float32) float32 {
	const (
		log2e = 1.44269504088896338700
		ln2Hi = 6.93147180369123816490e-01 // 32 significant bits: k·ln2Hi is exact
		ln2Lo = 1.90821492927058770002e-10
	)
	switch {
	case x != x:
		return x
	case x > 89:
		return float32(math.Inf(1))
	case x < -105:
		return 0
	}
	v := float64(x)
	k := math.Floor(float64(v*log2e) + 0.5)
	r := float64(v-float64(k*ln2Hi)) - float64(k*ln2Lo)
	p := 1.0 // Taylor by Horner; |r| ≤ 0.35, so the rest is below 1e-15
	for n := 13; n >= 1; n-- {
		p = float64(float64(p*r)/float64(n)) + 1
	}
	return float32(math.Ldexp(p, int(k)))
}

// Log returns the natural logarithm of x: NaN below zero, −Inf at zero. The
// same bits on every platform; the error is below 0.501 ulp.
func Log(x float32) float32 {
	const ln2 = 0.693147180559945309417
	switch {
	case x != x || x < 0:
		return float32(math.NaN())
	case x == 0:
		return float32(math.Inf(-1))
	case math.IsInf(float64(x), 1):
		return x
	}
	m, e := math.Frexp(float64(x))
	if m < math.Sqrt2/2 {
		m *= 2
		e--
	}
	// log m = 2·atanh(s), s = (m−1)/(m+1), |s| < 0.172
	s := (m - 1) / (m + 1)
	s2 := s * s
	p := 0.0
	for n := 21; n >= 1; n -= 2 {
		p = float64(p*s2) + 1/float64(n)
	}
	return float32(float64(2*float64(s*p)) + float64(float64(e)*ln2))
}
