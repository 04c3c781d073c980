package onnx

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// operator returns what converts an operator to what its first output is, nil if
// nothing does. (A switch: a table would be made before main, in programs too that
// read no ONNX, and keep all of this package in them.)
func operator(name string) func(im *importer, n *node) (value, error) {
	switch name {
	case "Add":
		return convertAdd
	case "AveragePool":
		return convertAveragePool
	case "BatchNormalization":
		return convertBatchNorm
	case "Cast":
		return convertCast
	case "Concat":
		return convertConcat
	case "Constant":
		return convertConstant
	case "ConstantOfShape":
		return convertConstantOfShape
	case "Conv":
		return convertConv
	case "Div":
		return convertDiv
	case "Dropout":
		return convertDropout
	case "Flatten":
		return convertFlatten
	case "Gather":
		return convertGather
	case "Gemm":
		return convertGemm
	case "GlobalAveragePool":
		return convertGlobalAveragePool
	case "Identity":
		return convertIdentity
	case "MatMul":
		return convertMatMul
	case "Mul":
		return convertMul
	case "Pad":
		return convertPad
	case "ReduceMean":
		return convertReduceMean
	case "Relu":
		return convertRelu
	case "Reshape":
		return convertReshape
	case "Shape":
		return convertShape
	case "Slice":
		return convertSlice
	case "Squeeze":
		return convertSqueeze
	case "Sub":
		return convertSub
	case "Transpose":
		return convertTranspose
	case "Unsqueeze":
		return convertUnsqueeze
	}
	return nil
}

func convertBatchNorm(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	if err := n.expect("training_mode", 0, 0, "export the network for inference"); err != nil {
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
	for i := range p {
		c, err := im.floats(n, 1+i)
		if err != nil {
			return value{}, err
		}
		if len(c.dims) != 1 || c.dims[0] != a.dims[0] {
			return value{}, n.errorf("inputs 1 to 4", "got dimensions %v, expected [%d], one for each channel", c.dims, a.dims[0])
		}
		p[i] = wide(c.f)
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
	return value{a: r}, err
}

func convertRelu(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
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

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}
