package onnx

import (
	"math"
	"slices"

	"github.com/epsball/epsball/model"
)

// operators converts each operator: it returns what the node's first output is.
var operators map[string]func(im *importer, n *node) (value, error)

func init() { // the table is used by what it holds
	operators = map[string]func(im *importer, n *node) (value, error){
		"Add":                convertAdd,
		"AveragePool":        convertAveragePool,
		"BatchNormalization": convertBatchNorm,
		"Cast":               convertCast,
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
		"Mul":                convertMul,
		"Pad":                convertPad,
		"ReduceMean":         convertReduceMean,
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

func convertConv(im *importer, n *node) (value, error) {
	a, err := im.padded(n, 0)
	if err != nil {
		return value{}, err
	}
	w, err := im.floats(n, 1)
	if err != nil {
		return value{}, err
	}
	if err := n.expect("group", 1, 1, "grouped convolutions are not supported"); err != nil {
		return value{}, err
	}
	view := a.dims
	b, in, err := im.image(n, a)
	if err != nil {
		return value{}, err
	}
	spatial := len(view) - 1
	if len(w.dims) != 2+spatial || w.dims[1] != in.C || size(w.dims) == 0 {
		return value{}, n.errorf("input 1", "got weights of dimensions %v, expected outputs, %d channels and a kernel of %d dimensions",
			w.dims, in.C, spatial)
	}
	out := w.dims[0]
	bias := make([]float64, out)
	if n.has(2) {
		c, err := im.floats(n, 2)
		if err != nil {
			return value{}, err
		}
		if len(c.f) != out || len(c.dims) != 1 {
			return value{}, n.errorf("input 2", "got a bias of dimensions %v, expected [%d]", c.dims, out)
		}
		bias = wide(c.f)
	}
	win, err := n.window(b, w.dims[2:])
	if err != nil {
		return value{}, err
	}
	if err := im.charge(int64(len(w.f))); err != nil {
		return value{}, err
	}
	r, err := im.readImage(n, b, in, slices.Clone(w.f), bias, win)
	return value{a: sameRank(r, view)}, err
}

// sameRank drops the last dimension of an image where the operator is
// one-dimensional.
func sameRank(a *act, view []int) *act {
	if a != nil && len(view) == 2 {
		return a.reshaped(a.lead, a.dims[:2])
	}
	return a
}

// window reads the attributes of a convolution or pool over a view. The kernel is
// that of the weights; nil: it has to be stated.
func (n *node) window(a *act, kernel []int) (window, error) {
	var w window
	spatial := len(a.dims) - 1
	stated, err := n.list("kernel_shape", spatial, 1)
	if err != nil {
		return w, err
	}
	if kernel == nil {
		kernel = stated
	}
	if kernel == nil || stated != nil && !slices.Equal(stated, kernel) {
		return w, n.errorf(`attribute "kernel_shape"`, "got %v, expected %v", stated, kernel)
	}
	strides, err := n.list("strides", spatial, 1)
	if err != nil {
		return w, err
	}
	dilations, err := n.list("dilations", spatial, 1)
	if err != nil {
		return w, err
	}
	if slices.ContainsFunc(dilations, func(d int) bool { return d != 1 }) {
		return w, n.errorf(`attribute "dilations"`, "got %v, expected 1 everywhere: dilated kernels are not supported", dilations)
	}
	pads, err := n.list("pads", 2*spatial, 0)
	if err != nil {
		return w, err
	}
	auto, err := n.text("auto_pad", "NOTSET")
	if err != nil {
		return w, err
	}
	const most = 4096 // side of a model's kernel
	for _, v := range slices.Concat(kernel, strides, pads) {
		if v > most {
			return w, n.errorf("", "got a kernel of %v, strides %v and pads %v, expected each at most %d", kernel, strides, pads, most)
		}
	}
	w.kernel, w.stride = [2]int{1, 1}, [2]int{1, 1}
	for d := range spatial {
		w.kernel[d] = kernel[d]
		if strides != nil {
			w.stride[d] = strides[d]
		}
		if pads != nil {
			w.pads[d], w.pads[d+2] = pads[d], pads[d+spatial]
		}
	}
	switch auto {
	case "NOTSET", "":
	case "VALID":
		w.pads = [4]int{}
	case "SAME_UPPER", "SAME_LOWER":
		for d := range spatial {
			in := a.dims[1+d]
			total := max(((in-1)/w.stride[d])*w.stride[d]+w.kernel[d]-in, 0)
			w.pads[d], w.pads[d+2] = total/2, total-total/2
			if auto == "SAME_LOWER" {
				w.pads[d], w.pads[d+2] = w.pads[d+2], w.pads[d]
			}
		}
	default:
		return w, n.errorf(`attribute "auto_pad"`, "got %s, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER", quote(auto))
	}
	return w, nil
}

func convertAveragePool(im *importer, n *node) (value, error) {
	a, err := im.padded(n, 0)
	if err != nil {
		return value{}, err
	}
	view := a.dims
	b, in, err := im.image(n, a)
	if err != nil {
		return value{}, err
	}
	win, err := n.window(b, nil)
	if err != nil {
		return value{}, err
	}
	count, err := n.integer("count_include_pad", 0)
	if err != nil {
		return value{}, err
	}
	if count == 0 && win.pads != [4]int{} {
		return value{}, n.errorf(`attribute "count_include_pad"`, "got 0 with padding %v, expected 1: other averages at the border are not supported",
			win.pads)
	}
	ceil, err := n.integer("ceil_mode", 0)
	if err != nil {
		return value{}, err
	}
	for d := range len(view) - 1 {
		if rest := view[1+d] + win.pads[d] + win.pads[d+2] - win.kernel[d]; ceil != 0 && rest%win.stride[d] != 0 {
			return value{}, n.errorf(`attribute "ceil_mode"`, "got %d, expected 0: windows beyond the padded input are not supported", ceil)
		}
	}
	r, err := im.average(n, b, in, win)
	return value{a: sameRank(r, view)}, err
}

// average adds a convolution that averages each channel of an image.
func (im *importer) average(n *node, a *act, in model.Shape, win window) (*act, error) {
	area, ok := volume([]int64{int64(in.C), int64(in.C), int64(win.kernel[0]), int64(win.kernel[1])}, maxElements)
	if !ok {
		return nil, n.errorf("", "got a window of %v over %d channels, expected a smaller one", win.kernel, in.C)
	}
	if err := im.charge(area); err != nil {
		return nil, err
	}
	count := win.kernel[0] * win.kernel[1]
	weight := float32(1 / float64(count))
	if float64(weight)*float64(count) != 1 {
		im.note("%s: weights of 1/%d rounded to float32", n.label(), count)
	}
	w := make([]float32, area)
	for c := range in.C {
		for i := range count {
			w[(c*in.C+c)*count+i] = weight
		}
	}
	return im.readImage(n, a, in, w, make([]float64, in.C), win)
}

func convertGlobalAveragePool(im *importer, n *node) (value, error) {
	a, err := im.padded(n, 0)
	if err != nil {
		return value{}, err
	}
	view := a.dims
	r, err := im.globalAverage(n, a)
	return value{a: sameRank(r, view)}, err
}

func (im *importer) globalAverage(n *node, a *act) (*act, error) {
	b, in, err := im.image(n, a)
	if err != nil {
		return nil, err
	}
	win := window{stride: [2]int{1, 1}}
	win.kernel = [2]int{in.H + b.pad[0] + b.pad[2], in.W + b.pad[1] + b.pad[3]}
	return im.average(n, b, in, win)
}

// convertReduceMean takes the mean over height and width, of images in either
// layout.
func convertReduceMean(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	axes, err := im.axes(n, a.rank())
	if err != nil {
		return value{}, err
	}
	keep, err := n.integer("keepdims", 1)
	if err != nil {
		return value{}, err
	}
	n.used["noop_with_empty_axes"] = true
	slices.Sort(axes)
	last := a.rank() == 4 && slices.Equal(axes, []int{1, 2}) // channels last
	if last {
		if a, err = im.transposed(a, []int{2, 0, 1}); err != nil {
			return value{}, err
		}
	} else if a.rank() != 4 || !slices.Equal(axes, []int{2, 3}) {
		return value{}, n.errorf(`attribute "axes"`, "got %v of dimensions %s, expected an image's height and width", axes, im.dimsText(a))
	}
	r, err := im.globalAverage(n, a)
	if err != nil {
		return value{}, err
	}
	c := r.dims[0]
	switch {
	case keep == 0:
		r = r.reshaped(true, []int{c})
	case last:
		r = r.reshaped(true, []int{1, 1, c})
	}
	return value{a: r}, nil
}

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
