package model

import (
	"fmt"
	"math"
)

// Affine returns the factor and the summand of each channel of a batchnorm layer
// with the given Eps, (x−mean)/√(var+eps)·W + B = scale·x + shift: computed in
// float64 and rounded once. These float32 numbers are what the network computes
// with, and what is certified.
func (p *Param) Affine(eps float32) (scale, shift []float32) {
	scale, shift = make([]float32, len(p.W)), make([]float32, len(p.W))
	p.AffineInto(scale, shift, eps)
	return scale, shift
}

// AffineInto is Affine into slices of one number a channel.
func (p *Param) AffineInto(scale, shift []float32, eps float32) {
	for c := range scale {
		s, t := p.affine(c, eps)
		scale[c], shift[c] = float32(s), float32(t)
	}
}

// affine is Affine of channel c, not rounded to float32.
func (p *Param) affine(c int, eps float32) (scale, shift float64) {
	scale = float64(p.W[c]) / math.Sqrt(float64(p.Var[c])+float64(eps))
	return scale, float64(p.B[c]) - float64(float64(p.Mean[c])*scale)
}

// checkBatchNorm refuses parameters that give no finite Affine.
func checkBatchNorm(i int, p *Param, eps float32) error {
	for c, v := range p.Var {
		scale, shift := p.affine(c, eps)
		if !finite(float32(scale)) || !finite(float32(shift)) {
			return fieldErr(fmt.Sprintf("%s[%d]", varName(i), c), "got %v with eps %v and weight %v, expected numbers ≥ 0 that leave it finite",
				v, eps, p.W[c])
		}
	}
	return nil
}
