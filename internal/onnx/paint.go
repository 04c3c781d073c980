package onnx

import (
	"slices"
	"strings"

	"github.com/epsball/epsball/model"
)

// painted returns a view of a fully connected layer's output that a convolution
// reads as an image, where a model has no reshape: as the output of a convolution
// whose kernel and padding are so large that each output pixel sees its only input
// pixel through a tap of its own. Biases, one for each element, come from a channel
// that is always 1. The sums are those of the fully connected layer. A view of
// anything else is returned as it is.
func (im *importer) painted(a *act, s model.Shape) (*act, error) {
	const most = 4096 // side of a model's kernel
	l := im.layers[a.src]
	var after *layer // a function of each element
	switch l.Kind {
	case model.ReLU, model.LeakyReLU, model.Sigmoid, model.Tanh, model.Clip:
		if after = l; l.in[0] == netInput || len(l.Slope) > 1 {
			return a, nil
		}
		l = im.layers[l.in[0]]
	}
	if l.Kind != model.FC || s.H > most || s.W > most {
		return a, nil
	}
	m, n := len(l.w)/l.Out, s.Size()
	if err := im.charge(int64(m+1) * int64(m+n)); err != nil {
		return nil, err
	}
	fc := *l
	fc.w = slices.Clone(l.w)
	rows, rounded := fc.params()
	if rounded && len(l.by) > 0 {
		im.note("a fully connected layer of %d: weights rounded to float32 after taking in %s", n, strings.Join(l.by, ", "))
	}
	// x and 1, as channels of one pixel.
	in := &layer{Layer: model.Layer{Kind: model.FC, Out: m + 1}, in: l.in, shape: model.Shape{C: m + 1, H: 1, W: 1}}
	in.w, in.bias = make([]float32, (m+1)*m), make([]float64, m+1)
	for i := range m {
		in.w[i*m+i] = 1
	}
	in.bias[m] = 1
	out := &layer{in: []int{im.push(in)}, shape: s, bias: make([]float64, s.C), by: l.by}
	out.Layer = model.Layer{
		Kind: model.Conv, Out: s.C, Kernel: [2]int{s.H, s.W}, Stride: [2]int{1, 1}, Padding: [2]int{s.H - 1, s.W - 1},
	}
	area := s.H * s.W
	out.w = make([]float32, (m+1)*n)
	for j := range n {
		row := j
		if a.order != nil {
			row = int(a.order[j])
		}
		c, tap := j/area, area-1-j%area
		for f := range m {
			out.w[(c*(m+1)+f)*area+tap] = rows.W[row*m+f]
		}
		out.w[(c*(m+1)+m)*area+tap] = rows.B[row]
	}
	b := *a
	b.src, b.sole = im.push(out), true
	if after != nil {
		b.src = im.push(&layer{Layer: after.Layer, in: []int{b.src}, shape: s})
	}
	if a.order != nil && a.affine != nil {
		b.affine = a.affine.reordered(a.order)
	}
	b.order = nil
	return &b, nil
}
