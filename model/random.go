package model

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Init names a distribution of first weights. In all of them biases are uniform in
// [-1/√n, 1/√n), n being the inputs of one output: In·KH·KW for conv, In for fc.
type Init string

const (
	// InitHe draws weights uniformly from [-√(6/n), √(6/n)) (He et al. 2015).
	InitHe Init = "he"
	// InitIBP draws weights from a normal distribution of standard deviation √(2π)/n,
	// half of that behind an add (Shi et al. 2021, section 4.1): interval bounds then keep
	// their width from layer to layer. The last layer, which is merged with the margins,
	// is drawn by InitHe, as in the authors' code.
	InitIBP Init = "ibp"
)

// Inits lists them.
func Inits() []Init { return []Init{InitHe, InitIBP} }

// Random returns a model with weights drawn for training by InitHe.
func Random(a *Architecture, seed uint64) (*Model, error) { return InitHe.Random(a, seed) }

// Random returns a model with weights drawn for training; batchnorm starts as the identity
// but for its Eps. The same seed gives the same bits on every machine. It copies a, and
// returns its error if a is not valid.
func (d Init) Random(a *Architecture, seed uint64) (*Model, error) {
	if d != InitHe && d != InitIBP {
		return nil, fmt.Errorf("init: got %q, want one of %v", string(d), Inits())
	}
	shapes, err := a.Shapes()
	if err != nil {
		return nil, err
	}
	last := len(a.Layers) - 1
	for last > 0 && !a.Layers[last].HasMatrix() {
		last--
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
		p := &m.Params[i]
		if d == InitIBP && i < last {
			p.W = normal(src, l.Out*int(fanIn), a.ibpDeviation(i, int(fanIn)))
		} else {
			p.W = uniform(src, l.Out*int(fanIn), float32(math.Sqrt(6/float64(fanIn))))
		}
		p.B = uniform(src, l.Out, float32(math.Sqrt(1/float64(fanIn))))
	}
	return m, nil
}

// ibpDeviation is √(2π)/n, or half of it where layer i reads a sum, whose box is twice as
// wide as those of its summands.
func (a *Architecture) ibpDeviation(i, fanIn int) float64 {
	const root = 2.506628274631000502 // √(2π)
	k := a.InputsOf(i)[0]
	for k >= 0 && a.Layers[k].Kind == ReLU {
		k = a.InputsOf(k)[0]
	}
	if k >= 0 && a.Layers[k].Kind == Add {
		return root / 2 / float64(fanIn)
	}
	return root / float64(fanIn)
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

// normal draws n values of a normal distribution, each product rounded, so that all
// machines agree: by Karney's algorithm N (2016), which compares uniform numbers and takes
// neither logarithms nor exponentials.
func normal(src *rand.PCG, n int, deviation float64) []float32 {
	u := func() float64 { return float64(src.Uint64()>>11) * 0x1p-53 }
	// decays is true with probability e^-p for p in [0, 1]: where a run p > u₁ > u₂ > …
	// ends after an even number (von Neumann 1951).
	decays := func(p float64) bool {
		for even := true; ; even = !even {
			next := u()
			if next >= p {
				return even
			}
			p = next
		}
	}
	times := func(n int, p float64) bool {
		for range n {
			if !decays(p) {
				return false
			}
		}
		return true
	}
	v := make([]float32, n)
	for i := range v {
		for {
			k := 0
			for decays(0.5) {
				k++
			}
			if !times(k*(k-1), 0.5) {
				continue
			}
			x := u()
			// e^-x(2k + x)/2 = (e^-x(2k + x)/(2k + 2))^(k + 1)
			if !times(k+1, float64(x*float64(float64(2*k)+x))/float64(2*k+2)) {
				continue
			}
			y := float64((float64(k) + x) * deviation)
			if src.Uint64()>>63 != 0 {
				y = -y
			}
			v[i] = float32(y)
			break
		}
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
