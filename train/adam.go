package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
)

// Adam's constants, those of Kingma & Ba 2015.
const (
	beta1    = 0.9
	beta2    = 0.999
	adamTiny = 1e-8
)

// adam is that of Kingma & Ba 2015. Weight decay is an L2 penalty.
var adam = rule{
	name: "adam", states: 2, coupled: true,
	prepare: func(u *update, _ *Config, lr float64, t int) { u.adam = adamConstants(lr, t) },
	step:    adamStep,
}

// adamConstants returns the numbers of update t (from 1), with the corrections of both
// moments' bias in the step size, α√(1−β₂ᵗ)/(1−β₁ᵗ), and the ε̂ that goes with it
// (Kingma & Ba 2015, end of section 2).
func adamConstants(lr float64, t int) kernels.AdamConstants {
	c2 := math.Sqrt(1 - power(beta2, t))
	return kernels.AdamConstants{
		Beta1: beta1, Rest1: 1 - beta1, Beta2: beta2, Rest2: 1 - beta2,
		Alpha: float32(float64(lr*c2) / (1 - power(beta1, t))),
		Tiny:  float32(adamTiny * c2),
	}
}

// power is bⁿ by squaring: products only, the same bits on every machine.
func power(b float64, n int) float64 {
	p := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			p *= b
		}
		b *= b
	}
	return p
}

// adamStep updates weights and both moments. The kernel rounds every operation, division
// and square root too.
func adamStep(u *update, isa *kernels.ISA, sc *kernels.Scratch, b *block) {
	isa.AdamStep(sc, b.w, b.g, b.state[0], b.state[1], u.adam)
}
