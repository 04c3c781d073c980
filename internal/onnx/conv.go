package onnx

import (
	"slices"

	"github.com/epsball/epsball/model"
)

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
	count := win.kernel[0] * win.kernel[1]
	weight := float32(1 / float64(count))
	if float64(weight)*float64(count) != 1 {
		im.note("%s: weights of 1/%d rounded to float32", n.label(), count)
	}
	return im.alike(n, a, in, win, weight)
}

// alike adds a convolution of each channel of an image with the same weight for all
// of its window.
func (im *importer) alike(n *node, a *act, in model.Shape, win window, weight float32) (*act, error) {
	area, ok := volume([]int64{int64(in.C), int64(in.C), int64(win.kernel[0]), int64(win.kernel[1])}, maxElements)
	if !ok {
		return nil, n.errorf("", "got a window of %v over %d channels, expected a smaller one", win.kernel, in.C)
	}
	if err := im.charge(area); err != nil {
		return nil, err
	}
	count := win.kernel[0] * win.kernel[1]
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
	b, in, err := im.image(n, a)
	if err != nil {
		return value{}, err
	}
	win := window{stride: [2]int{1, 1}}
	win.kernel = [2]int{in.H + b.pad[0] + b.pad[2], in.W + b.pad[1] + b.pad[3]}
	r, err := im.average(n, b, in, win)
	return value{a: sameRank(r, view)}, err
}
