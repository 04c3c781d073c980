package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
)

// The proof for linear relaxations. Notation as in rounding.go; steps 1 to 3 of it
// bound intervals. A trace is one evaluation of the network, exact or executed, on
// an input of the ball: ẑ are its values before a ReLU, a after it. Steps 9a to 9c and
// 10a to 10c, on layers other than conv, fc, their adds and ReLUs, are in relax_*.go.
//
// 8. What a trace obeys. Layer i reads the activation a and adds, if it has a skip, the
// activation s; its sum (step 6) has T terms. With M ≥ |a|, Mₛ ≥ |s|
//
//	|ẑ − (Wa + b + s)| ≤ γ_T(|W|M + |b| + Mₛ) + Kη,
//
// 0 if exact; of a layer within a sum, whose output a later add takes up, ẑ is the
// partial sum of step 6. A ReLU gives a = max(ẑ, 0) in any case. l ≤ ẑ ≤ h and M hold
// for all traces: [l, h] is C ± R of Wa + b, which covers the first two terms with δ ≥
// γ_T, plus the interval of s, widened by γ_T·Mₛ, each rounded outward as in 3; or
// what follows from rows.
//
// Where a ≥ 0 is known, exact and executed, a sum of some of the terms of Wa + b, with any of
// them left out, lies between −N and P, the sums of what is negative and positive: P ≤ W⁺M + b⁺,
// N ≤ W⁻M + b⁻. A sum of T − 1 additions errs by at most u times what each of them gives, besides
// the u|Wa| + Kη/2 of products; what it gives is within γ_T(|W|M + |b|) + Kη of such a sum. So
//
//	|ẑ − (Wa + b + s)| ≤ γ_T(Q + Mₛ) + (u + γ_T²)(|W|M + |b|) + Kη,  Q = max(P, N),
//
// which of weights of both signs is about half. The layers of a longer sum add up: a sum of some
// of its terms is at most that of their Q and Mₛ. V of 10 is P + N, and one more FMA chain from b
// over W·M is D, P − N but for γ_K·V + Kη: Q ≤ (V + |D|)/2 + 2γ_K·V.
// The constants have relaxExtra·u·V besides, which 9 counts on. (Certificates state γ_T of all;
// so do proofs that are to become one.)
//
// 9. Backward through a ReLU. Given a row λ of float32 (any: a lower bound of Σλa
// is wanted), p = max(λ, 0), n = min(λ, 0), the kernel computes
//
//	λ′ = fl(p·α) + fl(n·s),  one of them zero.
//
// p·max(ẑ, 0) ≥ p·α′·ẑ for every slope α′ in [0, 1]. fl(pα) lies in [0, p], for
// rounding is monotone and both ends are floats: it is p times such a slope, exactly.
// No rounding is to be covered. (l ≥ 0: α = s = 1; h ≤ 0: 0.)
//
// n·max(ẑ, 0) ≥ n(s′ẑ + t) if the line s′ẑ + t is nowhere below max(ẑ, 0) on [l, h]:
// if s′l + t ≥ 0 and s′h + t ≥ h. With s ≥ h/(h − l) and t ≥ −sl these hold for s′
// = s. fl(ns) = n·s′ + e, |s′ − s| ≤ us, |e| ≤ η/2: t ≥ −sl + us·max(−l, h) is
// enough for s′, and |e·ẑ| ≤ η·max(−l, h)/2 is counted in 12.
//
// 10. Backward through an affine layer. By 8
//
//	Σλ′ẑ ≥ Σ (λ′W)a + Σλ′b + Σλ′s − Σ|λ′|(γ_T(|W|M + |b| + Mₛ) + Kη).
//
// The adjoint kernel computes μ, one FMA chain of at most n terms an element, and
// rows that meet at an activation with R readers are added: μ errs by at most
// γ_{n+R}|λ′||W| + nη an element, a skipped row by γ_R|λ′|; R is the larger one of the
// two activations that a layer with a skip reads. Times M that is again
// |λ′| times (|W|M + Mₛ), so one dot with
//
//	E ≥ (γ_T + γ_{n+R})(|W|M + |b| + Mₛ) + γ_{m+2}|b| + Kη
//
// covers execution and rounding of our own, but for nη·ΣM (12). The third term is
// for Σλ′b: chains of at most m = RelaxBlock FMAs from zero in float32, which are
// added in float64 (their own rounding is below 2u of Σ|λ′b| for 2²⁸ chains). |W|M
// + |b| is one FMA chain V of terms that are not negative: at most (V + Kη)(1 +
// 2γ_K). All t ≥ 0, n ≤ 0, E ≥ 0: the chains T of Σnt and S of Σ|λ′|E have terms of
// one sign, so the exact sums are at least T(1 + 2γₘ) − mη and at most S(1 + 2γₘ) + mη
// for each chain.
//
// A row of a single neuron starts as ±(w, b, E), exact, unless its skip is its source,
// where ±(w + 1) is rounded: by u(|w| + 1), one of the R roundings in E. A row over
// several outputs starts as if through a ReLU with α = s = 1.
//
// 11. The input. In a box, |a − c| ≤ r with float32 c and r: Σμa ≥ Σμc − Σ|μ|r, so c
// takes the place of b and r + γ_{m+2}|c| that of E, with S as above. For a ball in
// the dual norm, a = (x′ − mean)/std exactly or executed: by 5 within 4u|a| + 2η of
// ĉ + (x′ − x)/std, ĉ within 4u|ĉ| + 2η of (x − mean)/std, so
//
//	Σμa ≥ Σμĉ − ε‖μ/std‖* − Σ|μ|(4uM + 4u|ĉ| + 4η)  (Hölder).
//
// ‖·‖* is ‖·‖₂ for L2 and the largest magnitude for L1, computed in float64. Both
// bounds hold for ball ∩ pixel box, as the box of the ball in Linf contains it: the
// larger one is taken. The larger of several lower bounds may be taken anywhere: a
// row may stop at the box of any activation, with its c and r, as well.
//
// 12. Underflow, for each layer that a row passes, below
//
//	η((n + R + 2)·Σ_j M_j + Σ max(−l, h) + 3·neurons).
//
// Everything is finally put together in float64, rounded downward (lowOf). NaN and
// Inf anywhere give NaN or an infinite sum, or an infinite S: −Inf, not certified.
//
// Sources: Wong & Kolter 2018 (rows backward by adjoints, dual norms), Zhang et al.
// 2018 (CROWN: the choice of α), Singh et al. 2019 (DeepPoly: rounding in
// abstract interpreters), Xu et al. 2021 (α-CROWN).

// relaxExtra are the roundings of 10 beyond the terms of a chain, and as many more as
// its sums of constants need.
const relaxExtra = 4

// rowRounding holds the constants of one layer (8, 10).
type rowRounding struct {
	exec, back float64 // γ_T, γ_{n+R}
	chain      float64 // 1 + 2γ_K
	fanIn      float64
	terms      float64 // n + R + 2
}

// newRowRounding derives the constants of a node with sums of so many products, whose
// adjoint has chains of so many terms, in a sum of so many.
func newRowRounding(fanIn, chain, sum, readers int) rowRounding {
	n := chain + readers
	beyond := int(keep(termWholeSum, float64(max(0, sum-2-fanIn))))
	return rowRounding{gamma(fanIn + beyond + relaxExtra), gamma(n + relaxExtra), 1 + 2*gamma(fanIn), float64(fanIn), float64(n + 2)}
}

// chainSlack is 1 + 2γₘ of the kernels' chains, gammaChain γ_{m+2}: constants, for a
// host may load us in any rounding mode.
const (
	chain      = kernels.RelaxBlock * u
	chainSlack = 1 + 2*(chain/(1-chain))
	gammaChain = (chain + 2*u) / (1 - (chain + 2*u))
)

// errors returns what gives E of 10: the factors of V, of V + |D|, if bySign, and of Mₛ, and, for
// each output channel, the rest.
func (r *rowRounding) errors(rest []float64, bias []float32, bySign bool) (ofV, ofD, ofSkip float64) {
	ofSkip = keep(termSkip, (r.exec+r.back)*(1+slack))
	exec := r.exec
	if bySign {
		ofD = keep(termExecuted, exec/2*(1+slack))
		exec = min(exec, float64(exec*(exec+r.chain-1))+(relaxExtra+1)*u)
	}
	ofV = (keep(termExecuted, exec) + keep(termBack, r.back)) * (1 + slack) * r.chain
	ofB, least := keep(termConstants, gammaChain), keep(termUnderError, tiny)
	products, other := keep(termUnderError, float64((ofV+2*ofD)*r.fanIn*eta)), keep(termUnderError, float64((r.fanIn+4)*eta))
	for c, b := range bias {
		rest[c] = float64((products+float64(ofB*math.Abs(float64(b)))+other)*(1+slack)) + least
	}
	return ofV, ofD, ofSkip
}

// over returns a float32 not below v ≥ 0, by little.
func over(v float64) float32 { return float32(float64(v*(1+slack)) + tiny) }

// inputParams gives c and E of 11 for the box [lo, hi].
func inputParams(p, lo, hi []float32) {
	ofC := keep(termInput, gammaChain)
	for k := range lo {
		c := float32((float64(lo[k]) + float64(hi[k])) / 2)
		r := max(float64(hi[k])-float64(c), float64(c)-float64(lo[k])) // exact but for 2⁻⁵³
		setParams(p[k*kernels.RelaxParams:], 1, 1, 0, c, over(r+float64(ofC*math.Abs(float64(c)))))
	}
}

// dualParams is inputParams for a ball around c in the dual norm, its ε/std left out.
func dualParams(p, c, lo, hi []float32) {
	ofM, ofC := keep(termDualInput, 8*u), keep(termDualInput, 8*u+gammaChain)
	for k, v := range c {
		m := max(math.Abs(float64(lo[k])), math.Abs(float64(hi[k])))
		a := math.Abs(float64(v))
		setParams(p[k*kernels.RelaxParams:], 1, 1, 0, v, over(float64(ofM*m)+float64(ofC*a)))
	}
}

func setParams(p []float32, low, up, t, b, e float32) {
	p = p[:kernels.RelaxParams]
	p[kernels.RelaxLower], p[kernels.RelaxUpper], p[kernels.RelaxIntercept] = low, up, t
	p[kernels.RelaxBias], p[kernels.RelaxError] = b, e
}

// reluLines returns the slopes of 9 and t for a ReLU on [l, h]. The lower slope is
// that of CROWN: the line that cuts off less.
func reluLines(l, h float32) (low, up, t float32) {
	switch {
	case l >= 0:
		return 1, 1, 0
	case h <= 0:
		return 0, 0, 0
	}
	lo, hi := float64(l), float64(h)
	s := float32(min(1, float64(hi/(hi-lo)*(1+4*u))+0x1p-120)) // NaN stays
	c := float64(s)
	t = float32(float64((-c*lo+float64(4*u*c*max(-lo, hi)))*(1+4*u)) + 0x1p-120)
	if hi > -lo {
		low = 1
	}
	return low, s, t
}

// underflow returns the bound of 10 for a layer with the given sums of M over its
// source and of max(−l, h) over its neurons.
func (r *rowRounding) underflow(sumM, sumZ float64, neurons int) float64 {
	return keep(termUnderflow, eta*(float64(r.terms*sumM)+sumZ+3*float64(neurons)))
}

// rowLow puts a row's sums together: a float64 not above the bound, −Inf for anything
// not finite. d is a constant of the row; less, ≥ 0, is taken off.
func rowLow(s *kernels.RelaxSums, lane int, d, less float64) float64 {
	ofSums := 1 + keep(termChains, chainSlack-1)
	t, e := float64(s.T[lane]*ofSums), float64(s.E[lane]*ofSums)
	sum := math.Abs(t) + math.Abs(s.B[lane]) + math.Abs(e) + math.Abs(d) + less
	m := t + s.B[lane] + d - e - less - float64(sum*0x1p-48)
	if !(sum <= math.MaxFloat32) {
		return math.Inf(-1)
	}
	return m
}

// down32 rounds to float32, downward.
func down32(v float64) float32 { return -up32(-v) }
