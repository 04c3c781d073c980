package check

import (
	"errors"
	"fmt"
	"math"
	"math/big"
)

// The proof.
//
// u = 2⁻²⁴, η = 2⁻¹⁴⁹; v = 2⁻⁵³, ζ = 2⁻¹⁰⁷⁴ (the same for float64). γₙ(u) =
// nu/(1 − nu) (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
// ch. 3): a sum of n or fewer rounded products, in any order, with or without
// fused multiply-adds, is within γₙ(u)·Σ|terms| + (number of products)·η of the
// exact one, where a term passes n or fewer roundings; only products underflow,
// by η/2 each, and what follows at most doubles that.
//
// 1. What is bounded. A trace is what one evaluation of the network on one x′ of
// the ball gives: a value v_i for each node i. At level real there is one trace
// for x′. At level executed there is one for every order of summation, with or
// without FMA, and the exact one. In all of them
//
//	|v_i − f_i(v_p)| ≤ E_i,    f_i exact, p the nodes that i reads,
//
// with E_i = 0 at level real and at relu, clip, maxpool and concat, and else, for |v_p| ≤
// M_p,
//
//	conv, fc, batchnorm   γ_T(u)·(|W|M_p + |b|) + Kη   K products
//	avgpool               γ_T(u)·ΣM_p/n + Kη           K elements, n what divides
//	normalize             3u·max|f_i| + η              a difference, a quotient
//	add                   γ_T(u)·ΣM_p                  p not part of the sum
//	leakyrelu             u·|slope·l| + η              a product, where l < 0
//	sigmoid, tanh         2⁻²⁰                         by definition of the level
//
// where T is the number of terms of the node's sum. A conv, fc or batchnorm is a sum of K
// products and its bias, T = K + 1. An element of an avgpool passes K − 1 sums, and a
// division by n or a product with a rounded 1/n, before or after the sums: K + 1 = T
// roundings. (The sums themselves are n times the output, which counts for overflow.) A
// conv, fc or add that an add reads, and nothing
// else does, is part of that add's sum, whose terms are those of such parts and, one
// each, its other inputs. The whole sum may be evaluated in any order: each of its
// terms passes one product and T − 1 sums at most. The error of a term counts where
// the term comes in, so that of parts, and of adds of parts, v_i is not what some
// evaluation computes, perhaps none does, but what makes up the end's v_i. (T ≤ 2²¹
// keeps γ small.) If the absolute values of the sum's terms, times 1 + γ, plus Kη,
// which bounds every partial sum, are a float32, nothing overflows; if not, the level
// is not proved. Zeros of padding change nothing.
//
// 2. Our own rounding. Let S_i = |W|M_p + |b| (normalize: (M_p + |mean|)/std; add:
// the sum of both M_p; concat: M_p; input: M; of lines and planes, the largest |slope| of
// an element times M_p + the largest |intercept|; relu: 0 if u ≤ 0)
// and N be at least the number of roundings that any term passes in this
// package: network.chain adds up the sizes of all nodes, all fan-ins and
// fan-outs, and 64. With g = 4Nv, and Nv ≤ 2⁻¹⁰, γ_N(v) ≤ g/3. Let
//
//	D_i = E_i + g·S_i.
//
// Forward. The interval of node i is computed as C ± R, C = W·c + b, R = |W|·r,
// for |v_p − c| ≤ r, r ≤ M_p(1 + 2v): both are within γ_N(v)S_i(1 + 2v) of exact,
// so C − R − D_i and C + R + D_i, as rounded, bound v_i. The others alike, but relu,
// clip, maxpool and concat, whose ends are those of what they read, and curves (op_curve.go).
//
// Backward. With T a row of the specification, or ±v_k of a node, there are
// coefficients â, constants ĉ and err ≥ 0 so that in every trace
//
//	T ≥ Σ_i â_i·v_i + ĉ − err                                        (*)
//
// This holds at the start, with exact â. A step replaces node i, the last with
// â_i ≠ 0, by the nodes it reads: â_i·v_i ≥ â_i·f_i(v_p) − |â_i|E_i, where for a
// bend f_i is a line s·z + t, exactly that of the computed s and t, which is nowhere above
// f_i on [l, u] for â_i ≥ 0, and nowhere below it for â_i < 0. Any s will do where t is
// computed, outward, from the points where f_i − s·z may be smallest, or largest: the
// op's file says which these are. The â_p
// and ĉ computed differ from those of the exact f_i by at most γ_N(v) times the
// sum of the absolute terms that went into them, so Σ|â_p − exact|·M_p + |ĉ −
// exact| ≤ γ_N(v)·Σ_i|â_i|S_i. So (*) holds if err grows by Σ|â_i|D_i for each
// step. At the end, over the input alone, Σâ_0·v_0 is at least Σ min(â_0·lo,
// â_0·hi), or Σâ_0·x − ε‖â_0‖ in the dual norm, or the sum of both for a division of â_0 (ball.go),
// computed within γ_N(v)·Σ|â_0|M_0 and, for the norm, within a factor of 1 ± γ_N(v); |â_0|D_0 and ball.lower pay.
// err is itself rounded, by a factor above 1 − g: the 3 in g/3 has room for it,
// for S_i computed too low by as much, and for the last three sums.
//
// 3. Underflow here. Each product errs by ζ/2 beyond the above, twice that in the
// end, times an M ≤ 2²⁰⁰ (larger ones are refused). There are fewer than 2²⁰⁰
// products, so flat = 2⁻⁴⁰⁰ covers them all.
//
// 4. NaN and overflow. Every bound is refused unless it is a number of magnitude
// at most 2²⁰⁰; a comparison with NaN is never in favour.

const (
	u32      = 0x1p-24
	eta      = 0x1p-149
	flat     = 0x1p-400
	largest  = 0x1p200
	room     = 1 + 0x1p-20 // for float64 rounding of errors of float32
	maxTerms = 1 << 21
)

var errUnbounded = errors.New("a bound is not finite")

// constants returns g, or an error for a network too large for it.
func (n *network) constants() (g float64, err error) {
	if n.chain > 1<<43 {
		return 0, fmt.Errorf("network too large: chains of %d roundings", n.chain)
	}
	return keep(ownRounding, 4*float64(n.chain)*0x1p-53), nil
}

// rounded is what a node's execution may err by.
type rounded struct {
	e    float64 // E
	most float64 // of the error of a partial sum
}

func (n *node) gamma() float64 {
	t := float64(n.terms)
	return t * u32 / (1 - t*u32)
}

// rounding returns E of a sum of products, of which t is a term, for the absolute sum of
// the terms.
func (n *node) rounding(sum float64, t errorTerm) rounded {
	e := (keep(t, float64(n.gamma()*sum)) + keep(underflow, float64(float64(n.fanIn)*eta))) * room
	return rounded{e, e}
}

func up(v float64) float64   { return math.Nextafter(v, math.Inf(1)) }
func down(v float64) float64 { return math.Nextafter(v, math.Inf(-1)) }

// above returns a float64 that is at least r.
func above(r *big.Rat) float64 {
	f, exact := r.Float64()
	if exact {
		return f
	}
	return up(f)
}
