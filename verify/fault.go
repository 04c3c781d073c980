package verify

// errorTerm names a term of the proofs that the red team's tests remove, one at a time,
// to see that they notice. Numbers are those of the steps in rounding.go and
// relaxation.go.
//
// Some are not here, because others leave room for them:
//   - 3, Rel and Abs: δ ≥ γ_{K+2} has 3u to spare over γ_K + γ_{K+1}, the radius 1 +
//     slack, and sums of denormals are exact.
//   - 5, the box rounded outward and widened after normalize: float32 images and what is
//     executed of them lie within either way; real numbers are outside by less than the
//     error of an execution, which is not theirs.
//   - 6, the constants of IntervalAdd: 2γ_T − γ_K − γ_T ≥ u, and slack.
//   - 7a, the rounding of LeakyReLU's product: half an ulp, where endsOf has widened by 4u.
//   - 7c, Kη of a mean: Abs of the pass behind it.
//   - 9, the rounding of s and t: relaxExtra, as us·max(−l, h) ≤ u(|W|M + |b| + Mₛ).
//   - 9b, the rounding of a row's product with a slope, u|fz| of a LeakyReLU, and γ_R there,
//     in 9a and in 10c: relaxExtra of the layers before, which count the same M, or the
//     γ_{m+2}|c| of the input.
//   - 9g, the rounding of S, of the sums for an input, and of v + g: E of the neuron, which counts
//     every term of an execution as if all erred the same way, is far above them.
//   - 13, g, and what float64 rounds elsewhere: far below E.
//   - 1 + 2γ for the chains of R and V. Terms that a chain loses cannot be rounded up by
//     an execution of the same products; of V the loss counts times γ_T, and sums of n
//     products err by nu at most (Jeannerod & Rump 2013), below γₙ by as much.
type errorTerm uint8

const (
	noTerm errorTerm = iota
	termRadius
	termCentre
	termBias
	termProducts
	termAdd
	termLogits
	termLogitRadius
	termDualCentre
	termDualRadius
	termWholeSum
	termExecuted
	termSkip
	termSkipBox
	termBack
	termConstants
	termUnderError
	termChains
	termInput
	termDualInput
	termUnderflow
	termLastRows
	errorTerms // those before are noticed by internal/redteam, those behind by TestLayerFaults and TestLinearFaults

	termSmooth
	termMeanBox
	termCurve
)

var errorTermNames = [...]string{
	termRadius:      "2: δ of the radius",
	termCentre:      "2: 2δ|c|",
	termBias:        "2: 2δ|b|",
	termProducts:    "2, 4, 13: Kη",
	termAdd:         "3: Add",
	termLogits:      "4: E of the logits",
	termLogitRadius: "4: r of M",
	termDualCentre:  "5: 2δ|ĉ|",
	termDualRadius:  "5: δε/s",
	termWholeSum:    "6, 8: terms of the sum beyond the layer's",
	termExecuted:    "8: γ_T(|W|M + |b|)",
	termSkip:        "8: γ_T·Mₛ of a row",
	termSkipBox:     "8: γ_T·Mₛ of an interval",
	termBack:        "10: γ_{n+R}",
	termConstants:   "10: γ_{m+2}|b|",
	termUnderError:  "10: Kη",
	termChains:      "10: 1 + 2γₘ",
	termInput:       "11: γ_{m+2}|c|",
	termDualInput:   "11: 4uM + (4u + γ_{m+2})|ĉ|",
	termUnderflow:   "12: underflow",
	termLastRows:    "13: γ_T·S",
	termSmooth:      "7a: 2⁻²⁰ of sigmoid and tanh",
	termMeanBox:     "10b: γ of the box of a mean",
	termCurve:       "9b: 2⁻²⁰ of sigmoid and tanh",
}

// removed is the term that a test takes out; verifiers made meanwhile are unsound.
var removed errorTerm

// keep returns v, or 0 in a test that removes t.
func keep(t errorTerm, v float64) float64 {
	if t == removed && t != noTerm {
		return 0
	}
	return v
}
