package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
)

// fix is a split in a lane.
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
type fix struct {
	group, lane, split int
	at, k              int // in the window, −1 beyond it; in the map
	active             bool
	beta, kept         float32 // now, and of the best bound
	m, s, scale        float32 // of Adam
	coef               float32 // λ
	post               float32 // value behind the ReLU
}

// fixed reports whether a neuron of a lane has a phase already: the first one counts.
func (t *leafRun) fixed(node int, f *fix) bool {
	list := t.fixes[node]
	for n := len(list) - 1; n >= 0 && list[n].group == f.group && list[n].lane == f.lane; n-- {
		if list[n].k == f.k {
			return true
		}
	}
	return false
}

// scales sets the lengths of first steps of multipliers of node i: the mean magnitude of its
// coefficients, of the first step that has any.
func (t *leafRun) scales(i int) {
	group, mean := -1, [kernels.Lanes]float32{}
	for n := range t.fixes[i] {
		f := &t.fixes[i][n]
		if f.group != group {
			group, mean = f.group, [kernels.Lanes]float32{}
			v, count := t.w.group(t.w.v[i+1], i+1, group), [kernels.Lanes]float32{}
			for k := 0; k < len(v); k += kernels.Lanes {
				for l, x := range v[k : k+kernels.Lanes] {
					if x != 0 {
						mean[l] += float32(math.Abs(float64(x)))
						count[l]++
					}
				}
			}
			for l, c := range count {
				mean[l] /= max(1, c)
			}
		}
		if f.scale == 0 {
			f.scale = mean[f.lane]
		}
	}
}

// of returns the number of a split neuron among values of node i.
func (t *leafRun) of(values [][]float32, i int, f *fix) *float32 {
	return &t.w.group(values[i+1], i+1, f.group)[f.at*kernels.Lanes+f.lane]
}

// lift takes the coefficients of split neurons of node i off the rows.
func (t *leafRun) lift(i, step int) {
	if len(t.fixes[i]) == 0 {
		return
	}
	if step == 0 || slices.ContainsFunc(t.fixes[i], func(f fix) bool { return f.scale == 0 }) {
		t.scales(i)
	}
	for n := range t.fixes[i] {
		if f := &t.fixes[i][n]; f.at >= 0 {
			p := t.of(t.w.v, i, f)
			f.coef, *p = *p, 0
		}
	}
}

// put gives split neurons of node i their coefficients before the ReLU (9d).
func (t *leafRun) put(i int) {
	for n := range t.fixes[i] {
		f := &t.fixes[i][n]
		if f.at < 0 {
			continue
		}
		p, s := t.w.params[i][f.k*kernels.RelaxParams:][:kernels.RelaxParams], &t.w.sums[f.group]
		v := f.beta
		switch {
		case p[kernels.RelaxUpper] == 0:
			v = 0
		case f.active:
			v = f.coef - f.beta
		}
		*t.of(t.w.ascent.out, i, f) = v
		s.B[f.lane] += float64(v) * float64(p[kernels.RelaxBias])
		s.E[f.lane] += math.Abs(float64(v)) * float64(p[kernels.RelaxError])
	}
}

// climb moves the multipliers of node i up their gradients, which are the neurons' values
// at the minimising inputs.
func (t *leafRun) climb(i int, rate, scale float32) {
	for n := range t.fixes[i] {
		f := &t.fixes[i][n]
		if f.at < 0 {
			continue
		}
		grad := *t.of(t.w.ascent.z, i, f)
		if f.post = 0; f.active {
			grad, f.post = -grad, grad
		}
		f.m = float32(beta1*f.m) + float32((1-beta1)*grad)
		f.s = float32(beta2*f.s) + float32((1-beta2)*float32(grad*grad))
		step := float32(float32(rate*f.scale)*f.m) / (float32(math.Sqrt(float64(f.s*scale))) + 1e-12)
		if f.beta = max(f.beta+step, 0); f.beta-f.beta != 0 {
			f.beta = 0
		}
	}
}

// pass gives split neurons of node i their values behind the ReLU.
func (t *leafRun) pass(i int) {
	for n := range t.fixes[i] {
		if f := &t.fixes[i][n]; f.at >= 0 {
			*t.of(t.w.ascent.z, i, f) = f.post
		}
	}
}

// keep keeps the multipliers of a lane.
func (t *leafRun) keep(group, lane int) {
	for i := range t.fixes {
		for n := range t.fixes[i] {
			if f := &t.fixes[i][n]; f.group == group && f.lane == lane {
				f.kept = f.beta
			}
		}
	}
}
