package onnx

import (
	"maps"
	"slices"
)

// Operators lists the operators that are read, each under conditions (docs/onnx.md).
func Operators() []string { return slices.Sorted(maps.Keys(operators)) }

// Opsets returns the first and the last version of ONNX's operators that are read.
func Opsets() (first, last int) { return minOpset, maxOpset }

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
		"GlobalMaxPool":      convertGlobalMaxPool,
		"Identity":           convertIdentity,
		"LeakyRelu":          convertLeakyRelu,
		"LogSoftmax":         convertSoftmax,
		"MatMul":             convertMatMul,
		"Max":                convertMax,
		"MaxPool":            convertMaxPool,
		"Min":                convertMin,
		"Mul":                convertMul,
		"PRelu":              convertPRelu,
		"Pad":                convertPad,
		"ReduceMax":          convertReduceMax,
		"ReduceMean":         convertReduceMean,
		"ReduceSum":          convertReduceSum,
		"Relu":               convertRelu,
		"Reshape":            convertReshape,
		"Shape":              convertShape,
		"Sigmoid":            convertSigmoid,
		"Slice":              convertSlice,
		"Softmax":            convertSoftmax,
		"Squeeze":            convertSqueeze,
		"Sub":                convertSub,
		"Tanh":               convertTanh,
		"Transpose":          convertTranspose,
		"Unsqueeze":          convertUnsqueeze,
	}
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}
