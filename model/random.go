package model

import (
	"math"
	"math/rand/v2"
)

// Random returns a model with weights drawn for training: with n the inputs of
// one output (In·KH·KW for conv, In for fc), weights are uniform in
// [-√(6/n), √(6/n)) and biases in [-1/√n, 1/√n); batchnorm starts as the identity but
// for its Eps. The same seed gives the same
// bits on every machine. It copies a, and returns its error if a is not valid.
func Random(a *Architecture, seed uint64) (*Model, error) {
	shapes, err := a.Shapes()
	if err != nil {
		return nil, err
	}
	m := &Model{Arch: *a.Clone(), Params: make([]Param, len(a.Layers))}
	for i := range a.Layers {
		l := &a.Layers[i]
		if l.Kind == BatchNorm {
			c := shapes[i+1].C
			m.Params[i] = Param{W: filled(c, 1), B: filled(c, 0), Mean: filled(c, 0), Var: filled(c, 1)}
		}
		if !l.HasMatrix() {
			continue
		}
		fanIn, _ := product(maxWeight, l.WeightShape(a.InputShape(i, shapes))[1:]...)
		src := rand.NewPCG(seed, uint64(i))
		m.Params[i] = Param{
			W: uniform(src, l.Out*int(fanIn), float32(math.Sqrt(6/float64(fanIn)))),
			B: uniform(src, l.Out, float32(math.Sqrt(1/float64(fanIn)))),
		}
	}
	return m, nil
}

// uniform draws n values k·bound/2²³ with k an integer in [-2²³, 2²³). Each
// takes one rounding, of one product: there is no sum that a compiler could
// fuse, so all machines agree.
func uniform(src *rand.PCG, n int, bound float32) []float32 {
	const half = 1 << 23
	step := bound / half // exact: a power of two
	v := make([]float32, n)
	for i := range v {
		k := int32(src.Uint64()>>40) - half
		v[i] = float32(k) * step
	}
	return v
}

func filled(n int, x float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = x
	}
	return v
}
