package onnx

import (
	"slices"

	"github.com/epsball/epsball/model"
)

func convertReduceMean(im *importer, n *node) (value, error) {
	return im.reduce(n, func(im *importer, n *node, a *act, in model.Shape, win window) (*act, error) {
		return im.average(n, a, in, win, false)
	})
}

func convertReduceMax(im *importer, n *node) (value, error) {
	return im.reduce(n, (*importer).largest)
}

func convertReduceSum(im *importer, n *node) (value, error) {
	return im.reduce(n, func(im *importer, n *node, a *act, in model.Shape, win window) (*act, error) {
		return im.alike(n, a, in, win, 1)
	})
}

// reduce takes the mean, the maximum or the sum over height, width or both, of images in either
// layout.
func (im *importer) reduce(n *node, over func(im *importer, n *node, a *act, in model.Shape, win window) (*act, error)) (value, error) {
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
	n.used["noop_with_empty_axes"] = true // without axes it is refused anyway
	slices.Sort(axes)
	last := a.rank() == 4 && slices.Equal(axes, []int{1, 2}) // channels last
	if last {
		if a, err = im.transposed(a, []int{2, 0, 1}); err != nil {
			return value{}, err
		}
	} else if r := a.rank(); r != 3 && r != 4 || len(axes) == 0 || axes[0] < 2 {
		return value{}, n.errorf(`attribute "axes"`, "got %v of dimensions %s, expected an image's height, width or both", axes, im.dimsText(a))
	}
	b, in, err := im.image(n, a)
	if err != nil {
		return value{}, err
	}
	win := newWindow(1, 1)
	if last || slices.Contains(axes, 2) {
		win.kernel[0] = in.H
	}
	if last || slices.Contains(axes, 3) {
		win.kernel[1] = in.W
	}
	view := a.dims
	r, err := over(im, n, b, in, win)
	if err != nil {
		return value{}, err
	}
	r = sameRank(r, view)
	dims := r.dims
	if last { // channels, 1, 1
		dims = []int{1, 1, r.dims[0]}
	}
	if keep == 0 {
		dims = nil
		for k, d := range r.dims {
			if last && k == 0 || !last && !slices.Contains(axes, k+1) {
				dims = append(dims, d)
			}
		}
	}
	return value{a: r.reshaped(true, dims)}, nil
}
