package onnx

import (
	"slices"
)

func convertGemm(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	w, err := im.floats(n, 1)
	if err != nil {
		return value{}, err
	}
	alpha, err := n.float("alpha", 1)
	if err != nil {
		return value{}, err
	}
	beta, err := n.float("beta", 1)
	if err != nil {
		return value{}, err
	}
	if err := n.expect("transA", 0, 0, "a transposed batch is not supported"); err != nil {
		return value{}, err
	}
	trans, err := n.integer("transB", 0)
	if err != nil {
		return value{}, err
	}
	if !a.lead || len(a.dims) != 1 {
		return value{}, n.errorf("input 0", "got dimensions %s, expected a batch of vectors", im.dimsText(a))
	}
	rows, err := im.rows(n, w, a.dims[0], trans != 0)
	if err != nil {
		return value{}, err
	}
	out := len(rows) / a.dims[0]
	bias := make([]float64, out)
	if n.has(2) {
		c, err := im.floats(n, 2)
		if err != nil {
			return value{}, err
		}
		d := c.dims
		if len(d) == 2 && d[0] == 1 {
			d = d[1:]
		}
		if len(d) > 1 || len(d) == 1 && d[0] != 1 && d[0] != out || len(c.f) == 0 {
			return value{}, n.errorf("input 2", "got dimensions %v, expected [%d]", c.dims, out)
		}
		for o := range bias {
			bias[o] = float64(c.f[o%len(c.f)])
		}
	}
	r, err := im.linear(n, a, rows, alpha, beta, bias, []int{out})
	return value{a: r}, err
}

// rows returns weights as [out][in] from a matrix [in][out], or [out][in] if it
// is transposed.
func (im *importer) rows(n *node, w *constant, in int, transposed bool) ([]float32, error) {
	d := w.dims
	if len(d) != 2 || len(w.f) == 0 || transposed && d[1] != in || !transposed && d[0] != in {
		return nil, n.errorf("input 1", "got weights of dimensions %v, expected a matrix for %d features", d, in)
	}
	if err := im.charge(int64(len(w.f))); err != nil {
		return nil, err
	}
	if transposed {
		return slices.Clone(w.f), nil
	}
	out := d[1]
	rows := make([]float32, len(w.f))
	for i := range in {
		for o, v := range w.f[i*out : (i+1)*out] {
			rows[o*in+i] = v
		}
	}
	return rows, nil
}

func convertMatMul(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	w, err := im.floats(n, 1)
	if err != nil {
		return value{}, err
	}
	k := len(a.dims) - 1
	if k < 0 || size(a.dims[:k]) != 1 {
		return value{}, n.errorf("input 0", "got dimensions %s, expected one vector for each of the batch", im.dimsText(a))
	}
	rows, err := im.rows(n, w, a.dims[k], false)
	if err != nil {
		return value{}, err
	}
	out := w.dims[1]
	r, err := im.linear(n, a, rows, 1, 1, make([]float64, out), append(slices.Clone(a.dims[:k]), out))
	return value{a: r}, err
}
