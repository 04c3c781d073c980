package onnx

import (
	"slices"
)

func convertPad(im *importer, n *node) (value, error) {
	a, err := im.padded(n, 0)
	if err != nil {
		return value{}, err
	}
	mode, err := n.text("mode", "constant")
	if err != nil {
		return value{}, err
	}
	at, err := n.attr("pads", attrInts)
	if err != nil {
		return value{}, err
	}
	fill, err := n.float("value", 0)
	if err != nil {
		return value{}, err
	}
	var list []int64
	if at != nil {
		list = at.ints
	} else if list, err = im.integers(n, 1); err != nil {
		return value{}, err
	}
	if n.has(2) {
		c, err := im.floats(n, 2)
		if err != nil {
			return value{}, err
		}
		if len(c.f) != 1 {
			return value{}, n.errorf("input 2", "got dimensions %v, expected one number", c.dims)
		}
		fill = float64(c.f[0])
	}
	axes := sequence(a.rank())
	if n.has(3) {
		v, err := im.integers(n, 3)
		if err != nil {
			return value{}, err
		}
		if axes, err = n.axesOf(v, a.rank()); err != nil {
			return value{}, err
		}
	}
	pads, err := n.ints(`"pads"`, list, 2*len(axes), 0)
	if err != nil {
		return value{}, err
	}
	if !slices.ContainsFunc(pads, func(p int) bool { return p != 0 }) {
		return value{a: a}, nil
	}
	if mode != "constant" {
		return value{}, n.errorf(`attribute "mode"`, "got %s, expected constant", quote(mode))
	}
	if fill != 0 {
		return value{}, n.errorf("value", "got %v, expected 0", fill)
	}
	return im.pad(n, a, axes, pads)
}

// pad puts zeros around an image.
func (im *importer) pad(n *node, a *act, axes, pads []int) (value, error) {
	if im.isChannelsLast(a, axes, pads) {
		return im.padChannelsLast(n, a, axes, pads)
	}
	b, _, err := im.image(n, a)
	if err != nil {
		return value{}, err
	}
	if b.affine.shifts() { // zeros come after the constants
		if b, err = im.settle(n, b); err != nil {
			return value{}, err
		}
	}
	c := *b
	c.dims = slices.Clone(b.dims)
	for i, axis := range axes {
		low, high := pads[i], pads[i+len(axes)]
		if low == 0 && high == 0 {
			continue
		}
		if axis < 2 {
			return value{}, n.errorf(`"pads"`, "got zeros around axis %d, expected them around the image alone", axis)
		}
		const most = 4096
		if low > most || high > most {
			return value{}, n.errorf(`"pads"`, "got %d and %d, expected at most %d", low, high, most)
		}
		c.pad[axis-2] += low
		c.pad[axis] += high
		c.dims[axis-1] += low + high
	}
	return value{a: &c}, nil
}

// isChannelsLast reports whether zeros go around an image whose channels are the
// last dimension.
func (im *importer) isChannelsLast(a *act, axes, pads []int) bool {
	if a.rank() != 4 || !a.lead || a.pad != [4]int{} {
		return false
	}
	var touched [4]bool
	for i, axis := range axes {
		touched[axis] = pads[i] != 0 || pads[i+len(axes)] != 0
	}
	return !touched[0] && !touched[3] && (touched[1] || a.order != nil)
}

// padChannelsLast pads the image as others are, in a layer of its own.
func (im *importer) padChannelsLast(n *node, a *act, axes, pads []int) (value, error) {
	first, err := im.transposed(a, []int{2, 0, 1})
	if err != nil {
		return value{}, err
	}
	moved := make([]int, len(axes))
	for i, axis := range axes {
		moved[i] = [4]int{0, 2, 3, 1}[axis]
	}
	v, err := im.pad(n, first, moved, pads)
	if err != nil {
		return value{}, err
	}
	if v.a, err = im.settle(n, v.a); err != nil {
		return value{}, err
	}
	v.a, err = im.transposed(v.a, []int{1, 2, 0})
	return v, err
}
