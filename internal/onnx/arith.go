package onnx

import (
	"slices"

	"github.com/epsball/epsball/model"
)

func convertAdd(im *importer, n *node) (value, error) { return im.binary(n, opAdd) }
func convertSub(im *importer, n *node) (value, error) { return im.binary(n, opSub) }
func convertMul(im *importer, n *node) (value, error) { return im.binary(n, opMul) }
func convertDiv(im *importer, n *node) (value, error) { return im.binary(n, opDiv) }

// binary converts an operation on two activations or on one and a constant.
func (im *importer) binary(n *node, op byte) (value, error) {
	x, err := im.operand(n, 0)
	if err != nil {
		return value{}, err
	}
	y, err := im.operand(n, 1)
	if err != nil {
		return value{}, err
	}
	switch {
	case x.a != nil && y.a != nil:
		if op != opAdd && op != opSub {
			return value{}, n.errorf("input 1", "got two values that depend on the network's input, expected one and a constant")
		}
		r, err := im.sum(n, op)
		return value{a: r}, err
	case x.a == nil && y.a == nil:
		return foldIntegers(n, x.c, y.c, op)
	case x.a == nil && op == opDiv:
		return value{}, n.errorf("input 0", "got a constant divided by what depends on the network's input, which is not supported")
	case x.a == nil && op == opSub:
		op = opFrom
	}
	i, j := 0, 1
	if x.a == nil {
		i, j = 1, 0
	}
	var a *act
	if op == opMul || op == opDiv { // zeros around the image stay zeros
		a, err = im.padded(n, i)
	} else {
		a, err = im.activation(n, i)
	}
	if err != nil {
		return value{}, err
	}
	c, err := im.floats(n, j)
	if err != nil {
		return value{}, err
	}
	if op == opDiv && slices.Contains(c.f, 0) {
		return value{}, n.errorf("input 1", "got a division by zero")
	}
	k, err := im.spread(n, a, wide(c.f), c.dims)
	if err != nil {
		return value{}, err
	}
	r, err := im.constantOp(n, a, op, k, nil)
	return value{a: r}, err
}

// sum adds or subtracts two branches.
func (im *importer) sum(n *node, op byte) (*act, error) {
	var v [2]*act
	for i := range v {
		a, err := im.activation(n, i)
		if err != nil {
			return nil, err
		}
		if i == 1 && op == opSub { // x − y = x + (−y), exactly
			if a, err = im.placed(a); err != nil {
				return nil, err
			}
			if err := im.charge(int64(im.shapeOf(a).Size())); err != nil {
				return nil, err
			}
			minus := slices.Repeat([]float64{-1}, im.shapeOf(a).Size())
			if a, err = im.constantOp(n, a, opMul, minus, nil); err != nil {
				return nil, err
			}
		}
		if a, err = im.settle(n, a); err != nil {
			return nil, err
		}
		if v[i], err = im.placed(a); err != nil {
			return nil, err
		}
	}
	a, b := v[0], v[1]
	if s, t := im.shapeOf(a), im.shapeOf(b); s != t || a.lead != b.lead || !slices.Equal(a.dims, b.dims) {
		return nil, n.errorf("", "got %s, computed as %v, and %s, computed as %v, expected the same", im.dimsText(a), s, im.dimsText(b), t)
	}
	if err := im.charge(int64(len(a.order))); err != nil {
		return nil, err
	}
	if !slices.Equal(a.order, b.order) {
		return nil, n.errorf("", "got two branches with their elements in different orders, expected the same")
	}
	r := *a
	r.sole = true
	if a.src == b.src && im.producer != producer { // 2·x, exactly
		r.sole = false
		if err := im.charge(int64(im.shapeOf(a).Size())); err != nil {
			return nil, err
		}
		return im.constantOp(n, &r, opMul, slices.Repeat([]float64{2}, im.shapeOf(a).Size()), nil)
	}
	r.src = im.push(&layer{Layer: model.Layer{Kind: model.Add}, in: []int{a.src, b.src}, shape: im.shapeOf(a)})
	return &r, nil
}

// spread returns a constant of dimensions dims for each element of a view's
// source, in the source's order, broadcast as ONNX does. A constant that would
// broadcast the view is refused.
func (im *importer) spread(n *node, a *act, c []float64, dims []int) ([]float64, error) {
	view := slices.Clone(a.dims) // without padding
	if a.pad != [4]int{} {
		view[1] -= a.pad[0] + a.pad[2]
		if len(view) > 2 {
			view[2] -= a.pad[1] + a.pad[3]
		}
	}
	refuse := func() error {
		return n.errorf("", "got a constant of dimensions %v with %s, expected one that fits without repeating the other", dims, im.dimsText(a))
	}
	d := dims
	for len(d) > a.rank() && d[0] == 1 {
		d = d[1:]
	}
	if len(d) > a.rank() {
		return nil, refuse()
	}
	d = append(slices.Repeat([]int{1}, a.rank()-len(d)), d...)
	if a.lead {
		if d[0] != 1 {
			return nil, refuse()
		}
		d = d[1:]
	}
	stride := make([]int, len(view))
	s := 1
	for k := len(d) - 1; k >= 0; k-- {
		if d[k] != 1 && d[k] != view[k] {
			return nil, refuse()
		}
		if d[k] > 1 {
			stride[k] = s
		}
		s *= d[k]
	}
	total := size(view)
	if err := im.charge(2 * int64(total)); err != nil {
		return nil, err
	}
	out := make([]float64, total)
	at := make([]int, len(view))
	p := 0
	for j := range out {
		to := j
		if a.order != nil {
			to = int(a.order[j])
		}
		out[to] = c[p]
		for k := len(view) - 1; k >= 0; k-- {
			p += stride[k]
			if at[k]++; at[k] < view[k] {
				break
			}
			p -= stride[k] * at[k]
			at[k] = 0
		}
	}
	return out, nil
}
