package onnx

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

func convertRelu(im *importer, n *node) (value, error) { return im.relu(n, 0) }

func convertSigmoid(im *importer, n *node) (value, error) {
	return im.elementwise(n, 0, model.Layer{Kind: model.Sigmoid})
}

func convertTanh(im *importer, n *node) (value, error) {
	return im.elementwise(n, 0, model.Layer{Kind: model.Tanh})
}

// elementwise adds a layer that does the same with each element of input i.
func (im *importer) elementwise(n *node, i int, l model.Layer) (value, error) {
	a, err := im.element(n, i)
	if err != nil {
		return value{}, err
	}
	return value{a: im.after(a, l)}, nil
}

// element returns input i as a view of a layer's output, or the input, alone.
func (im *importer) element(n *node, i int) (*act, error) {
	a, err := im.activation(n, i)
	if err != nil {
		return nil, err
	}
	if a, err = im.settle(n, a); err != nil {
		return nil, err
	}
	return im.placed(a)
}

// after adds a layer over a view's source and returns the same view of its output.
func (im *importer) after(a *act, l model.Layer) *act {
	b := *a
	b.sole = true
	b.src = im.push(&layer{Layer: l, in: []int{a.src}, shape: im.shapeOf(a)})
	return &b
}

// relu adds a relu of input i.
func (im *importer) relu(n *node, i int) (value, error) {
	a, err := im.element(n, i)
	if err != nil {
		return value{}, err
	}
	if a.src != netInput && im.layers[a.src].Kind == model.ReLU && im.producer != producer {
		return value{a: a}, nil
	}
	return value{a: im.after(a, model.Layer{Kind: model.ReLU})}, nil
}

func convertLeakyRelu(im *importer, n *node) (value, error) {
	alpha, err := n.float("alpha", 0.01)
	if err != nil {
		return value{}, err
	}
	return im.elementwise(n, 0, model.Layer{Kind: model.LeakyReLU, Slope: []float32{float32(alpha)}})
}

// convertPRelu reads slopes: one, or one for each channel.
func convertPRelu(im *importer, n *node) (value, error) {
	c, err := im.floats(n, 1)
	if err != nil {
		return value{}, err
	}
	if len(c.f) == 1 {
		return im.elementwise(n, 0, model.Layer{Kind: model.LeakyReLU, Slope: []float32{c.f[0]}})
	}
	a, err := im.element(n, 0)
	if err != nil {
		return value{}, err
	}
	all, err := im.spread(n, a, wide(c.f), c.dims)
	if err != nil {
		return value{}, err
	}
	s := im.shapeOf(a)
	each, ok := perChannel(all, s)
	if !ok {
		return value{}, n.errorf("input 1", "got slopes that differ within a channel of %v, expected one, or one for each channel", s)
	}
	l := model.Layer{Kind: model.LeakyReLU}
	for _, v := range each {
		l.Slope = append(l.Slope, float32(v))
	}
	return value{a: im.after(a, l)}, nil
}

func convertMax(im *importer, n *node) (value, error) {
	return im.bound(n, func(c float64) [2]float64 { return [2]float64{c, math.Inf(1)} })
}

func convertMin(im *importer, n *node) (value, error) {
	return im.bound(n, func(c float64) [2]float64 { return [2]float64{math.Inf(-1), c} })
}

// bound reads the maximum or the minimum of a value and one number.
func (im *importer) bound(n *node, bounds func(c float64) [2]float64) (value, error) {
	if len(n.inputs) != 2 {
		return value{}, n.errorf("", "got %d inputs, expected 2: a value and a number", len(n.inputs))
	}
	x, err := im.operand(n, 0)
	if err != nil {
		return value{}, err
	}
	i := 0
	if x.a == nil {
		i = 1
	}
	a, err := im.activation(n, i)
	if err != nil {
		return value{}, err
	}
	c, err := im.floats(n, 1-i)
	if err != nil {
		return value{}, err
	}
	if len(c.f) == 0 || slices.ContainsFunc(c.f, func(v float32) bool { return v != c.f[0] }) {
		return value{}, n.errorf("", "got bounds that differ, expected one number")
	}
	if _, err := im.spread(n, a, wide(c.f), c.dims); err != nil { // that it fits
		return value{}, err
	}
	return im.clip(n, i, bounds(float64(c.f[0])))
}

func convertClip(im *importer, n *node) (value, error) {
	bounds := [2]float64{math.Inf(-1), math.Inf(1)}
	for i, name := range []string{"min", "max"} {
		at, err := n.attr(name, attrFloat)
		if err != nil {
			return value{}, err
		}
		if at != nil {
			bounds[i] = float64(at.f)
		}
		if !n.has(1 + i) {
			continue
		}
		c, err := im.constant(n, 1+i)
		if err == nil && (!c.isFloat() || len(c.f) != 1) {
			err = n.errorf(name, "got dimensions %v, expected one number", c.dims)
		}
		if err != nil {
			return value{}, err
		}
		bounds[i] = float64(c.f[0])
	}
	return im.clip(n, 0, bounds)
}

// clip adds a clip of input i: a relu if that is the same, nothing if the bounds are.
// The largest float32 stands for a bound that is not there.
func (im *importer) clip(n *node, i int, bounds [2]float64) (value, error) {
	low, high := max(bounds[0], -math.MaxFloat32), min(bounds[1], math.MaxFloat32)
	if !(low < high) { // NaN too
		return value{}, n.errorf("", "got bounds %v and %v, expected two numbers, the smaller one first", bounds[0], bounds[1])
	}
	if ours := im.producer == producer; high == math.MaxFloat32 && !ours {
		if low == 0 {
			return im.relu(n, i)
		}
		if low == -math.MaxFloat32 {
			return im.operand(n, i)
		}
	}
	return im.elementwise(n, i, model.Layer{Kind: model.Clip, Min: float32(low), Max: float32(high)})
}
