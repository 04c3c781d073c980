package dataset

import (
	"fmt"
	"slices"
	"strings"
)

// readings returns the shapes of the images that an array of shape d can hold:
// with channels first and with channels last. A flat array holds none unless the
// model says how long its images are.
func (o *Options) readings(d []int64) (first, last Shape, ok bool) {
	if slices.Max(append([]int64{0}, d...)) > maxPixels {
		return first, last, false
	}
	switch len(d) {
	case 2:
		n, some := o.Input.pixels()
		return o.Input, o.Input, some && n == d[1]
	case 3:
		first = Shape{1, int(d[1]), int(d[2])}
		return first, first, true
	case 4:
		a, b, c := int(d[1]), int(d[2]), int(d[3])
		return Shape{a, b, c}, Shape{c, a, b}, true
	}
	return first, last, false
}

// order finds out how an array of images is to be read: the shape of each and
// where its channels are, first or last. Where both fit the model and differ,
// Options.Channels has to say.
func (o *Options) order(file string, h *npyHeader) (Shape, ChannelOrder, error) {
	first, last, ok := o.readings(h.shape)
	if !ok {
		want := "images as N×C×H×W, N×H×W×C or N×H×W"
		if n, some := o.Input.pixels(); some {
			want = fmt.Sprintf("images of %v, the input of the model, as N×C×H×W, N×H×W×C, N×H×W or N×%d", o.Input, n)
		}
		return first, 0, &Error{File: file, Field: "shape", Want: want + "; one image alone is x[None]", Got: times(h.shape)}
	}
	order := o.Channels
	if order == ChannelsAuto {
		order = o.fitting(first, last)
	}
	switch order {
	case ChannelsFirst:
		return first, order, nil
	case ChannelsLast:
		return last, order, nil
	}
	return first, 0, &Error{
		File: file, Field: "shape", Got: times(h.shape) + ", which fits the model with channels first and with channels last",
		Want: "to be told which: --channels first or --channels last",
	}
}

// fitting returns the order of axes that the model takes, or ChannelsAuto if it
// takes both and they differ. Where nothing decides, channels come first.
func (o *Options) fitting(first, last Shape) ChannelOrder {
	if o.Input == (Shape{}) {
		return ChannelsFirst
	}
	one, other := o.Input.Takes(first), o.Input.Takes(last)
	if one && other && !inOrder(last) {
		// A vector takes every shape. Of images, only those of one channel or three
		// are common.
		color := func(s Shape) bool { return s.C == 1 || s.C == 3 }
		if !o.Input.vector() || color(first) && color(last) {
			return ChannelsAuto
		}
		one, other = !color(last), color(last)
	}
	if other && !one {
		return ChannelsLast
	}
	return ChannelsFirst
}

// inOrder reports whether an image with its channels last lies in memory as it does
// with its channels first.
func inOrder(s Shape) bool { return s.C == 1 || s.H == 1 && s.W == 1 }

// axis is one axis of an array: its length, and how far apart its elements are in
// an image of C×H×W. That of the images has stride 0.
type axis struct{ n, stride, at int }

// axes returns the axes of an array of n images in the order in which their
// indices change, the slowest first.
func axes(h *npyHeader, n int, s Shape, order ChannelOrder) []axis {
	image := []axis{{n: s.C, stride: s.H * s.W}, {n: s.H, stride: s.W}, {n: s.W, stride: 1}}
	if order == ChannelsLast {
		image = append(image[1:], image[0])
	}
	switch {
	case !h.fortran:
		return append([]axis{{n: n}}, image...)
	case len(h.shape) > 2: // a flat one has two axes, of which the second is the image
		slices.Reverse(image)
	}
	return append(image, axis{n: n})
}

func times(d []int64) string {
	if len(d) == 0 {
		return "a single number"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(d), "[]"), " ", "×")
}
