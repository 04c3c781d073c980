package onnx

import (
	"slices"

	"github.com/epsball/epsball/model"
)

// poolInput reads what average and max pools have in common.
func (im *importer) poolInput(n *node) (a *act, in model.Shape, win window, view []int, err error) {
	if a, err = im.padded(n, 0); err != nil {
		return
	}
	view = a.dims
	if a, in, err = im.image(n, a); err != nil {
		return
	}
	if win, err = n.window(a, nil); err != nil {
		return
	}
	ceil, err := n.integer("ceil_mode", 0)
	if err != nil {
		return
	}
	for d := range len(view) - 1 {
		rest := view[1+d] + win.pads[d] + win.pads[d+2] - win.kernel[d]
		if rest < 0 {
			err = n.errorf(`attribute "kernel_shape"`, "got %v, expected at most the padded input, here %d", win.kernel, rest+win.kernel[d])
			return
		}
		if ceil != 0 && rest%win.stride[d] != 0 {
			err = n.errorf(`attribute "ceil_mode"`, "got %d, expected 0: windows beyond the padded input are not supported", ceil)
			return
		}
	}
	return
}

func convertAveragePool(im *importer, n *node) (value, error) {
	a, in, win, view, err := im.poolInput(n)
	if err != nil {
		return value{}, err
	}
	count, err := n.integer("count_include_pad", 0)
	if err != nil {
		return value{}, err
	}
	r, err := im.average(n, a, in, win, count != 0)
	return value{a: sameRank(r, view)}, err
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
	win := newWindow(in.H+b.pad[0]+b.pad[2], in.W+b.pad[1]+b.pad[3])
	r, err := im.average(n, b, in, win, false)
	return value{a: sameRank(r, view)}, err
}

// average adds an average pool of an image, a view prepared by image. Zeros around the
// view count; those of the window do with count.
func (im *importer) average(n *node, a *act, in model.Shape, win window, count bool) (*act, error) {
	a, err := im.normalized(a)
	if err != nil {
		return nil, err
	}
	own := win.pads != [4]int{}
	if a.pad != [4]int{} && own && !count {
		if a, err = im.settle(n, a); err != nil {
			return nil, err
		}
		in = im.shapeOf(a)
	}
	count = count && own || a.pad != [4]int{}
	pads := win.pads
	for d := range pads {
		pads[d] += a.pad[d]
	}
	same := pads[0] == pads[2] && pads[1] == pads[3] && pads[0] < win.kernel[0] && pads[1] < win.kernel[1]
	if !same {
		if !count {
			return nil, n.errorf(`attribute "count_include_pad"`, "got 0 with padding %v, expected 1, or the same padding, less than the kernel, on both sides", win.pads)
		}
		return im.weighed(n, a, in, win)
	}
	// An average of x·s + t is that of x, times s, plus t, where no zeros count.
	f := a.affine
	if f != nil {
		scale, ok := perChannel(f.scale, in)
		shift, ok2 := perChannel(f.shift, in)
		if !ok || !ok2 || count && f.shifts() {
			if a, err = im.settle(n, a); err != nil {
				return nil, err
			}
			f = nil
		} else {
			g := *f
			g.scale, g.shift, g.mean, g.std, g.stage = scale, shift, nil, nil, stageFree
			f = &g
		}
	}
	l := &layer{in: []int{a.src}}
	l.Layer = model.Layer{Kind: model.AvgPool, Kernel: win.kernel, Stride: win.stride, Padding: [2]int{pads[0], pads[1]}, CountPadding: count}
	r, err := im.pool(n, l, in)
	if err != nil || f == nil {
		return r, err
	}
	area := l.shape.H * l.shape.W
	if err := im.charge(2 * int64(area) * int64(in.C)); err != nil {
		return nil, err
	}
	f.scale, f.shift = repeated(f.scale, area), repeated(f.shift, area)
	r.affine = f
	return r, nil
}

// repeated returns each value n times.
func repeated(v []float64, n int) []float64 {
	out := make([]float64, 0, n*len(v))
	for _, x := range v {
		out = append(out, slices.Repeat([]float64{x}, n)...)
	}
	return out
}

// pool adds a pool, whose window fits its input.
func (im *importer) pool(n *node, l *layer, in model.Shape) (*act, error) {
	const most = 4096 // side of a model's window
	if max(l.Kernel[0], l.Kernel[1], l.Stride[0], l.Stride[1]) > most {
		return nil, n.errorf("", "got a window of %v and strides %v, expected each at most %d", l.Kernel, l.Stride, most)
	}
	l.shape = model.Shape{
		C: in.C,
		H: (in.H+2*l.Padding[0]-l.Kernel[0])/l.Stride[0] + 1,
		W: (in.W+2*l.Padding[1]-l.Kernel[1])/l.Stride[1] + 1,
	}
	return im.imageOf(l), nil
}

// weighed adds a convolution that averages each channel of an image, which takes
// padding that differs from side to side.
func (im *importer) weighed(n *node, a *act, in model.Shape, win window) (*act, error) {
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
	area, ok := volume([]int64{int64(in.C), int64(win.kernel[0]), int64(win.kernel[1])}, maxElements)
	if !ok {
		return nil, n.errorf("", "got a window of %v over %d channels, expected a smaller one", win.kernel, in.C)
	}
	if err := im.charge(area); err != nil {
		return nil, err
	}
	win.groups = in.C
	return im.readImage(n, a, in, slices.Repeat([]float32{weight}, int(area)), make([]float64, in.C), win)
}

func convertMaxPool(im *importer, n *node) (value, error) {
	a, in, win, view, err := im.poolInput(n)
	if err != nil {
		return value{}, err
	}
	n.used["storage_order"] = true // of the indices
	if a, err = im.settle(n, a); err != nil {
		return value{}, err
	}
	in = im.shapeOf(a)
	l := &layer{}
	l.Layer = model.Layer{Kind: model.MaxPool, Kernel: win.kernel, Stride: win.stride}
	fits := true
	for d, side := range [2]int{in.H, in.W} {
		low, high := win.pads[d], win.pads[d+2]
		if max(low, high) >= win.kernel[d] {
			return value{}, n.errorf(`attribute "pads"`, "got %v, expected each less than the window %v", win.pads, win.kernel)
		}
		count := func(more int) int { return (side + low + more - win.kernel[d]) / win.stride[d] }
		l.Padding[d] = low
		fits = fits && side+2*low >= win.kernel[d] && count(low) == count(high)
	}
	if !fits {
		if !im.positive(a.src) {
			return value{}, n.errorf(`attribute "pads"`, "got %v (top, left, bottom, right) of values that may be negative, expected the same padding on both sides", win.pads)
		}
		b := *a // zeros are as good as none
		b.pad = win.pads
		if a, err = im.surround(n, &b, in); err != nil {
			return value{}, err
		}
		in, l.Padding = im.shapeOf(a), [2]int{}
	}
	l.in = []int{a.src}
	r, err := im.pool(n, l, in)
	return value{a: sameRank(r, view)}, err
}

func convertGlobalMaxPool(im *importer, n *node) (value, error) {
	a, err := im.activation(n, 0)
	if err != nil {
		return value{}, err
	}
	view := a.dims
	b, in, err := im.image(n, a)
	if err != nil {
		return value{}, err
	}
	r, err := im.largest(n, b, in, newWindow(in.H, in.W))
	return value{a: sameRank(r, view)}, err
}

// largest adds a max pool, without padding, of an image.
func (im *importer) largest(n *node, a *act, in model.Shape, win window) (*act, error) {
	a, err := im.settle(n, a)
	if err != nil {
		return nil, err
	}
	l := &layer{in: []int{a.src}}
	l.Layer = model.Layer{Kind: model.MaxPool, Kernel: win.kernel, Stride: win.stride}
	return im.pool(n, l, in)
}

// positive reports whether no element of an activation is negative.
func (im *importer) positive(src int) bool {
	for src != netInput {
		switch l := im.layers[src]; l.Kind {
		case model.ReLU, model.Sigmoid:
			return true
		case model.Clip:
			return l.Min >= 0
		case model.MaxPool, model.AvgPool:
			src = l.in[0]
		default:
			return false
		}
	}
	return false
}

// surround adds a convolution that copies each channel and puts the view's zeros
// around it.
func (im *importer) surround(n *node, a *act, in model.Shape) (*act, error) {
	if err := im.charge(int64(in.C)); err != nil {
		return nil, err
	}
	win := newWindow(1, 1)
	win.groups = in.C
	l, err := im.conv(n, a, in, slices.Repeat([]float32{1}, in.C), make([]float64, in.C), win)
	if err != nil {
		return nil, err
	}
	return im.imageOf(l), nil
}
