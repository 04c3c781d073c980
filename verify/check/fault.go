package check

// errorTerm names a term of the proof that the red team's tests remove, one at a time,
// to see that they notice. Of outward steps, flat, room, slack and the differences of g
// from γ_N(v) nothing can show that they are gone: g alone leaves room for more.
type errorTerm string

const (
	sumError       errorTerm = "γ_T(|W|M + |b|)"
	underflow      errorTerm = "Kη"
	normalizeError errorTerm = "3u·max|f| of normalize"
	addError       errorTerm = "γ_T·ΣM of add"
	wholeSum       errorTerm = "T of parts"
	ownRounding    errorTerm = "g"
	normError      errorTerm = "γ₂(|aM| + |b|) of batchnorm"
	poolError      errorTerm = "γ_T·ΣM/n of avgpool"
	leakyError     errorTerm = "u·|slope·l| of leakyrelu"
	curveError     errorTerm = "2⁻²⁰ of sigmoid and tanh"
)

// removed is the term that a test takes out.
var removed errorTerm

// keep returns v, or 0 in a test that removes t.
func keep(t errorTerm, v float64) float64 {
	if t == removed {
		return 0
	}
	return v
}
