package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Adam's constants, those of Kingma & Ba 2015.
const (
	beta1    = 0.9
	beta2    = 0.999
	adamTiny = 1e-8
)

// adamBlock is the number of weights of one task.
const adamBlock = 16384

// adam holds the moments of all weights. Blocks are independent of each other.
type adam struct {
	m, v   []model.Param // first and second moments, laid out as the weights
	blocks []block
}

// block is a run of weights with its gradient and moments.
type block struct{ w, g, m, v []float32 }

// newAdam returns the optimiser of weights w with gradients g, which keep their
// places in memory.
func newAdam(w, g []model.Param) *adam {
	a := &adam{m: zeros(w), v: zeros(w)}
	for i := range w {
		a.split(w[i].W, g[i].W, a.m[i].W, a.v[i].W)
		a.split(w[i].B, g[i].B, a.m[i].B, a.v[i].B)
	}
	return a
}

func zeros(like []model.Param) []model.Param {
	z := make([]model.Param, len(like))
	for i, p := range like {
		z[i] = model.Param{W: make([]float32, len(p.W)), B: make([]float32, len(p.B))}
	}
	return z
}

func (a *adam) split(w, g, m, v []float32) {
	for len(w) > 0 {
		n := min(adamBlock, len(w))
		a.blocks = append(a.blocks, block{w[:n], g[:n], m[:n], v[:n]})
		w, g, m, v = w[n:], g[n:], m[n:], v[n:]
	}
}

// rate returns the numbers of update t (from 1), with the corrections of both
// moments' bias in the step size, α√(1−β₂ᵗ)/(1−β₁ᵗ), and the ε̂ that goes with it
// (Kingma & Ba 2015, end of section 2).
func rate(lr float64, t int) kernels.AdamConstants {
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

// update takes one step on block i. The kernel rounds every operation, division
// and square root too, so that all machines train the same weights.
func (a *adam) update(isa *kernels.ISA, sc *kernels.Scratch, i int, r kernels.AdamConstants) {
	b := &a.blocks[i]
	isa.AdamStep(sc, b.w, b.g, b.m, b.v, r)
}
