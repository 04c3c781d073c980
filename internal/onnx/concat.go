package onnx

import (
	"slices"

	"github.com/epsball/epsball/model"
)

// convertConcat joins activations, or the parts of a shape.
func convertConcat(im *importer, n *node) (value, error) {
	for i := range n.inputs {
		v, err := im.operand(n, i)
		if err != nil {
			return value{}, err
		}
		if v.a != nil {
			a, err := im.concat(n)
			return value{a: a}, err
		}
	}
	var out []int64
	for i := range n.inputs {
		v, err := im.integers(n, i)
		if err != nil {
			return value{}, err
		}
		if len(out)+len(v) > maxDims {
			return value{}, n.errorf("", "got more than %d dimensions of a shape, expected at most that", maxDims)
		}
		out = append(out, v...)
	}
	n.used["axis"] = true // the only one
	return list(out), nil
}

// concat joins activations along an axis that becomes the channels'.
func (im *importer) concat(n *node) (*act, error) {
	const most = 1024 // inputs of a model's layer
	if len(n.inputs) > most {
		return nil, n.errorf("", "got %d inputs, expected at most %d", len(n.inputs), most)
	}
	axis, err := n.integer("axis", 1)
	if err != nil {
		return nil, err
	}
	var parts []*act
	var perm, dims []int
	total := int64(0)
	for i := range n.inputs {
		a, err := im.activation(n, i)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			axes, err := n.axesOf([]int64{axis}, a.rank())
			if err != nil {
				return nil, err
			}
			if axes[0] == 0 || !a.lead {
				return nil, n.errorf(`attribute "axis"`, "got %d, expected another than the batch's", axis)
			}
			perm = sequence(len(a.dims)) // the axis first
			copy(perm[1:], perm[:axes[0]-1])
			perm[0] = axes[0] - 1
		}
		if !a.lead || len(a.dims) != len(perm) {
			return nil, n.errorf("", "got %s, expected as many dimensions as the other inputs have", im.dimsText(a))
		}
		if perm[0] != 0 {
			if a, err = im.transposed(a, perm); err != nil {
				return nil, err
			}
		}
		if a, err = im.settle(n, a); err != nil {
			return nil, err
		}
		if a, err = im.placed(a); err != nil {
			return nil, err
		}
		if i == 0 {
			dims = slices.Clone(a.dims)
			dims[0] = 0
		}
		if !slices.Equal(a.dims[1:], dims[1:]) {
			return nil, n.errorf("", "got %s and %v, expected the same dimensions but along the axis", im.dimsText(a), dims)
		}
		if total += int64(size(a.dims)); total > maxElements {
			return nil, n.errorf("", "got more than %d elements, expected at most that", maxElements)
		}
		dims[0] += a.dims[0]
		parts = append(parts, a)
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	r, err := im.joined(parts, dims)
	if err != nil || perm[0] == 0 {
		return r, err
	}
	back := make([]int, len(perm))
	for k, p := range perm {
		back[p] = k
	}
	return im.transposed(r, back)
}

// joined adds the layer: of images, as long as they are in order and of one size, else
// of vectors, which identities make of them.
func (im *importer) joined(parts []*act, dims []int) (*act, error) {
	s := im.shapeOf(parts[0])
	images := true
	for _, a := range parts {
		t := im.shapeOf(a)
		images = images && a.order == nil && t.H == s.H && t.W == s.W
	}
	l := &layer{Layer: model.Layer{Kind: model.Concat}, shape: model.Shape{H: s.H, W: s.W}}
	if !images {
		l.shape.H, l.shape.W = 1, 1
	}
	for _, a := range parts {
		src := a.src
		if !images {
			var err error
			if src, err = im.vector(a); err != nil {
				return nil, err
			}
			l.shape.C += size(a.dims)
		} else {
			l.shape.C += im.shapeOf(a).C
		}
		l.in = append(l.in, src)
	}
	return &act{src: im.push(l), lead: true, dims: dims, sole: true}, nil
}

// vector returns the layer whose outputs are a view's elements, as channels of one
// pixel: its source if it is that already, else an identity.
func (im *importer) vector(a *act) (int, error) {
	count := size(a.dims)
	if s := im.shapeOf(a); a.order == nil && s.H*s.W == 1 {
		return a.src, nil
	}
	if err := im.charge(int64(count) * int64(count)); err != nil {
		return 0, err
	}
	l := &layer{
		Layer: model.Layer{Kind: model.FC, Out: count}, in: []int{a.src}, shape: model.Shape{C: count, H: 1, W: 1},
		w: make([]float32, count*count), bias: make([]float64, count),
	}
	for j := range count {
		from := j
		if a.order != nil {
			from = int(a.order[j])
		}
		l.w[j*count+from] = 1
	}
	return im.push(l), nil
}
