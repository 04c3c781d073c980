package onnx

import (
	"slices"
)

func convertIdentity(im *importer, n *node) (value, error) { return im.operand(n, 0) }

func convertDropout(im *importer, n *node) (value, error) {
	n.used["ratio"], n.used["seed"] = true, true
	if err := n.expect("is_test", 1, 1, forInference); err != nil {
		return value{}, err
	}
	if n.has(2) { // training_mode, a BOOL, which is false if it is not there
		t := im.inits[n.inputs[2]]
		if t == nil || !isFalse(t) {
			return value{}, n.errorf("input 2", "got a training mode, expected none: "+forInference)
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
	if wantFloat && (to == typeFloat || to == typeDouble) || !wantFloat && (to == typeInt64 || to == typeInt32 && fitInt32(v.c.i)) {
		return v, nil
	}
	return value{}, n.errorf(`attribute "to"`, "got %s, expected FLOAT or DOUBLE for numbers and INT64, or INT32 if they fit, for integers", typeName(to))
}

// fitInt32 reports whether a cast keeps integers, as TensorFlow's of shapes does.
func fitInt32(list []int64) bool {
	return !slices.ContainsFunc(list, func(v int64) bool { return v != batchMark && v != int64(int32(v)) })
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
	zeros, err := n.integer("allowzero", 0)
	if err != nil {
		return value{}, err
	}
	if zeros != 0 && slices.Contains(to, 0) { // not: as before
		return value{}, n.errorf("input 1", "got %v with allowzero = %d, expected no 0: empty tensors are not supported", to, zeros)
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
