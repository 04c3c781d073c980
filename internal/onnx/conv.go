package onnx

import "slices"

func convertConv(im *importer, n *node) (value, error) {
	a, err := im.padded(n, 0)
	if err != nil {
		return value{}, err
	}
	w, err := im.floats(n, 1)
	if err != nil {
		return value{}, err
	}
	groups, err := n.integer("group", 1)
	if err != nil {
		return value{}, err
	}
	view := a.dims
	b, in, err := im.image(n, a)
	if err != nil {
		return value{}, err
	}
	spatial := len(view) - 1
	if groups < 1 || groups > int64(in.C) || in.C%int(groups) != 0 {
		return value{}, n.errorf(`attribute "group"`, "got %d, expected a divisor of the %d channels", groups, in.C)
	}
	if channels := in.C / int(groups); len(w.dims) != 2+spatial || w.dims[1] != channels || size(w.dims) == 0 {
		return value{}, n.errorf("input 1", "got weights of dimensions %v, expected outputs, %d channels and a kernel of %d dimensions",
			w.dims, channels, spatial)
	}
	out := w.dims[0]
	if out%int(groups) != 0 {
		return value{}, n.errorf(`attribute "group"`, "got %d, expected a divisor of the %d outputs", groups, out)
	}
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
	win.groups = int(groups)
	for d, k := range win.kernel {
		if k == 1 && im.producer != producer { // dilated or not, it is the same
			win.dilation[d] = 1
		}
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
	w, pool := newWindow(1, 1), kernel == nil
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
	if pool && slices.ContainsFunc(dilations, func(d int) bool { return d != 1 }) {
		return w, n.errorf(`attribute "dilations"`, "got %v, expected 1 everywhere: dilated windows are not supported", dilations)
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
	for _, v := range slices.Concat(kernel, strides, pads, dilations) {
		if v > most {
			return w, n.errorf("", "got a kernel of %v, strides %v, dilations %v and pads %v, expected each at most %d",
				kernel, strides, dilations, pads, most)
		}
	}
	for d := range spatial {
		w.kernel[d] = kernel[d]
		if strides != nil {
			w.stride[d] = strides[d]
		}
		if dilations != nil {
			w.dilation[d] = dilations[d]
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
			total := max(((in-1)/w.stride[d])*w.stride[d]+w.extent(d)-in, 0)
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
