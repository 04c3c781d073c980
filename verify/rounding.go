package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
)

// The proof.
//
// u = 2⁻²⁴, η = 2⁻¹⁴⁹ (the least positive float32), γₙ = n·u/(1 − n·u)
// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3). A
// float32 operation in round-to-nearest gives z(1 + d) + e, |d| ≤ u, |e| ≤ η/2,
// where e = 0 for sums, and d·e = 0. K is the fan-in of a layer: of a conv, dense, grouped
// or depthwise, an fc, or a batchnorm, whose one product has the network's float32 factor.
// Other operations have their proofs in the files of their intervals (7a to 7e).
//
// 1. One layer, executed. Any evaluation of b + Σ wₖxₖ takes each term through
// at most one product and K sums, so
//
//	|executed − (Wx + b)| ≤ γ_{K+1}(|W||x| + |b|) + Kη.
//
// A layer with an add, or whose output an add alone reads, is part of a longer sum:
// step 6. K + 1 is then the number of terms of that, except where C, R and Kη count
// the layer's own.
//
// 2. One layer of interval bounds. Let the layer's input, exact and executed,
// obey |x − c| ≤ r, c and r float32. The kernel computes one FMA chain C from
// b over W·c, so |C − (Wc + b)| ≤ γ_K(|W||c| + |b|) + Kη. With 1, both the
// exact and the executed output lie within
//
//	Q = |W|((1 + γ_{K+1})r + 2γ_{K+1}|c|) + 2γ_{K+1}|b| + 2Kη
//
// of C. The kernel also computes one FMA chain R from e over |W|·r′. Its terms
// are not negative, so R ≥ (1 − γ_K)(e + |W|r′) − Kη. Take δ ≥ γ_{K+1}, δ ≤
// 1/4; then 1/(1 − γ_K) ≤ 1 + 2δ, and R ≥ Q follows from
//
//	r′ ≥ (1 + 2δ)((1 + δ)r + 2δ|c|)      (i)
//	e  ≥ (1 + 2δ)(2δ|b| + 3Kη)           (ii)
//
// 3. The pass between two layers (IntervalAffine). s = C + R bounds the output
// from above. hi = fl(s): s ≤ hi + 2u|hi|. With Rel = 4u and Abs ≥ 4η, t =
// fl(fl(|hi|·Rel) + Abs) ≥ 4u|hi|(1 − 2u) + Abs(1 − u) − η, and fl(hi + t) ≥
// hi + t(1 − u) − u|hi| ≥ hi + 2u|hi| ≥ s. The same with signs turned for lo.
// ReLU is exact and monotone. IntervalBox takes any mid as centre; d = the
// larger of fl(hi − mid) and fl(mid − lo) is within a factor 1 ± u of the true
// radius r, so r ≤ d(1 + 2u). It computes r′ from d with three roundings:
//
//	r′ ≥ (d·MulR + |c|·MulC)(1 − 3u) + Add(1 − u) − η
//
// and Add ≥ 2η, MulR ≥ (1 + 16u)(1 + 2δ)(1 + δ), MulC ≥ (1 + 16u)(1 + 2δ)2δ
// give (i), for (1 + 16u)(1 − 3u) ≥ 1 + 2u.
//
// 4. The last layer, merged with the specification. Its rows are D = fl(W_i −
// W_j), β = fl(b_i − b_j). The rounding of a difference is below 2u of its
// result (and exact among denormals), so the exact margin m(x) = z_i − z_j of
// any x with |x − c| ≤ r obeys
//
//	|m(x) − C| ≤ |D|((1 + 2u)r + (2u + γ_K)|c|) + (2u + γ_K)|β| + Kη,
//
// which R covers as in 2 with δ ≥ γ_{K+2}. That settles (a) by C − R > 0. For
// (b) two logits are executed, not one margin: by 1 each errs by at most E_i =
// γ_{K+1}(|W_i|(|c| + r) + |b_i|) + Kη, which cancellation in D does not
// diminish. So (b) by C − R − E_i − E_j > 0. The kernel gives V_i, an FMA chain
// from |b_i| over |W_i|·M with M = fl(|c| + r′) ≥ (|c| + r)(1 − u), and by 2
// E_i ≤ δ(1 + 2δ)(1 + 2u)(V_i + Kη) + Kη.
//
// 5. The input. In every norm [lo, hi] is the float32 box of the ball within the pixel
// box, rounded outward. A normalize layer is monotone, exact and executed, so its
// bounds are those of lo and hi; two roundings err by at most 3u of the result and η,
// and the box is widened by 4u and Abs.
//
// For an L2 ball the first affine layers are bounded by the dual norm, too: with S =
// diag(std), or 1, |W_i S⁻¹(x′ − x)| ≤ ε‖W_i S⁻¹‖₂ (Hölder). The centre is ĉ =
// fl((x − mean)/std), within 3u|ĉ| + η of the exact one. A normalized x′, exact or
// executed, is within 3u|x̂| + η of (x′ − mean)/std, so it obeys |x̂| ≤ |ĉ|(1 + 8u) +
// (ε/s)(1 + 4u) + 3η, and is ĉ + (x′ − x)/s but for 3u|ĉ| + 3u|x̂| + 2η. With 1 for
// the execution over x̂ and for C over ĉ, the output lies within
//
//	ε‖W_i S⁻¹‖₂ + |W_i|((2γ + 9u)|ĉ| + (γ + 4u)ε/s + 3η) + 2γ|b_i| + 2Kη
//
// of C, γ = γ_{K+1} ≤ 1/4. Let δ ≥ γ_{K+15}, so δ ≥ γ + 14u. The chain R over r′ ≥
// (1 + 2δ)δ(2|ĉ| + ε/s) + 4η is at least (1 − γ_K) of its exact sum, 1 + 2δ times
// which is above 1: it covers all but the first term, which is added to it, rounded
// up. For an L1 ball the dual norm is the largest magnitude; the rest is the same, as
// |x′ − x| ≤ ε in each pixel.
//
// What lies within R of C and within R₂ of C₂, those of the box by 2, lies in the
// common part of both intervals, of which a new centre and radius are taken (within).
//
// 6. Adds. How a sum that spans several layers is executed: a layer of products or a mean
// (7c) and an add that alone reads it are one sum, and so are an add and an add that
// alone reads it.
// The sum's terms are the products and biases of its layers and what its adds read
// besides; let there be T. Any evaluation of it, in whatever order, parenthesised in
// whatever way, takes each term through at most one product and T − 1 sums, so with
// the weights and inputs of all its layers
//
//	|executed − Σ(Wx + b) − Σs| ≤ γ_T(Σ(|W||x| + |b|) + Σ|s|) + Kη,
//
// K products in all. That is executed = Σy + Σs(1 + θ), |θ| ≤ γ_T, where
//
//	|y − (Wx + b)| ≤ γ_T(|W||x| + |b|) + Kη
//
// for each of its layers, K products of its own: such y, and the partial sums of them
// that adds pass on, are what is bounded of layers within a sum, where an evaluation
// may compute no such number. An add of two numbers that were rounded before, or a
// shortcut from which a layer's chain starts, are evaluations of this kind.
//
// With δ ≥ γ_T, R of step 2 (or 5) covers what is not s. If s lies within ρ of κ,
// the sum lies within R + ρ′ of C + κ, ρ′ = ρ + γ_T(|κ| + ρ), and as the centre is
// c = fl(C + κ), within R + ρ′ + u|c| of c. For ρ′ serves the r′ of the activation
// added: by (i) it is large enough if the δ of this layer is among those it was made
// for. An activation that several layers read or add is given the r′ of the largest
// δ among them. IntervalAdd computes ((R + ρ′)·MulR + |c|·MulC) + Add; each term
// goes through at most four roundings, and the two products may lose η/2 besides:
// MulR = 1 + 16u, MulC = 4u, Add ≥ 2η cover that.
//
// 7. Networks that do not end in an affine layer of one pixel. All outputs have
// bounds, C and R of step 2 or 6, or those of readers by step 3, exact and executed. A
// margin is above the difference of two.
//
// Constants are derived in float64 and enlarged by a factor 1 + slack, which
// covers float64 rounding and every (1 + cu) with c ≤ 8 left open above.
// Products that are added are rounded explicitly, so that the constants, and
// with them the bounds, are the same bits on every platform.

const (
	u       = 1.0 / (1 << 24)
	tiny    = 0x1p-100 // Abs and Add: far above 4η, far below any bound, and normal: denormals are slow
	slack   = 1e-6
	eta     = 0x1p-149
	maxFan  = 1 << 20 // keeps γ below 1/4
	relStep = 4 * u
)

// gamma returns γₙ.
func gamma(n int) float64 { return float64(n) * u / (1 - float64(n)*u) }

// sumConstants are those of step 6.
var sumConstants = kernels.IntervalConstants{MulR: 1 + 16*u, MulC: 4 * u, Add: tiny}

// interval gives the constants of the pass that feeds the layer (step 3).
func (b bound) interval(relu bool) kernels.IntervalConstants {
	d, ofR := b.delta, keep(termRadius, b.delta)
	return kernels.IntervalConstants{
		Rel: relStep, Abs: tiny, Add: float32(keep(termAdd, tiny)),
		MulR: up32((1 + 2*ofR) * (1 + ofR) * (1 + slack)),
		MulC: up32((1 + 2*d) * 2 * keep(termCentre, d) * (1 + slack)),
		ReLU: relu,
	}
}

// radiusBias returns e of step 2, the start of the chain for R.
func (b bound) radiusBias(bias []float32) []float32 {
	e := make([]float32, len(bias))
	d := b.delta
	ofB, products := keep(termBias, 2*d), keep(termProducts, 3*float64(b.fanIn)*eta)
	for i, v := range bias {
		e[i] = up32((1 + 2*d) * (float64(ofB*math.Abs(float64(v))) + products) * (1 + slack))
	}
	return e
}

// executed returns E_i of step 4 from V_i.
func (b bound) executed(v float64) float64 {
	k := keep(termProducts, float64(b.fanIn)*eta)
	return keep(termLogits, (float64(b.delta*(1+2*b.delta)*(v+k))+k)*(1+slack))
}

// dualRadius returns r′ of step 5 for a centre and ε/s.
func (b bound) dualRadius(c, epsStd float64) float32 {
	sum := keep(termDualCentre, 2*math.Abs(c)) + keep(termDualRadius, epsStd)
	return up32(float64(b.delta*(1+2*b.delta)*sum*(1+slack)) + keep(termAdd, tiny))
}

// normalizeOut widens the executed bounds of a normalize layer (step 5).
func normalizeOut(lo, hi float32) (float32, float32) {
	widen := func(v float32) float64 { return float64(math.Abs(float64(v))*relStep) + tiny }
	return -up32(-(float64(lo) - widen(lo))), up32(float64(hi) + widen(hi))
}

// addUp returns a float32 not below r + d; r, d ≥ 0.
func addUp(r, d float32) float32 { return up32((float64(r) + float64(d)) * (1 + slack)) }

// within returns a centre and a radius of what lies within r of c and within r2 of c2:
// c2 and r2 where they are all of it, for both are sound.
func within(c, r, c2, r2 float32) (float32, float32) {
	lo, hi := float64(c)-float64(r), float64(c)+float64(r)
	lo2, hi2 := float64(c2)-float64(r2), float64(c2)+float64(r2)
	if lo2 >= lo && hi2 <= hi {
		return c2, r2
	}
	lo, hi = max(lo, lo2), min(hi, hi2)
	mid := float32((lo + hi) / 2)
	m := float64(mid)
	d := max(hi-m, m-lo)
	return mid, up32(float64((d+float64((math.Abs(m)+d)*0x1p-50))*(1+slack)) + tiny)
}

// lowOf returns a float32 not above a − b − c − d; −Inf for anything not finite.
// The four terms are combined with an error far below the 2⁻⁵⁰ of their
// magnitudes that is subtracted.
func lowOf(a, b, c, d float64) float32 {
	sum := math.Abs(a) + math.Abs(b) + math.Abs(c) + math.Abs(d)
	m := a - b - c - d - float64(sum*0x1p-50)
	if math.IsNaN(m) || sum > math.MaxFloat32 {
		return float32(math.Inf(-1))
	}
	return -up32(-m)
}

// up32 rounds to float32, upward.
func up32(v float64) float32 {
	f := float32(v)
	if float64(f) < v {
		f = math.Nextafter32(f, float32(math.Inf(1)))
	}
	return f
}
