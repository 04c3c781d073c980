package train

import (
	"math"

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

// adamRate is the part of an update that all weights share.
type adamRate struct{ alpha, tiny float32 }

// rate returns the step size with the corrections of both moments' bias for
// update number t (from 1): α√(1−β₂ᵗ)/(1−β₁ᵗ), and the ε̂ that goes with it
// (Kingma & Ba 2015, end of section 2).
func rate(lr float64, t int) adamRate {
	c2 := math.Sqrt(1 - power(beta2, t))
	return adamRate{float32(float64(lr*c2) / (1 - power(beta1, t))), float32(adamTiny * c2)}
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

// update takes one step on block i: m = β₁m + (1−β₁)g, v = β₂v + (1−β₂)g²,
// w −= α·m/(√v + ε̂). One plain loop with every operation rounded: division and
// square root of the vector library are approximations that differ from machine
// to machine.
func (a *adam) update(i int, r adamRate) {
	b := &a.blocks[i]
	g, m, v := b.g[:len(b.w)], b.m[:len(b.w)], b.v[:len(b.w)]
	for k, w := range b.w {
		gk := g[k]
		mk := float32(beta1*m[k]) + float32((1-beta1)*gk)
		vk := float32(beta2*v[k]) + float32((1-beta2)*float32(gk*gk))
		m[k], v[k] = mk, vk
		root := float32(math.Sqrt(float64(vk)))
		b.w[k] = w - float32(float32(r.alpha*mk)/float32(root+r.tiny))
	}
}
