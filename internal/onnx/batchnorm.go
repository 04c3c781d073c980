package onnx

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

func convertBatchNorm(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	if err := n.expect("training_mode", 0, 0, forInference); err != nil {
		return value{}, err
	}
	if err := n.expect("spatial", 1, 1, "one mean for each element is not supported"); err != nil {
		return value{}, err
	}
	n.used["momentum"] = true // of training
	eps, err := n.float("epsilon", 1e-5)
	if err != nil {
		return value{}, err
	}
	if !a.lead || len(a.dims) == 0 {
		return value{}, n.errorf("input 0", "got dimensions %s, expected a batch with channels", im.dimsText(a))
	}
	var p [4][]float64 // scale, bias, mean, variance
	var as [4][]float32
	for i := range p {
		c, err := im.floats(n, 1+i)
		if err != nil {
			return value{}, err
		}
		if len(c.dims) != 1 || c.dims[0] != a.dims[0] {
			return value{}, n.errorf("inputs 1 to 4", "got dimensions %v, expected [%d], one for each channel", c.dims, a.dims[0])
		}
		p[i], as[i] = wide(c.f), c.f
	}
	scale, shift := make([]float64, a.dims[0]), make([]float64, a.dims[0])
	for c := range scale {
		v := p[3][c] + eps
		if !(v > 0) {
			return value{}, n.errorf("input 4", "got a variance of %v with epsilon %v, expected a positive sum", p[3][c], eps)
		}
		scale[c] = p[0][c] / math.Sqrt(v)
		shift[c] = p[1][c] - float64(p[2][c]*scale[c])
	}
	// As a layer it has to be one that a model may hold.
	kept := &norm{model.Param{W: as[0], B: as[1], Mean: as[2], Var: as[3]}, float32(eps)}
	holds := eps >= 0 && !slices.ContainsFunc(as[3], func(v float32) bool { return v < 0 })
	if holds && (im.keepBatchNorm || im.producer == producer) {
		b, err := im.settle(n, a)
		if err != nil {
			return value{}, err
		}
		if b, err = im.placed(b); err != nil {
			return value{}, err
		}
		if b, ok := im.batchNorm(b, kept); ok {
			return value{a: b}, nil
		}
	}
	if f := a.affine; f != nil && a.src == netInput && f.stage < stageFree { // not to be one with it
		if a, err = im.placed(a); err != nil {
			return value{}, err
		}
		if a, err = im.normalized(a); err != nil {
			return value{}, err
		}
	}
	dims := append([]int{a.dims[0]}, slices.Repeat([]int{1}, len(a.dims)-1)...)
	k, err := im.spread(n, a, scale, dims)
	if err != nil {
		return value{}, err
	}
	m, err := im.spread(n, a, shift, dims)
	if err != nil {
		return value{}, err
	}
	r, err := im.constantOp(n, a, opNorm, k, m)
	if err == nil && holds && r.affine != nil && len(r.affine.by) == 1 {
		r.affine.norm = kept
	}
	return value{a: r}, err
}

// batchNorm adds a batch norm of a view, placed and without padding, if the view's
// channels are its source's.
func (im *importer) batchNorm(a *act, p *norm) (*act, bool) {
	s := im.shapeOf(a)
	if a.order != nil || len(a.dims) == 0 || a.dims[0] != s.C || len(p.W) != s.C {
		return nil, false
	}
	b := *a
	b.affine, b.sole = nil, true
	b.src = im.push(&layer{
		Layer: model.Layer{Kind: model.BatchNorm, Eps: p.eps}, in: []int{a.src}, shape: s, norm: &p.Param,
	})
	return &b, true
}
