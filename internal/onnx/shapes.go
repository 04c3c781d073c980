package onnx

import (
	"math"
	"slices"
)

// batchMark stands for the batch's size where a graph computes with shapes and
// the size is not known.
const batchMark = math.MinInt64 + 0x62617463

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
	if x, err := im.operand(n, 0); err != nil || x.a != nil {
		if err == nil {
			x.a, err = im.only(n)
		}
		return x, err
	}
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

// convertSlice takes rows of a constant, in either direction.
func convertSlice(im *importer, n *node) (value, error) {
	c, err := im.constant(n, 0)
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
	var axes []int64
	if a, err := n.attr("axes", attrInts); err != nil {
		return value{}, err
	} else if a != nil {
		axes = a.ints
	} else if n.has(3) {
		if axes, err = im.integers(n, 3); err != nil {
			return value{}, err
		}
	}
	step := []int64{1}
	if n.has(4) {
		if step, err = im.integers(n, 4); err != nil {
			return value{}, err
		}
	}
	if len(bounds[0]) != 1 || len(bounds[1]) != 1 || len(step) != 1 || step[0] != 1 && step[0] != -1 ||
		len(axes) > 0 && !slices.Equal(axes, []int64{0}) || c.isFloat() || len(c.dims) == 0 || size(c.dims[1:]) == 0 || len(c.i) > maxFolded {
		return value{}, n.errorf("", "got dimensions %v, axes %v and steps %v, expected a part of a shape", c.dims, axes, step)
	}
	rows, width := c.dims[0], size(c.dims[1:])
	out := []int64{}
	if step[0] > 0 {
		for r := clip(bounds[0][0], rows); r < clip(bounds[1][0], rows); r++ {
			out = append(out, c.i[int(r)*width:(int(r)+1)*width]...)
		}
	} else {
		end := bounds[1][0]
		if end < 0 {
			end += int64(rows)
		}
		for r := min(clip(bounds[0][0], rows), int64(rows-1)); r > max(end, -1); r-- {
			out = append(out, c.i[int(r)*width:(int(r)+1)*width]...)
		}
	}
	dims := slices.Clone(c.dims)
	dims[0] = len(out) / width
	return value{c: &constant{i: out, dims: dims}}, nil
}

// maxFolded bounds the integers that are computed with: shapes and paddings.
const maxFolded = 64

func convertConstantOfShape(im *importer, n *node) (value, error) {
	to, err := im.integers(n, 0)
	if err != nil {
		return value{}, err
	}
	count, ok := volume(to, maxFolded)
	a, err := n.attr("value", attrTensor)
	if err != nil {
		return value{}, err
	}
	if !ok || len(to) > maxDims || a == nil || a.t == nil || a.t.external {
		return value{}, n.errorf("", "got a constant of shape %v, expected at most %d integers", to, maxFolded)
	}
	c, err := a.t.value()
	if err != nil {
		return value{}, err
	}
	if c.isFloat() || len(c.i) != 1 {
		return value{}, n.errorf(`attribute "value"`, "got dimensions %v, expected one integer", c.dims)
	}
	dims := make([]int, len(to))
	for k, d := range to {
		dims[k] = int(d)
	}
	return value{c: &constant{i: slices.Repeat(c.i, int(count)), dims: dims}}, nil
}

// foldIntegers computes with two lists of integers, or one and a single one.
func foldIntegers(n *node, x, y *constant, op byte) (value, error) {
	long := x
	if len(y.i) > len(x.i) || len(y.dims) > len(x.dims) {
		long = y
	}
	fits := func(c *constant) bool { return len(c.i) == 1 || slices.Equal(c.dims, long.dims) }
	if x.isFloat() || y.isFloat() || !fits(x) || !fits(y) || len(long.i) > maxFolded {
		return value{}, n.errorf("", "got two constants, of dimensions %v and %v, expected a network simplified by its exporter", x.dims, y.dims)
	}
	out := make([]int64, len(long.i))
	for k := range out {
		a, b := x.i[k%len(x.i)], y.i[k%len(y.i)]
		const most = 1 << 31
		if a < -most || a > most || b < -most || b > most {
			return value{}, n.errorf("", "got %d and %d, expected numbers of at most 32 bits: is the batch's size known?", a, b)
		}
		switch op {
		case opAdd:
			out[k] = a + b
		case opSub:
			out[k] = a - b
		case opMul:
			out[k] = a * b
		default:
			return value{}, n.errorf("", "got two constants, expected a network simplified by its exporter")
		}
	}
	return value{c: &constant{i: out, dims: long.dims}}, nil
}
