package check

import "github.com/epsball/epsball/model"

// window is where the taps of a conv, an fc or a pool lie on its input.
type window struct {
	kernel, stride, padding, dilation [2]int

	in, out model.Shape
}

// newWindow returns that of a layer; of an fc it is a kernel as large as the input.
func newWindow(l *model.Layer, in, out model.Shape) window {
	w := window{l.Kernel, l.Stride, l.Padding, l.Dilations(), in, out}
	if l.Kind == model.FC {
		w.kernel, w.stride = [2]int{in.H, in.W}, [2]int{1, 1}
	}
	return w
}

func (w *window) size() int { return w.kernel[0] * w.kernel[1] }

// columns calls f for the output positions y, x in a region and the kernel rows ky that
// lie on the input: with the pixel of the output, the pixel of the input under the
// row's first column, which may lie beyond its left border, and the columns that are
// within both.
func (w *window) columns(r region, f func(out, in, ky, from, to int)) {
	step := w.dilation[1]
	for y := r.y0; y < r.y1; y++ {
		for x := r.x0; x < r.x1; x++ {
			x0 := x*w.stride[1] - w.padding[1]
			from, to := (max(0, -x0)+step-1)/step, min(w.kernel[1], (w.in.W-x0+step-1)/step)
			for ky := range w.kernel[0] {
				iy := y*w.stride[0] - w.padding[0] + ky*w.dilation[0]
				if iy >= 0 && iy < w.in.H && from < to {
					f(y*w.out.W+x, iy*w.in.W+x0, ky, from, to)
				}
			}
		}
	}
}

// pixels calls f with the pixel of each output position in a region and that of each
// of its taps on the input, in the order of the kernel.
func (w *window) pixels(r region, f func(out, in int)) {
	w.columns(r, func(out, in, _, from, to int) {
		for kx := from; kx < to; kx++ {
			f(out, in+kx*w.dilation[1])
		}
	})
}

// seen returns the part of the input that outputs in r read.
func (w *window) seen(r region) region {
	end := func(d, last int) int {
		return last*w.stride[d] - w.padding[d] + (w.kernel[d]-1)*w.dilation[d] + 1
	}
	return region{
		max(0, r.y0*w.stride[0]-w.padding[0]), min(w.in.H, end(0, r.y1-1)),
		max(0, r.x0*w.stride[1]-w.padding[1]), min(w.in.W, end(1, r.x1-1)),
	}
}

// region is a rectangle of rows and columns of an activation.
type region struct{ y0, y1, x0, x1 int }

func whole(s model.Shape) region { return region{0, s.H, 0, s.W} }

func (r region) empty() bool { return r.y0 >= r.y1 || r.x0 >= r.x1 }

// with returns the smallest region that contains both.
func (r region) with(o region) region {
	switch {
	case r.empty():
		return o
	case o.empty():
		return r
	}
	return region{min(r.y0, o.y0), max(r.y1, o.y1), min(r.x0, o.x0), max(r.x1, o.x1)}
}
