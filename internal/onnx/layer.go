package onnx

import (
	"slices"

	"github.com/epsball/epsball/model"
)

// layer is a layer to be: its weights may still take in constants.
type layer struct {
	model.Layer
	in    []int // indices of the layers it reads, netInput
	shape model.Shape

	// A conv or fc layer computes scale·(w·(x·inScale)) + bias; nil: 1. One inScale
	// for each input channel (conv) or feature (fc), one scale for each output.
	w       []float32
	inScale []float64
	scale   []float64
	bias    []float64
	by      []string // nodes that changed the weights

	norm *model.Param // of a batchnorm
}

func (im *importer) push(l *layer) int {
	im.layers = append(im.layers, l)
	return len(im.layers) - 1
}

// affine reports whether the layer has weights that can take in constants.
func (l *layer) affine() bool { return l.Kind == model.Conv || l.Kind == model.FC }

// fold applies an operation with constants, one for each output channel, to the
// layer's output.
func (l *layer) fold(op byte, c, d []float64) {
	f := newAffine(l.Out, false)
	f.stage = stageFree
	if l.scale != nil {
		f.scale = l.scale
	}
	f.shift = l.bias
	f.apply(op, c, d)
	if l.scale = f.scale; op == opAdd || op == opSub {
		l.scale = nil
		if slices.ContainsFunc(f.scale, func(x float64) bool { return x != 1 }) {
			l.scale = f.scale
		}
	}
	l.bias = f.shift
}

func (n *node) label() string {
	if n.name == "" && len(n.outputs) > 0 {
		return n.op + " " + quote(n.outputs[0])
	}
	return n.op + " " + quote(n.name)
}

// cols returns the number of weights of an output, and of those that share an
// input's scale.
func (l *layer) cols() (n, area int) {
	n, area = len(l.w)/l.Out, 1
	if l.Kind == model.Conv {
		area = l.Kernel[0] * l.Kernel[1]
	}
	return n, area
}

// first returns the first input channel, or feature, that output o sees.
func (l *layer) first(o int) int {
	n, area := l.cols()
	return o / (l.Out / l.GroupCount()) * (n / area)
}

// takeIn folds a view's constants, one for each input channel or feature, into
// the layer that reads it, before anything else is folded.
func (l *layer) takeIn(scale, shift []float64, by []string) {
	l.inScale = scale
	cols, area := l.cols()
	for o := range l.bias {
		from := shift[l.first(o):]
		for i, w := range l.w[o*cols : (o+1)*cols] {
			l.bias[o] += float64(float64(w) * from[i/area])
		}
	}
	l.by = slices.Clone(by)
}

// params returns the weights, each rounded once, and whether one is not what it
// would be in exact arithmetic.
func (l *layer) params() (p model.Param, rounded bool) {
	p = model.Param{W: l.w, B: make([]float32, l.Out)}
	for i, b := range l.bias {
		p.B[i] = float32(b)
		rounded = rounded || float64(p.B[i]) != b
	}
	if l.scale == nil && l.inScale == nil {
		return p, rounded
	}
	cols, area := l.cols()
	for o := range l.Out {
		row, first := p.W[o*cols:(o+1)*cols], l.first(o)
		for i := range row {
			v := float64(row[i])
			if l.inScale != nil {
				v *= l.inScale[first+i/area]
			}
			if l.scale != nil {
				v *= l.scale[o]
			}
			row[i] = float32(v)
			rounded = rounded || float64(row[i]) != v
		}
	}
	return p, rounded
}

// window is where a convolution or a pool looks.
type window struct {
	kernel, stride, dilation [2]int
	pads                     [4]int // top, left, bottom, right
	groups                   int
}

// newWindow returns a window of a kernel that moves by one pixel.
func newWindow(height, width int) window {
	return window{kernel: [2]int{height, width}, stride: [2]int{1, 1}, dilation: [2]int{1, 1}, groups: 1}
}

// extent returns how far a window reaches.
func (w *window) extent(d int) int { return (w.kernel[d]-1)*w.dilation[d] + 1 }

// dense returns the window with dilation 1 and its weights with zeros between the
// taps.
func (im *importer) dense(n *node, w []float32, win window) ([]float32, window, error) {
	k := [2]int{win.extent(0), win.extent(1)}
	planes := len(w) / (win.kernel[0] * win.kernel[1])
	total, ok := volume([]int64{int64(planes), int64(k[0]), int64(k[1])}, maxElements)
	if !ok {
		return nil, win, n.errorf("", "got more than %d weights with those between dilated ones, expected at most that", maxElements)
	}
	if err := im.charge(total); err != nil {
		return nil, win, err
	}
	out := make([]float32, total)
	for i, v := range w {
		x, y, p := i%win.kernel[1], i/win.kernel[1]%win.kernel[0], i/(win.kernel[0]*win.kernel[1])
		out[(p*k[0]+y*win.dilation[0])*k[1]+x*win.dilation[1]] = v
	}
	win.kernel, win.dilation = k, [2]int{1, 1}
	return out, win, nil
}

// conv returns a convolution layer over a view of an image of shape in, whose
// padding it takes in; w is [Out][C][KH][KW]. Padding that differs from side to
// side becomes the larger of the two and zero weights where the kernel then begins
// or ends: the same sums. A dilated kernel is made a dense one for that.
func (im *importer) conv(n *node, a *act, in model.Shape, w []float32, bias []float64, win window) (*layer, error) {
	for d := range 2 {
		low, high := win.pads[d]+a.pad[d], win.pads[d+2]+a.pad[d+2]
		if win.dilation[d] > 1 && (low != high || low >= win.extent(d)) {
			var err error
			if w, win, err = im.dense(n, w, win); err != nil {
				return nil, err
			}
		}
	}
	out := len(bias)
	l := &layer{in: []int{a.src}, w: w, bias: bias}
	l.Layer = model.Layer{Kind: model.Conv, Out: out, Stride: win.stride}
	if win.groups > 1 {
		l.Groups = win.groups
	}
	if win.dilation != [2]int{1, 1} {
		l.Dilation = win.dilation
	}
	var before, shape [2]int
	for d, size := range [2]int{in.H, in.W} {
		const most = 4096 // side of a model's kernel
		k, low, high := win.extent(d), win.pads[d]+a.pad[d], win.pads[d+2]+a.pad[d+2]
		if k > most || win.stride[d] > most || low > most || high > most {
			return nil, n.errorf("", "got a kernel of %v, strides %v and pads %d and %d, expected each at most %d",
				win.kernel, win.stride, low, high, most)
		}
		if k > size+low+high {
			return nil, n.errorf("", "got a kernel of %v, expected at most the padded input, here %d", win.kernel, size+low+high)
		}
		more, after := max(0, high-low), max(0, low-high)
		// A model's padding is less than its kernel.
		x := max(0, low+more-(k+more+after)+1)
		more, after = more+x, after+x
		before[d] = more
		l.Kernel[d], l.Padding[d] = k+more+after, low+more
		if win.dilation[d] > 1 { // as it is: no more, none after
			l.Kernel[d] = win.kernel[d]
		}
		shape[d] = (size+low+high-k)/win.stride[d] + 1
	}
	l.shape = model.Shape{C: out, H: shape[0], W: shape[1]}
	total, ok := volume([]int64{int64(out), int64(in.C / win.groups), int64(l.Kernel[0]), int64(l.Kernel[1])}, maxElements)
	if _, fits := volume([]int64{int64(out), int64(shape[0]), int64(shape[1])}, maxElements); !ok || !fits {
		return nil, n.errorf("", "got more than %d weights or outputs, expected at most that", maxElements)
	}
	if l.Kernel == win.kernel {
		return l, nil
	}
	if err := im.charge(total); err != nil {
		return nil, err
	}
	l.w = make([]float32, total)
	rows := out * (in.C / win.groups) * win.kernel[0]
	for r := range rows {
		plane, y := r/win.kernel[0], r%win.kernel[0]+before[0]
		copy(l.w[(plane*l.Kernel[0]+y)*l.Kernel[1]+before[1]:], w[r*win.kernel[1]:(r+1)*win.kernel[1]])
	}
	return l, nil
}

// readImage adds a convolution over input 0 of a node, a view prepared by image.
func (im *importer) readImage(n *node, a *act, in model.Shape, w []float32, bias []float64, win window) (*act, error) {
	a, err := im.normalized(a)
	if err != nil {
		return nil, err
	}
	if a.affine != nil {
		scale, ok := perChannel(a.affine.scale, in)
		shift, ok2 := perChannel(a.affine.shift, in)
		padded := win.pads != [4]int{} || a.pad != [4]int{}
		if ok && ok2 && !(padded && a.affine.shifts()) {
			a2 := *a
			a2.affine = nil
			l, err := im.conv(n, &a2, in, w, bias, win)
			if err != nil {
				return nil, err
			}
			l.takeIn(scale, shift, a.affine.by)
			return im.imageOf(l), nil
		}
		if a, err = im.settle(n, a); err != nil {
			return nil, err
		}
		in = im.shapeOf(a)
	}
	l, err := im.conv(n, a, in, w, bias, win)
	if err != nil {
		return nil, err
	}
	return im.imageOf(l), nil
}

// imageOf adds a layer and returns the view of its output.
func (im *importer) imageOf(l *layer) *act {
	s := l.shape
	return &act{src: im.push(l), lead: true, dims: []int{s.C, s.H, s.W}, sole: true}
}

// linear adds a fully connected layer over a view, with weights [out][in] in the
// view's order, scaled by alpha, and a bias, by beta. The result has the
// dimensions dims.
func (im *importer) linear(n *node, a *act, w []float32, alpha, beta float64, bias []float64, dims []int) (*act, error) {
	a, err := im.placed(a)
	if err != nil {
		return nil, err
	}
	if a, err = im.normalized(a); err != nil {
		return nil, err
	}
	cols := size(a.dims)
	if a.order != nil {
		if err := im.charge(int64(len(w))); err != nil {
			return nil, err
		}
		sorted := make([]float32, len(w))
		for o := range bias {
			for j, p := range a.order {
				sorted[o*cols+int(p)] = w[o*cols+j]
			}
		}
		w = sorted
	}
	l := &layer{
		Layer: model.Layer{Kind: model.FC, Out: len(bias)}, in: []int{a.src},
		shape: model.Shape{C: len(bias), H: 1, W: 1}, w: w, bias: make([]float64, len(bias)),
	}
	if a.affine != nil {
		l.takeIn(a.affine.scale, a.affine.shift, a.affine.by)
	}
	if alpha != 1 {
		l.fold(opMul, slices.Repeat([]float64{alpha}, l.Out), nil)
	}
	if alpha != 1 || beta != 1 {
		l.by = append(l.by, n.label())
	}
	for i, b := range bias {
		b *= beta
		if l.bias[i] == 0 { // keeps the sign of a zero
			l.bias[i] = b
		} else {
			l.bias[i] += float64(b)
		}
	}
	return &act{src: im.push(l), lead: a.lead, dims: dims, sole: true}, nil
}
