package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
)

// signFix is a split of a ReLU in a lane.
//
// 9d. Splits. In a leaf a trace's own sign decides: it belongs to a part in which a neuron
// is Active only if its ẑ ≥ 0, and Inactive only if ẑ ≤ 0, be it exact or executed. With
// β ≥ 0 and λ the coefficient behind the ReLU
//
//	Active:   λ·max(ẑ, 0) = λẑ ≥ (λ − β)ẑ,    Inactive: λ·max(ẑ, 0) = 0 ≥ βẑ.
//
// Rounding is monotone and λ a float: fl(λ − β) ≤ λ, so it is λ − β′ for some β′ ≥ 0 exactly.
// So splits have no rounding to be covered, but for what their coefficients λ′ take part in
// like all others: λ′b and |λ′|E, here in float64. Where h ≤ 0 in the frame, 0 ≥ 0·ẑ holds
// in any case, and λ′ = 0: the adjoint may leave such neurons out.
type signFix struct {
	place
	multiplier
	active bool
}

// addSign adds a split; of those of one neuron the first counts.
func (n *nodeSplits) addSign(p place, b multiplier, active bool) {
	for k := len(n.signs) - 1; k >= 0 && n.signs[k].group == p.group && n.signs[k].lane == p.lane; k-- {
		if n.signs[k].k == p.k {
			return
		}
	}
	n.signs = append(n.signs, signFix{p, b, active})
}

func (t *leafRun) putSign(i int, f *signFix) {
	if f.at < 0 {
		return
	}
	p, s := t.w.params[i][f.k*kernels.RelaxParams:][:kernels.RelaxParams], &t.w.sums[f.group]
	v := f.beta
	switch {
	case p[kernels.RelaxUpper] == 0:
		v = 0
	case f.active:
		v = f.coef - f.beta
	}
	*t.of(t.w.ascent.out, i, &f.place) = v
	s.B[f.lane] += float64(v) * float64(p[kernels.RelaxBias])
	s.E[f.lane] += math.Abs(float64(v)) * float64(p[kernels.RelaxError])
}
