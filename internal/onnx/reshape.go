package onnx

import (
	"slices"
)

func convertIdentity(im *importer, n *node) (value, error) { return im.operand(n, 0) }

func convertDropout(im *importer, n *node) (value, error) {
	n.used["ratio"], n.used["seed"] = true, true
	if err := n.expect("is_test", 1, 1, "export the network for inference"); err != nil {
		return value{}, err
	}
	if n.has(2) { // training_mode, a BOOL, which is false if it is not there
		t := im.inits[n.inputs[2]]
		if t == nil || !isFalse(t) {
			return value{}, n.errorf("input 2", "got a training mode, expected none: export the network for inference")
		}
	}
	return im.operand(n, 0)
}

func isFalse(t *tensor) bool {
	set := func(b byte) bool { return b != 0 }
	return !t.external && !slices.ContainsFunc(t.raw, set) && !slices.ContainsFunc(t.varints, set)
}

func convertCast(im *importer, n *node) (value, error) {
	to, err := n.integer("to", 0)
	if err != nil {
		return value{}, err
	}
	n.used["saturate"] = true
	v, err := im.operand(n, 0)
	if err != nil {
		return value{}, err
	}
	wantFloat := v.a != nil || v.c.isFloat()
	if wantFloat && (to == typeFloat || to == typeDouble) || !wantFloat && to == typeInt64 {
		return v, nil
	}
	return value{}, n.errorf(`attribute "to"`, "got %s, expected FLOAT or DOUBLE for numbers and INT64 for integers", typeName(to))
}

// convertFlatten keeps the batch and joins all else.
func convertFlatten(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	axis, err := n.integer("axis", 1)
	if err != nil {
		return value{}, err
	}
	r := int64(a.rank())
	if axis < -r || axis > r {
		return value{}, n.errorf(`attribute "axis"`, "got %d, expected -%d to %d", axis, r, r)
	}
	if axis < 0 {
		axis += r
	}
	before := int(axis) // dimensions of a.dims that become rows
	if a.lead {
		before--
	}
	rows := before < 0 && im.in.batch != 1
	if before > 0 {
		rows = size(a.dims[:before]) != 1
	}
	if rows {
		return value{}, n.errorf(`attribute "axis"`, "got %d for %s, expected 1: one row for each of the batch", axis, im.dimsText(a))
	}
	return value{a: a.reshaped(true, []int{size(a.dims)})}, nil
}

func convertReshape(im *importer, n *node) (value, error) {
	v, err := im.operand(n, 0)
	if err != nil {
		return value{}, err
	}
	to, err := im.integers(n, 1)
	if err != nil {
		return value{}, err
	}
	if err := n.expect("allowzero", 0, 0, "empty tensors are not supported"); err != nil {
		return value{}, err
	}
	if len(to) > maxDims {
		return value{}, n.errorf("input 1", "got %d dimensions, expected at most %d", len(to), maxDims)
	}
	if v.c != nil {
		dims, ok := resolve(to, v.c.dims)
		if !ok {
			return value{}, n.errorf("input 1", "got %v for the dimensions %v, expected the same number of elements", to, v.c.dims)
		}
		c := *v.c
		c.dims = dims
		return value{c: &c}, nil
	}
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	if lead, dims, ok := im.reshape(a, to); ok {
		return value{a: a.reshaped(lead, dims)}, nil
	}
	return value{}, n.errorf("input 1", "got %v for %s, expected a shape that keeps the batch apart", to, im.dimsText(a))
}

// reshape works out the dimensions of a reshaped view, whose first is the
// batch's if it can be.
func (im *importer) reshape(a *act, to []int64) (lead bool, dims []int, ok bool) {
	old := a.dims
	if a.lead {
		old = append([]int{0}, old...) // stands for the batch
	}
	if len(to) > 0 {
		first := to[0]
		// What the first dimension may be to mean the batch; -1 if the rest takes
		// all else.
		isBatch := first == batchMark || first == 1 || first == -1 ||
			a.lead && (first == 0 || first == im.in.batch) || !a.lead && first == 0 && len(old) > 0 && old[0] == 1
		if isBatch {
			rest := slices.Clone(to[1:])
			for i, d := range rest { // 0 copies, by position in the whole
				if d != 0 {
					continue
				}
				if i+1 >= len(old) {
					return false, nil, false
				}
				rest[i] = int64(old[i+1])
			}
			if dims, ok = resolve(rest, a.dims); ok {
				return true, dims, true
			}
		}
	}
	if im.in.batch != 1 || a.lead && slices.Contains(to, 0) {
		return false, nil, false
	}
	dims, ok = resolve(to, a.dims)
	return false, dims, ok
}

// resolve returns the dimensions to, with 0 copied from old and one -1 worked
// out, if they have as many elements as old.
func resolve(to []int64, old []int) ([]int, bool) {
	total, known, infer := int64(size(old)), int64(1), -1
	dims := make([]int, len(to))
	for i, d := range to {
		switch {
		case d == -1 && infer < 0:
			infer = i
			continue
		case d == 0 && i < len(old):
			d = int64(old[i])
		}
		if d < 1 || d > maxElements {
			return nil, false
		}
		if known *= d; known > maxElements {
			return nil, false
		}
		dims[i] = int(d)
	}
	if infer >= 0 {
		if total%known != 0 {
			return nil, false
		}
		dims[infer] = int(total / known)
		known = total
	}
	return dims, known == total && total > 0
}

func convertTranspose(im *importer, n *node) (value, error) {
	v, err := im.operand(n, 0)
	if err != nil {
		return value{}, err
	}
	rank := 0
	if v.a != nil {
		rank = v.a.rank()
	} else {
		rank = len(v.c.dims)
	}
	perm, err := n.list("perm", rank, 0)
	if err != nil {
		return value{}, err
	}
	if perm == nil {
		for k := rank - 1; k >= 0; k-- {
			perm = append(perm, k)
		}
	}
	if !slices.Equal(slices.Sorted(slices.Values(perm)), sequence(rank)) {
		return value{}, n.errorf(`attribute "perm"`, "got %v, expected each of 0 to %d once", perm, rank-1)
	}
	if v.c != nil {
		c, err := im.transposedConstant(v.c, perm)
		return value{c: c}, err
	}
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	if a.lead {
		if perm[0] != 0 {
			return value{}, n.errorf(`attribute "perm"`, "got %v, expected the batch's dimension to stay the first", perm)
		}
		perm = perm[1:]
		for k := range perm {
			perm[k]--
		}
	}
	a, err = im.transposed(a, perm)
	return value{a: a}, err
}

func sequence(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i
	}
	return v
}

func (im *importer) transposedConstant(c *constant, perm []int) (*constant, error) {
	if err := im.charge(2 * int64(len(c.f)+len(c.i))); err != nil {
		return nil, err
	}
	d := *c
	d.dims = make([]int, len(perm))
	for k, p := range perm {
		d.dims[k] = c.dims[p]
	}
	if size(c.dims) == 0 {
		return &d, nil
	}
	order := permuted(c.dims, perm)
	d.f, d.i = pick(c.f, order), pick(c.i, order)
	return &d, nil
}

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
