package onnx

import (
	"slices"
)

// axes reads the list of axes of a tensor of some rank, in 0 … rank-1, from the
// attribute (older operator sets) or input 1.
func (im *importer) axes(n *node, rank int) ([]int, error) {
	a, err := n.attr("axes", attrInts)
	if err != nil {
		return nil, err
	}
	var v []int64
	switch {
	case a != nil:
		v = a.ints
	case n.has(1):
		if v, err = im.integers(n, 1); err != nil {
			return nil, err
		}
	}
	return n.axesOf(v, rank)
}

func (n *node) axesOf(v []int64, rank int) ([]int, error) {
	out := make([]int, 0, min(len(v), maxDims))
	for _, x := range v {
		if x < -int64(rank) || x >= int64(rank) {
			return nil, n.errorf("axes", "got %d, expected -%d to %d", x, rank, rank-1)
		}
		k := int((x + int64(rank)) % int64(rank))
		if slices.Contains(out, k) {
			return nil, n.errorf("axes", "got %d twice, expected it once", x)
		}
		out = append(out, k)
	}
	return out, nil
}

func convertSqueeze(im *importer, n *node) (value, error) {
	v, err := im.operand(n, 0)
	if err != nil {
		return value{}, err
	}
	dims := im.allDims(v)
	axes, err := im.axes(n, len(dims))
	if err != nil {
		return value{}, err
	}
	if len(axes) == 0 && !n.has(1) {
		for k, d := range dims {
			if d == 1 {
				axes = append(axes, k)
			}
		}
	}
	var left []int
	for k, d := range dims {
		if !slices.Contains(axes, k) {
			left = append(left, d)
		} else if d != 1 {
			return value{}, n.errorf("axes", "got axis %d of %d elements, expected 1", k, d)
		}
	}
	if v.c != nil {
		c := *v.c
		c.dims = left
		return value{c: &c}, nil
	}
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	lead := a.lead && !slices.Contains(axes, 0)
	if lead {
		left = left[1:]
	}
	return value{a: a.reshaped(lead, left)}, nil
}

// allDims returns all dimensions of a value, -1 for a batch other than 1.
func (im *importer) allDims(v value) []int {
	if v.c != nil {
		return v.c.dims
	}
	if !v.a.lead {
		return v.a.dims
	}
	batch := -1
	if im.in.batch == 1 {
		batch = 1
	}
	return append([]int{batch}, v.a.dims...)
}

func convertUnsqueeze(im *importer, n *node) (value, error) {
	v, err := im.operand(n, 0)
	if err != nil {
		return value{}, err
	}
	dims := im.allDims(v)
	at, err := n.attr("axes", attrInts)
	if err != nil {
		return value{}, err
	}
	var list []int64
	if at != nil {
		list = at.ints
	} else if list, err = im.integers(n, 1); err != nil {
		return value{}, err
	}
	if len(dims)+len(list) > maxDims {
		return value{}, n.errorf("axes", "got %d dimensions in all, expected at most %d", len(dims)+len(list), maxDims)
	}
	axes, err := n.axesOf(list, len(dims)+len(list))
	if err != nil {
		return value{}, err
	}
	var out []int
	for k := range len(dims) + len(axes) {
		if slices.Contains(axes, k) {
			out = append(out, 1)
		} else {
			out, dims = append(out, dims[0]), dims[1:]
		}
	}
	if v.c != nil {
		c := *v.c
		c.dims = out
		return value{c: &c}, nil
	}
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	first := slices.Contains(axes, 0)
	if a.lead && first {
		return value{}, n.errorf("axes", "got 0, expected the batch's dimension to stay the first")
	}
	lead := a.lead || first
	if lead {
		out = out[1:]
	}
	return value{a: a.reshaped(lead, out)}, nil
}

// only returns the one element that there is along an axis of an activation, as
// x[:, :, 0, 0] takes it of an averaged image.
func (im *importer) only(n *node) (*act, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return nil, err
	}
	axis, err := n.integer("axis", 0)
	if err != nil {
		return nil, err
	}
	axes, err := n.axesOf([]int64{axis}, a.rank())
	if err != nil {
		return nil, err
	}
	at, err := im.constant(n, 1)
	if err != nil {
		return nil, err
	}
	k := axes[0]
	if a.lead {
		k--
	}
	if k < 0 || a.dims[k] != 1 || len(at.i) != 1 || at.i[0] != 0 && at.i[0] != -1 || len(at.dims) > 1 {
		return nil, n.errorf("", "got a part of %s along axis %d, expected the whole or the only element", im.dimsText(a), axis)
	}
	if len(at.dims) == 1 { // a list of one keeps the axis
		return a, nil
	}
	return a.reshaped(a.lead, slices.Delete(slices.Clone(a.dims), k, k+1)), nil
}
