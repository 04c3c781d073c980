package onnx

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

func convertRelu(im *importer, n *node) (value, error) { return im.relu(n, 0) }

// relu adds a relu of input i.
func (im *importer) relu(n *node, i int) (value, error) {
	a, err := im.activation(n, i)
	if err != nil {
		return value{}, err
	}
	if a, err = im.settle(n, a); err != nil {
		return value{}, err
	}
	if a, err = im.placed(a); err != nil {
		return value{}, err
	}
	if a.src != netInput && im.layers[a.src].Kind == model.ReLU {
		return value{a: a}, nil
	}
	b := *a
	b.sole = true
	b.src = im.push(&layer{Layer: model.Layer{Kind: model.ReLU}, in: []int{a.src}, shape: im.shapeOf(a)})
	return value{a: &b}, nil
}

// convertMax reads max(x, 0).
func convertMax(im *importer, n *node) (value, error) {
	if len(n.inputs) != 2 {
		return value{}, n.errorf("", "got %d inputs, expected 2: a value and 0", len(n.inputs))
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
	if slices.ContainsFunc(c.f, func(v float32) bool { return v != 0 }) {
		return value{}, n.errorf("", "got a maximum with other numbers than 0, expected max(x, 0), a relu")
	}
	if _, err := im.spread(n, a, wide(c.f), c.dims); err != nil { // that it fits
		return value{}, err
	}
	return im.relu(n, i)
}

// convertClip reads a clip at 0 from below alone.
func convertClip(im *importer, n *node) (value, error) {
	bounds := [2]float64{math.Inf(-1), math.Inf(1)}
	for i, name := range []string{"min", "max"} {
		v, err := n.float(name, float32(bounds[i]))
		if err != nil {
			return value{}, err
		}
		bounds[i] = v
		if !n.has(1 + i) {
			continue
		}
		c, err := im.floats(n, 1+i)
		if err != nil {
			return value{}, err
		}
		if len(c.f) != 1 {
			return value{}, n.errorf(name, "got dimensions %v, expected one number", c.dims)
		}
		bounds[i] = float64(c.f[0])
	}
	if bounds[0] != 0 || bounds[1] < math.MaxFloat32 {
		return value{}, n.errorf("", "got bounds %v and %v, expected 0 and none: a relu", bounds[0], bounds[1])
	}
	return im.relu(n, 0)
}
