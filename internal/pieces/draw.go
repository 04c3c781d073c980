package pieces

import (
	"math/rand/v2"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Case is a tiny network with a box and a property without constants.
type Case struct {
	Model   *model.Model
	Lo, Hi  []float32
	Rows    *net.Property // without constants
	Varying int           // inputs
	Dyadic  bool          // weights of a few bits
}

const (
	mostNeurons = 14
	mostVarying = 6
)

// Draw draws a case: dense layers, graphs with convolutions and residual adds, or layers of
// all piecewise linear kinds, with at most 14 neurons that bend and two to six inputs that
// vary. Weights are of a few bits, so that sums are exact and ties common, or any.
func Draw(r *rand.Rand) *Case {
	for {
		c := &Case{Dyadic: r.IntN(2) == 0}
		var a *model.Architecture
		switch r.IntN(4) {
		case 0:
			a = plain.RandomGraph(r)
		case 1:
			a = plain.RandomLayers(r)
		default:
			a = dense(r)
		}
		if a.Validate() != nil || a.Classes() < 2 || a.Classes() > 6 || !small(a) {
			continue
		}
		c.Model = plain.Random(a, r)
		if c.Dyadic {
			dyadic(c.Model, r)
		}
		c.box(r)
		c.Rows = property(a.Classes(), r)
		return c
	}
}

// dense draws one to three hidden layers, some with an add or a layer between.
func dense(r *rand.Rand) *model.Architecture {
	fc := func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }
	a := &model.Architecture{Name: "dense", Input: model.Shape{C: 1, H: 1, W: 2 + r.IntN(mostVarying-1)}}
	put := func(l ...model.Layer) { a.Layers = append(a.Layers, l...) }
	for range 1 + r.IntN(3) {
		width := 2 + r.IntN(6)
		put(fc(width))
		if r.IntN(4) == 0 {
			put(model.Layer{Kind: model.BatchNorm, Eps: 1e-3})
		}
		switch r.IntN(8) {
		case 0:
			put(model.Layer{Kind: model.LeakyReLU, Slope: []float32{0.125}})
		case 1: // a residual block
			put(model.Layer{Kind: model.ReLU}, fc(width), model.Layer{Kind: model.Add, Inputs: []int{len(a.Layers), len(a.Layers) + 1}}, model.Layer{Kind: model.ReLU})
		default:
			put(model.Layer{Kind: model.ReLU})
		}
	}
	put(fc(2 + r.IntN(2)))
	return a
}

// small reports whether few enough neurons bend.
func small(a *model.Architecture) bool {
	shapes, err := a.Shapes()
	if err != nil {
		return false
	}
	bends := 0
	for i, l := range a.Layers {
		switch l.Kind {
		case model.Sigmoid, model.Tanh:
			return false
		case model.ReLU, model.LeakyReLU:
			bends += shapes[i+1].Size()
		case model.Clip:
			bends += 2 * shapes[i+1].Size()
		case model.MaxPool:
			bends += shapes[i+1].Size() * l.Kernel[0] * l.Kernel[1]
		}
	}
	return bends > 0 && bends <= mostNeurons
}

// dyadic replaces weights by eighths.
func dyadic(m *model.Model, r *rand.Rand) {
	for i := range m.Params {
		for _, list := range [][]float32{m.Params[i].W, m.Params[i].B} {
			for k := range list {
				list[k] = float32(r.IntN(25)-12) / 8
			}
		}
	}
}

// box draws one in which two to six inputs vary.
func (c *Case) box(r *rand.Rand) {
	size := c.Model.Arch.Input.Size()
	number := func() float32 {
		if c.Dyadic {
			return float32(r.IntN(33)-16) / 16
		}
		return 2*r.Float32() - 1
	}
	c.Varying = 2 + r.IntN(mostVarying-1)
	if r.IntN(2) == 0 {
		c.Varying = 2 + r.IntN(2)
	}
	c.Varying = min(c.Varying, size)
	width := float32(1)
	if r.IntN(3) == 0 {
		width = 0.25
	}
	for range size {
		v := number()
		c.Lo, c.Hi = append(c.Lo, v), append(c.Hi, v)
	}
	for _, k := range r.Perm(size)[:c.Varying] {
		c.Hi[k] = c.Lo[k] + width*(number()+1.25)
	}
}

// property draws the label's margins, rows of whole numbers, or clauses of these.
func property(outputs int, r *rand.Rand) *net.Property {
	p := net.LabelProperty(outputs, r.IntN(outputs))
	if r.IntN(3) > 0 {
		rows := 1 + r.IntN(3)
		p.C = make([]float32, rows*outputs)
		for k := range p.C {
			p.C[k] = float32(r.IntN(5) - 2)
		}
	}
	if rows := len(p.C) / outputs; rows > 1 && r.IntN(3) == 0 {
		p.Clauses = []int{rows}
		if rows == 3 && r.IntN(2) == 0 {
			p.Clauses = []int{2, 1}
		}
	}
	return p
}
