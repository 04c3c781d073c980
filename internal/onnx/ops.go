package onnx

import (
	"math"
	"slices"
)

// operators converts each operator: it returns what the node's first output is.
var operators map[string]func(im *importer, n *node) (value, error)

func init() { // the table is used by what it holds
	operators = map[string]func(im *importer, n *node) (value, error){
		"Add":                convertAdd,
		"AveragePool":        convertAveragePool,
		"BatchNormalization": convertBatchNorm,
		"Cast":               convertCast,
		"Clip":               convertClip,
		"Concat":             convertConcat,
		"Constant":           convertConstant,
		"ConstantOfShape":    convertConstantOfShape,
		"Conv":               convertConv,
		"Div":                convertDiv,
		"Dropout":            convertDropout,
		"Flatten":            convertFlatten,
		"Gather":             convertGather,
		"Gemm":               convertGemm,
		"GlobalAveragePool":  convertGlobalAveragePool,
		"Identity":           convertIdentity,
		"MatMul":             convertMatMul,
		"Max":                convertMax,
		"Mul":                convertMul,
		"Pad":                convertPad,
		"ReduceMean":         convertReduceMean,
		"ReduceSum":          convertReduceSum,
		"Relu":               convertRelu,
		"Reshape":            convertReshape,
		"Shape":              convertShape,
		"Slice":              convertSlice,
		"Squeeze":            convertSqueeze,
		"Sub":                convertSub,
		"Transpose":          convertTranspose,
		"Unsqueeze":          convertUnsqueeze,
	}
}

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

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}
