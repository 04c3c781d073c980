// Package reals evaluates models in real arithmetic over their float32 weights, of whatever
// storage: in float64 with a bound of the error and, where that leaves the sign of a row
// in doubt, exactly.
package reals

import (
	"context"
	"fmt"
	"math/big"

	"github.com/epsball/epsball/model"
)

// Sign is what is known of the sign of a number.
type Sign int8

const (
	Negative  Sign = -1
	Zero      Sign = 0
	Positive  Sign = 1
	Undecided Sign = 2
)

// Signs returns those of the rows C·z + D at the outputs z of a valid model for an input x,
// channels first; c is [rows][outputs], d one number a row or nil. They are exact unless the
// model has sigmoids or tanhs, where the sign of what is very near to 0 is Undecided. When
// ctx ends before exact arithmetic has decided, the error is the context's, and what it was
// to decide is Undecided.
func Signs(ctx context.Context, m *model.Model, x []*big.Rat, c, d []float32) ([]Sign, error) {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	outputs := m.Arch.Classes()
	if len(x) != m.Arch.Input.Size() {
		return nil, fmt.Errorf("input: %d numbers, want %d", len(x), m.Arch.Input.Size())
	}
	if len(c)%outputs != 0 || d != nil && len(d) != len(c)/outputs {
		return nil, fmt.Errorf("rows: %d coefficients and %d constants, want %d coefficients for each constant", len(c), len(d), outputs)
	}
	e := &estimator{m: m, shapes: shapes}
	z, err := e.outputs(x)
	if err != nil {
		return nil, err
	}
	signs := make([]Sign, len(c)/outputs)
	doubt := false
	for r := range signs {
		signs[r] = z.row(c[r*outputs:(r+1)*outputs], constant(d, r)).sign()
		doubt = doubt || signs[r] == Undecided
	}
	if !doubt || !Exact(&m.Arch) {
		return signs, nil
	}
	exact, err := exactOutputs(ctx, m, shapes, x)
	if err != nil {
		return signs, err
	}
	for r := range signs {
		if signs[r] == Undecided {
			signs[r] = exact.sign(c[r*outputs:(r+1)*outputs], constant(d, r))
		}
	}
	return signs, nil
}

func constant(d []float32, r int) float32 {
	if d == nil {
		return 0
	}
	return d[r]
}

// Exact reports whether all layers take rational numbers to rational numbers.
func Exact(a *model.Architecture) bool {
	for i := range a.Layers {
		if k := a.Layers[i].Kind; k == model.Sigmoid || k == model.Tanh {
			return false
		}
	}
	return true
}

// SignsOf returns the signs of the rows at given outputs, all finite.
func SignsOf(z, c, d []float32) []Sign {
	in := make([]*big.Rat, len(z))
	for k, v := range z {
		in[k] = new(big.Rat).SetFloat64(float64(v))
	}
	t := newTensor(in)
	signs := make([]Sign, len(c)/len(z))
	for r := range signs {
		signs[r] = t.sign(c[r*len(z):(r+1)*len(z)], constant(d, r))
	}
	return signs
}
