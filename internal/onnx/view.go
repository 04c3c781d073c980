package onnx

import (
	"fmt"
	"slices"

	"github.com/epsball/epsball/model"
)

// netInput is the source of views of the network's input.
const netInput = -1

// act is a view of an activation: of the input or of the output of a layer, seen
// with other dimensions and in another order, after constants and zeros that no
// layer has taken in yet.
type act struct {
	src  int  // index of the layer, netInput
	lead bool // the first ONNX dimension, not in dims, is the batch's
	dims []int

	// order says which element of the source, channels first, each element of
	// the view is; nil: the same.
	order []int32

	affine *affine // applied to the source; nil: none
	pad    [4]int  // zeros around the image after that: top, left, bottom, right; dims count them
	placed bool    // order and affine are in terms of the input's decided layout
	sole   bool    // nothing else reads the source or the views between
	ended  string  // the node that was dropped here, which nothing may follow; empty: none
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// reshaped returns the view with other dimensions of the same product.
func (a *act) reshaped(lead bool, dims []int) *act {
	b := *a
	b.lead, b.dims = lead, dims
	return &b
}

// rank is the number of ONNX dimensions.
func (a *act) rank() int {
	if a.lead {
		return len(a.dims) + 1
	}
	return len(a.dims)
}

// input is the network's input. Its layout is decided when the first layer reads
// it.
type input struct {
	name  string
	dtype int64 // as declared; 0: not
	batch int64 // -1: symbolic
	dims  []int // as declared, without the batch
	shape model.Shape
	known bool // shape is decided

	// order says which declared element each element of the epsball input is,
	// and place is its inverse; nil: the same.
	order, place []int32
}

func (in *input) declare(v valueInfo) (*act, error) {
	what := "input " + quote(v.name)
	if !slices.Contains([]int64{typeFloat, typeFloat16, typeBFloat16, typeDouble}, v.dtype) {
		return nil, malformed(what, "got elements of %s, expected FLOAT, FLOAT16, BFLOAT16 or DOUBLE", typeName(v.dtype))
	}
	if !v.hasShape || len(v.dims) == 0 {
		return nil, malformed(what, "got no dimensions, expected those of a batch of images")
	}
	in.name, in.dtype, in.batch = v.name, v.dtype, 1
	dims, lead := v.dims, len(v.dims) > 1
	if lead {
		in.batch, dims = dims[0], dims[1:]
	}
	for i, d := range dims {
		if d < 0 {
			return nil, malformed(what, "got dimension %d unknown, expected only the first, the batch's, to be: export with dynamic_shapes=({0: \"batch\"},) or none", i+1)
		}
	}
	if _, ok := volume(dims, maxElements); !ok {
		return nil, malformed(what, "got dimensions %v, expected at most %d elements", dims, maxElements)
	}
	for _, d := range dims {
		in.dims = append(in.dims, int(d))
	}
	return &act{src: netInput, lead: lead, dims: in.dims, sole: true}, nil
}

// settleAs decides the layout: an image of the given shape whose elements are, in
// order, the declared ones of order.
func (in *input) settleAs(shape model.Shape, order []int32) {
	in.shape, in.known, in.order = shape, true, order
	if order != nil {
		in.place = make([]int32, len(order))
		for i, p := range order {
			in.place[p] = int32(i)
		}
	}
}

// asDeclared decides the layout for a first reader that needs none.
func (in *input) asDeclared() {
	const longest = 4096 // side of a model's input
	d := slices.DeleteFunc(slices.Clone(in.dims), func(n int) bool { return n == 1 })
	if len(in.dims) <= 3 {
		d = slices.Clone(in.dims)
	}
	for len(d) > 3 { // more than an image has: the last ones together
		d = append(d[:len(d)-2], d[len(d)-2]*d[len(d)-1])
	}
	if n := size(d); len(d) == 1 && n > longest { // the squarest image
		for h := longest; h > 0; h-- {
			if n%h == 0 && h <= n/h {
				d = []int{1, h, n / h}
				break
			}
		}
	}
	for len(d) < 3 {
		d = append(d, 1)
	}
	in.settleAs(model.Shape{C: d[0], H: d[1], W: d[2]}, nil)
}

// shapeOf returns the shape of a view's source.
func (im *importer) shapeOf(a *act) model.Shape {
	if a.src == netInput {
		return im.in.shape
	}
	return im.layers[a.src].shape
}

// placed returns the view in terms of its source's own layout, which is decided
// by it if it is the input's first reader.
func (im *importer) placed(a *act) (*act, error) {
	if a.src != netInput || a.placed {
		return a, nil
	}
	switch {
	case im.in.known:
	case a.order != nil && a.lead && len(a.dims) == 3 && len(im.in.dims) == 3 &&
		slices.Equal(a.order, permuted(im.in.dims, []int{2, 0, 1})): // from channels last
		im.settleInput(model.Shape{C: a.dims[0], H: a.dims[1], W: a.dims[2]}, a.order)
	default:
		im.in.asDeclared()
	}
	b := *a
	b.placed = true
	place := im.in.place
	if place == nil {
		return &b, nil
	}
	if err := im.charge(int64(len(place))); err != nil {
		return nil, err
	}
	b.order = make([]int32, len(place))
	same := true
	for j := range b.order {
		p := int32(j)
		if a.order != nil {
			p = a.order[j]
		}
		b.order[j] = place[p]
		same = same && int(place[p]) == j
	}
	if same {
		b.order = nil
	}
	if a.affine != nil {
		b.affine = a.affine.reordered(im.in.order)
	}
	return &b, nil
}

// settleInput is input.settleAs, with a note if that is not as declared.
func (im *importer) settleInput(s model.Shape, order []int32) {
	im.in.settleAs(s, order)
	if order != nil {
		im.note("input %s: taken channels first, as the first layer reads it, not as declared %v", quote(im.in.name), im.in.dims)
	}
}

// image returns a view as what a convolution reads, and the shape of its source:
// the view must be the source itself, but for zeros around it.
func (im *importer) image(n *node, a *act) (*act, model.Shape, error) {
	d := a.dims
	if len(d) == 2 { // one-dimensional convolutions
		d = []int{d[0], d[1], 1}
	}
	if len(d) != 3 || !a.lead {
		return nil, model.Shape{}, n.errorf("input 0", "got dimensions %s, expected a batch, channels, height and width", im.dimsText(a))
	}
	want := model.Shape{C: d[0], H: d[1] - a.pad[0] - a.pad[2], W: d[2] - a.pad[1] - a.pad[3]}
	if a.src == netInput && !im.in.known {
		im.settleInput(want, a.order)
	}
	b, err := im.placed(a)
	if err != nil {
		return nil, model.Shape{}, err
	}
	if got := im.shapeOf(b); b.src != netInput && got == (model.Shape{C: want.Size(), H: 1, W: 1}) && got != want && b.pad == [4]int{} {
		if b, err = im.painted(b, want); err != nil {
			return nil, model.Shape{}, err
		}
	}
	if got := im.shapeOf(b); got != want || b.order != nil {
		return nil, model.Shape{}, n.errorf("input 0", "got %s out of %v in another order, expected an image as a layer computes it",
			im.dimsText(a), got)
	}
	return b, want, nil
}

// dimsText shows the dimensions of a view.
func (im *importer) dimsText(a *act) string {
	if !a.lead {
		return fmt.Sprint(a.dims)
	}
	batch := "N"
	if im.in.batch >= 0 {
		batch = fmt.Sprint(im.in.batch)
	}
	text := "[" + batch
	for _, d := range a.dims {
		text += fmt.Sprint(" ", d)
	}
	return text + "]"
}

// transposed permutes a view's dimensions.
func (im *importer) transposed(a *act, perm []int) (*act, error) {
	n := size(a.dims)
	if err := im.charge(int64(n)); err != nil {
		return nil, err
	}
	b := *a
	b.dims = make([]int, len(perm))
	for k, p := range perm {
		b.dims[k] = a.dims[p]
	}
	b.order = make([]int32, n)
	same := true
	for j, p := range permuted(a.dims, perm) {
		if a.order != nil {
			p = a.order[p]
		}
		b.order[j] = p
		same = same && int(p) == j
	}
	if same {
		b.order = nil
	}
	return &b, nil
}

// permuted returns, for each element of a transposed tensor, its index in the
// original.
func permuted(dims, perm []int) []int32 {
	stride := make([]int, len(dims))
	s := 1
	for k := len(dims) - 1; k >= 0; k-- {
		stride[k] = s
		s *= dims[k]
	}
	out := make([]int32, 0, s)
	at := make([]int, len(perm))
	p := 0
	for range s {
		out = append(out, int32(p))
		for k := len(perm) - 1; k >= 0; k-- {
			p += stride[perm[k]]
			if at[k]++; at[k] < dims[perm[k]] {
				break
			}
			p -= stride[perm[k]] * at[k]
			at[k] = 0
		}
	}
	return out
}
