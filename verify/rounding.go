package verify

import (
	"fmt"
	"math"

	"github.com/epsball/epsball/kernels"
)

// The proof.
//
// u = 2⁻²⁴, η = 2⁻¹⁴⁹ (the least positive float32), γₙ = n·u/(1 − n·u)
// (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3). A
// float32 operation in round-to-nearest gives z(1 + d) + e, |d| ≤ u, |e| ≤ η/2,
// where e = 0 for sums, and d·e = 0. K is the fan-in of a layer.
//
// 1. One layer, executed. Any evaluation of b + Σ wₖxₖ takes each term through
// at most one product and K sums, so
//
//	|executed − (Wx + b)| ≤ γ_{K+1}(|W||x| + |b|) + Kη.
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
// 5. The input. For an Linf ball [lo, hi] is the float32 box rounded outward.
// A normalize layer is monotone, exact and executed, so its bounds are those
// of lo and hi; two roundings err by at most 3u of the result and η, and the
// box is widened by 4u and Abs.
//
// For an L2 ball the first affine layer is bounded by the dual norm: with S =
// diag(std), or 1, |W_i S⁻¹(x′ − x)| ≤ ε‖W_i S⁻¹‖₂ (Hölder). The centre is ĉ =
// fl((x − mean)/std), within 3u|ĉ| + η of the exact one, and a normalized x′,
// exact or executed, obeys |x̂| ≤ |ĉ|(1 + 4u) + (ε/s)(1 + 4u) + 2η. So the
// output lies within
//
//	ε‖W_i S⁻¹‖₂ + |W_i|(2γ|ĉ| + γ·ε/s + 8u|ĉ| + 4u·ε/s + 3η)(1 + γ) + 2γ|b_i| + 2Kη
//
// of C, γ = γ_{K+1}. The |W| pass with r′ = δ(1 + 2δ)(2|ĉ| + ε/s) + Add, δ ≥
// γ_{K+16}, covers all but the first term, which is added to R, rounded up. For an
// L1 ball the dual norm is the largest magnitude; the rest is the same, as |x′ − x| ≤
// ε in each pixel.
//
// 6. Adds. Let a sum p + q have summands, exact and executed, within R of C and
// within ρ of κ, all float32. The executed one is rounded once more, |fl(p + q) −
// (p + q)| ≤ u|p + q|, and so is the centre, |C + κ − c| ≤ u|c| for c = fl(C + κ).
// Both errors together are below 2u|c| + u(R + ρ) + u²|c|, so that exact and
// executed sums lie within
//
//	(1 + u)(R + ρ) + (2u + u²)|c|
//
// of c. IntervalAdd computes ((R + ρ)·MulR + |c|·MulC) + Add. Each term goes through
// at most four roundings, and the two products may lose η/2 besides: MulR = 1 + 16u,
// MulC = 4u, Add ≥ 2η cover that. For R it takes that of step 2 (or 5), for κ and ρ
// centre and r′ of the activation added: r′ ≥ r by (i). An activation that several
// layers read has the r′ of the largest δ among them, which (i) allows; one that is
// only added has δ = 0. If the input is added, for an L2 ball, ρ = (ε/s + 8u|ĉ|)(1 +
// slack) + Add: by step 5, |x̂ − ĉ| ≤ ε/s + 3u|ĉ| + 3u|x̂| + 2η.
//
// 7. Networks that do not end in an affine layer of one pixel. All outputs have
// bounds, C and R of step 2 or 6, or those behind their ReLU by step 3, exact and
// executed. A margin is above the difference of two.
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

// bound holds the constants of one affine layer.
type bound struct {
	fanIn int
	delta float64
}

// newBound derives the constants of a layer; extra is the number of roundings
// its δ covers beyond the fan-in.
func newBound(fanIn, extra int) (bound, error) {
	if fanIn > maxFan {
		return bound{}, fmt.Errorf("fan-in %d: rounding is bounded up to %d", fanIn, maxFan)
	}
	return bound{fanIn, gamma(fanIn + extra)}, nil
}

const (
	extraLayer  = 2  // step 2 needs 1
	extraMargin = 4  // step 4 needs 2
	extraFirst  = 16 // step 5
)

// sumConstants are those of step 6.
var sumConstants = kernels.IntervalConstants{MulR: 1 + 16*u, MulC: 4 * u, Add: tiny}

// interval gives the constants of the pass that feeds the layer (step 3).
func (b bound) interval(relu bool) kernels.IntervalConstants {
	d := b.delta
	return kernels.IntervalConstants{
		Rel: relStep, Abs: tiny, Add: tiny,
		MulR: up32((1 + 2*d) * (1 + d) * (1 + slack)),
		MulC: up32((1 + 2*d) * 2 * d * (1 + slack)),
		ReLU: relu,
	}
}

// radiusBias returns e of step 2, the start of the chain for R.
func (b bound) radiusBias(bias []float32) []float32 {
	e := make([]float32, len(bias))
	d := b.delta
	for i, v := range bias {
		e[i] = up32((1 + 2*d) * (float64(2*d*math.Abs(float64(v))) + float64(3*float64(b.fanIn)*eta)) * (1 + slack))
	}
	return e
}

// executed returns E_i of step 4 from V_i.
func (b bound) executed(v float64) float64 {
	k := float64(b.fanIn) * eta
	return (float64(b.delta*(1+2*b.delta)*(v+k)) + k) * (1 + slack)
}

// dualRadius returns r′ of step 5 for a centre and ε/s.
func (b bound) dualRadius(c, epsStd float64) float32 {
	return up32(float64(b.delta*(1+2*b.delta)*(2*math.Abs(c)+epsStd)*(1+slack)) + tiny)
}

// inputRadius returns ρ of step 6 for the centre and ε/s of a pixel.
func inputRadius(c, epsStd float64) float32 {
	return up32(float64((epsStd+float64(8*u*math.Abs(c)))*(1+slack)) + tiny)
}

// normalizeOut widens the executed bounds of a normalize layer (step 5).
func normalizeOut(lo, hi float32) (float32, float32) {
	widen := func(v float32) float64 { return float64(math.Abs(float64(v))*relStep) + tiny }
	return -up32(-(float64(lo) - widen(lo))), up32(float64(hi) + widen(hi))
}

// addUp returns a float32 not below r + d; r, d ≥ 0.
func addUp(r, d float32) float32 { return up32((float64(r) + float64(d)) * (1 + slack)) }

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
