package smooth

import (
	"math/big"
)

// Sequence is a lower confidence sequence: limits of the probability p of an event after
// each trial, of which P(some limit ever exceeds p) ≤ Alpha. So one may look after each
// trial and stop when the limit suffices, which Clopper and Pearson's limits do not allow.
//
// For k events in n trials the limit is the largest p ≤ k/n with
//
//	(n+1)·P(X = k) ≤ α, X binomial(n, p)
//
// (Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", Annals of
// Mathematical Statistics 1970). Proof. Under p, the mean over θ, uniform in [0, 1], of the
// likelihood ratios θᵏ(1−θ)ⁿ⁻ᵏ / pᵏ(1−p)ⁿ⁻ᵏ is a martingale with mean 1, being a mean of
// such. It is k!(n−k)!/(n+1)! / pᵏ(1−p)ⁿ⁻ᵏ = 1/((n+1)·P(X = k)). A nonnegative martingale of
// mean 1 ever reaches 1/α with probability at most α (Ville 1939). If the limit p₀ of some n
// exceeds p, then p < p₀ ≤ k/n; P(X = k) grows with the probability up to k/n, so that
// (n+1)·P(X = k) ≤ α at p, too, and the martingale has reached 1/α.
//
// Voráček ("Treatment of Statistical Estimation Problems in Randomized Smoothing for
// Adversarial Robustness", NeurIPS 2024) stops certification so; his sequences are others.
type Sequence struct {
	Alpha float64 // above 0, at most 0.5
}

// Lower returns the limit after n trials with k events, rounded down.
func (s Sequence) Lower(k, n int) (float64, error) {
	if err := checkTrials(k, n, s.Alpha); err != nil {
		return 0, err
	}
	return lower(k, n, func(p float64, ways *big.Float) bool { return s.excludes(k, n, p, ways) }), nil
}

// excludes reports whether p, which is not k/n, is excluded from the side on which it lies.
func (s Sequence) excludes(k, n int, p float64, ways *big.Float) bool {
	if p <= 0 || p >= 1 {
		return p <= 0 && k > 0 || p >= 1 && k < n
	}
	v := mass(k, n, p, ways)
	return atMost(v.Mul(v, up().SetInt64(int64(n)+1)), s.Alpha)
}

// verdict is what a test says so far.
type verdict int

const (
	open  verdict = iota
	above         // the probability is above the threshold, but for an error of probability α
	below         // it is not worth going on
)

// test decides whether a probability is above a threshold, in at most Samples trials. Half of α is
// for a Sequence, on which it stops at any time. The other half is for Clopper and Pearson's
// limit after the last trial, which is stronger there: both together err with a probability of
// at most α.
type test struct {
	threshold float64
	alpha     float64
	samples   int
}

// look returns the verdict after n trials with k events.
func (t *test) look(k, n int) verdict {
	if t.threshold >= 1 {
		return below
	}
	ways := choose(n, k)
	sequence := Sequence{t.alpha / 2}
	over := float64(k) > t.threshold*float64(n)*(1+0x1p-40) // then k/n is above it in exact arithmetic, too
	switch {
	case over && sequence.excludes(k, n, t.threshold, ways):
		return above
	case n >= t.samples && over && atMost(tail(k, n, t.threshold, ways), t.alpha/2):
		return above
	case n >= t.samples, !over && sequence.excludes(k, n, t.threshold, ways):
		return below
	}
	return open
}

// next returns after how many trials the test looks again. Looks are apart by a sixteenth of
// what has been drawn, in whole units, and by at least four units: that is part of the
// procedure, and does not depend on how samples are computed.
func (t *test) next(n int) int {
	const unit = 24
	step := max(4*unit, n/16/unit*unit)
	return min(n+step, t.samples)
}
