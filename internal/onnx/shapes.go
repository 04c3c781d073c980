package onnx

import (
	"math"
	"slices"
)

// batchMark stands for the batch's size where a graph computes with shapes and
// the size is not known.
const batchMark = math.MinInt64 + 1

func convertConstant(im *importer, n *node) (value, error) {
	if len(n.attrs) != 1 {
		return value{}, n.errorf("", "got %d attributes, expected 1: its value", len(n.attrs))
	}
	c := &constant{name: n.outputs[0]}
	switch a := n.attrs[0]; a.name {
	case "value":
		if a, err := n.attr("value", attrTensor); err != nil || a.t == nil {
			return value{}, n.errorf(`attribute "value"`, "got no tensor, expected one")
		}
		a.t.name = c.name
		return im.decode(a.t)
	case "value_float":
		v, err := n.float(a.name, 0)
		c.f = []float32{float32(v)}
		return value{c: c}, err
	case "value_int":
		v, err := n.integer(a.name, 0)
		c.i = []int64{v}
		return value{c: c}, err
	case "value_ints":
		n.used[a.name] = true
		c.i, c.dims = append([]int64{}, a.ints...), []int{len(a.ints)}
		return value{c: c}, nil
	case "value_floats":
		n.used[a.name] = true
		c.f, c.dims = append([]float32{}, a.floats...), []int{len(a.floats)}
		for _, v := range c.f {
			if v-v != 0 {
				return value{}, n.errorf(`attribute "value_floats"`, "got %v, expected finite numbers", v)
			}
		}
		return value{c: c}, nil
	default:
		return value{}, n.errorf("attribute "+quote(a.name), "got an attribute that is not supported for Constant")
	}
}

// What follows computes with shapes, as exporters write it for x.view(x.size(0), -1).

func list(v []int64) value { return value{c: &constant{i: v, dims: []int{len(v)}}} }

func convertShape(im *importer, n *node) (value, error) {
	v, err := im.operand(n, 0)
	if err != nil {
		return value{}, err
	}
	start, err := n.integer("start", 0)
	if err != nil {
		return value{}, err
	}
	end, err := n.integer("end", maxDims)
	if err != nil {
		return value{}, err
	}
	out := []int64{}
	for _, d := range im.allDims(v) {
		out = append(out, int64(d))
	}
	if len(out) > 0 && out[0] < 0 {
		out[0] = batchMark
		if im.in.batch > 0 {
			out[0] = im.in.batch
		}
	}
	start, end = clip(start, len(out)), clip(end, len(out))
	return list(out[start:max(start, end)]), nil
}

// clip brings an index that may count from the end into 0 … n.
func clip(i int64, n int) int64 {
	if i < 0 {
		i += int64(n)
	}
	return min(max(i, 0), int64(n))
}

func convertGather(im *importer, n *node) (value, error) {
	v, err := im.integers(n, 0)
	if err != nil {
		return value{}, err
	}
	if err := n.expect("axis", 0, 0, "a list has one axis"); err != nil {
		return value{}, err
	}
	at, err := im.constant(n, 1)
	if err != nil {
		return value{}, err
	}
	if at.isFloat() || len(at.i) > maxDims {
		return value{}, n.errorf("input 1", "got dimensions %v, expected a few integers", at.dims)
	}
	out := make([]int64, len(at.i))
	for k, i := range at.i {
		if i < -int64(len(v)) || i >= int64(len(v)) {
			return value{}, n.errorf("input 1", "got index %d of a list of %d", i, len(v))
		}
		if i < 0 {
			i += int64(len(v))
		}
		out[k] = v[i]
	}
	return value{c: &constant{i: out, dims: at.dims}}, nil
}

func convertConcat(im *importer, n *node) (value, error) {
	var out []int64
	for i := range n.inputs {
		v, err := im.operand(n, i)
		if err != nil {
			return value{}, err
		}
		if v.c == nil || v.c.isFloat() {
			return value{}, n.errorf("", "this operator is not supported but for shapes")
		}
		if len(v.c.dims) != 1 || len(out)+len(v.c.i) > maxDims {
			return value{}, n.errorf("", "got more than %d dimensions of a shape, expected at most that", maxDims)
		}
		out = append(out, v.c.i...)
	}
	n.used["axis"] = true // the only one
	return list(out), nil
}

func convertSlice(im *importer, n *node) (value, error) {
	v, err := im.integers(n, 0)
	if err != nil {
		return value{}, err
	}
	var bounds [2][]int64
	for i, name := range []string{"starts", "ends"} {
		a, err := n.attr(name, attrInts)
		switch {
		case err != nil:
			return value{}, err
		case a != nil:
			bounds[i] = a.ints
		default:
			if bounds[i], err = im.integers(n, 1+i); err != nil {
				return value{}, err
			}
		}
	}
	axes, err := n.attr("axes", attrInts)
	if err != nil {
		return value{}, err
	}
	step := []int64{1}
	if n.has(4) {
		if step, err = im.integers(n, 4); err != nil {
			return value{}, err
		}
	}
	if len(bounds[0]) != 1 || len(bounds[1]) != 1 || axes != nil && !slices.Equal(axes.ints, []int64{0}) || !slices.Equal(step, []int64{1}) {
		return value{}, n.errorf("", "got a slice of several axes or steps, expected a part of a shape")
	}
	start, end := clip(bounds[0][0], len(v)), clip(bounds[1][0], len(v))
	return list(v[start:max(start, end)]), nil
}
