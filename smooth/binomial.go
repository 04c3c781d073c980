package smooth

import (
	"fmt"
	"math"
	"math/big"
)

// mostTrials bounds n: binomial coefficients take time in proportion to it.
const mostTrials = 10_000_000

// Lower returns a lower confidence limit of the probability of an event that has been seen
// k times in n independent trials: P(limit > p) ≤ α whatever p is (Clopper, Pearson, "The
// use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika
// 1934). It is the largest p with P(X ≥ k) ≤ α, X binomial(n, p), rounded down: that tail is
// proved to be at most α at the number returned.
//
// The limit holds because the tail grows with p. If limits of some k exceed p, let k be the
// least of them; then P(limit > p) ≤ P(X ≥ k) at p ≤ P(X ≥ k) at that limit ≤ α. That needs
// the tail at limits to be at most α, and nothing else of them.
func Lower(k, n int, alpha float64) (float64, error) {
	if err := checkTrials(k, n, alpha); err != nil {
		return 0, err
	}
	return lower(k, n, func(p float64, ways *big.Float) bool {
		return atMost(tail(k, n, p, ways), alpha)
	}), nil
}

// Upper returns the upper confidence limit of the same kind: P(limit < p) ≤ α.
func Upper(k, n int, alpha float64) (float64, error) {
	l, err := Lower(n-k, n, alpha)
	if err != nil {
		return 0, err
	}
	u := 1 - l
	if 1-u > l { // 1 − l was rounded down
		u = math.Nextafter(u, 2)
	}
	return u, nil
}

// lower returns the largest p ≤ k/n that holds accepts, by bisection: 0 if there is none.
func lower(k, n int, holds func(p float64, ways *big.Float) bool) float64 {
	if k == 0 {
		return 0
	}
	ways := choose(n, k)
	lo, hi := 0.0, float64(k)/float64(n)
	for range 128 {
		mid := lo + (hi-lo)/2
		if mid <= lo || mid >= hi {
			break
		}
		if holds(mid, ways) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

func checkTrials(k, n int, alpha float64) error {
	switch {
	case n < 1 || n > mostTrials:
		return fmt.Errorf("trials: got %d, want 1 … %d", n, mostTrials)
	case k < 0 || k > n:
		return fmt.Errorf("successes: got %d, want 0 … %d, the number of trials", k, n)
	}
	return checkAlpha(alpha)
}

func checkAlpha(alpha float64) error {
	if !(alpha >= 1e-300 && alpha <= 0.5) {
		return fmt.Errorf("alpha: got %v, want a probability of error above 0 and at most 0.5", alpha)
	}
	return nil
}

// up is a number whose operations round up. Products and quotients of positive upper bounds
// (divisors exact) are upper bounds again.
func up() *big.Float { return new(big.Float).SetPrec(128).SetMode(big.ToPositiveInf) }

// choose returns an upper bound of n over k, 2⁻¹⁰⁰ of it above it.
func choose(n, k int) *big.Float {
	v, f := up().SetInt64(1), up()
	for i := range min(k, n-k) {
		v.Mul(v, f.SetInt64(int64(n-i)))
		v.Quo(v, f.SetInt64(int64(i+1)))
	}
	return v
}

// power returns an upper bound of bᵉ, b > 0.
func power(b *big.Float, e int) *big.Float {
	v, square := up().SetInt64(1), up().Set(b)
	for ; e > 0; e >>= 1 {
		if e&1 == 1 {
			v.Mul(v, square)
		}
		square.Mul(square, square)
	}
	return v
}

// mass returns an upper bound of P(X = k), X binomial(n, p), 0 < p < 1, from one of n over k.
func mass(k, n int, p float64, ways *big.Float) *big.Float {
	q := up().Sub(up().SetInt64(1), up().SetFloat64(p))
	v := up().Mul(ways, power(up().SetFloat64(p), k))
	return v.Mul(v, power(q, n-k))
}

// tail returns an upper bound of P(X ≥ k), X binomial(n, p), from one of n over k. It is as
// good as exact where the tail is below 1/2, and may be 1 elsewhere.
//
// The terms that follow the first one are added up as multiples of it, in float64 and from
// the largest down: t(j+1)/t(j) = (n−j)/(j+1)·p/(1−p), which falls as j grows, so that the
// rest after a term t with ratio r < 1 to the next is at most t·r/(1−r). Each term is off by
// six roundings of 2⁻⁵³ for each ratio before it, at most 2¹⁸ of them: less than terms·2⁻⁵⁰.
func tail(k, n int, p float64, ways *big.Float) *big.Float {
	const most = 1 << 18
	switch {
	case k <= 0 || p >= 1:
		return up().SetInt64(1)
	case p <= 0:
		return up()
	}
	odds := p / (1 - p)
	ratio := func(j int) float64 { return float64(float64(n-j)/float64(j+1)) * odds }
	sum, term := 1.0, 1.0
	terms := 1
	for j := k; j < n; j++ {
		r := ratio(j)
		if !(r < 1) || terms > most { // the tail may be 1/2 or more
			return up().SetInt64(1)
		}
		if rest := float64(term*r) / (1 - r); rest < 0x1p-50*sum {
			sum += 2 * rest
			break
		}
		term = float64(term * r)
		sum += term
		terms++
	}
	v := mass(k, n, p, ways)
	v.Mul(v, up().SetFloat64(sum))
	v.Mul(v, up().SetFloat64(1+float64(terms+2)*0x1p-50))
	if v.Cmp(up().SetInt64(1)) > 0 {
		return up().SetInt64(1)
	}
	return v
}

// atMost reports whether v ≤ alpha.
func atMost(v *big.Float, alpha float64) bool { return v.Cmp(big.NewFloat(alpha)) <= 0 }
