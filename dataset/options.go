package dataset

import (
	"errors"
	"fmt"
	"strconv"
)

// Shape is the shape of an image: channels, rows, columns.
type Shape struct{ C, H, W int }

// String returns, say, "1x28x28".
func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.C, s.H, s.W) }

// pixels is C·H·W; ok is false if that is below 1 or above maxPixels.
func (s Shape) pixels() (n int64, ok bool) {
	n, ok = product(maxPixels, int64(s.C), int64(s.H), int64(s.W))
	return n, ok && n > 0
}

// vector reports whether s has one axis, if any, that is longer than 1.
func (s Shape) vector() bool {
	n, ok := s.pixels()
	return ok && int64(max(s.C, s.H, s.W)) == n
}

// Takes reports whether a model with input s takes images of shape got: of just
// this shape or, where s is a vector, of as many pixels, channels first.
func (s Shape) Takes(got Shape) bool {
	if s == got {
		return true
	}
	n, _ := s.pixels()
	m, ok := got.pixels()
	return ok && s.vector() && n == m
}

// ChannelOrder says where NumPy arrays of images have their channels.
type ChannelOrder int

// The orders. ChannelsAuto takes the one that gives the shape in Options.Input;
// where both do, and differ, that is an error. Without a shape it is
// ChannelsFirst.
const (
	ChannelsAuto  ChannelOrder = iota
	ChannelsFirst              // N×C×H×W
	ChannelsLast               // N×H×W×C
)

var channelOrders = [...]string{"auto", "first", "last"}

// String returns auto, first or last.
func (c ChannelOrder) String() string {
	if c >= 0 && int(c) < len(channelOrders) {
		return channelOrders[c]
	}
	return "ChannelOrder(" + strconv.Itoa(int(c)) + ")"
}

// ParseChannelOrder is the inverse of String.
func ParseChannelOrder(s string) (ChannelOrder, error) {
	for i, name := range channelOrders {
		if s == name {
			return ChannelOrder(i), nil
		}
	}
	return 0, errors.New("want one of auto, first, last")
}

// Options narrow what LoadWith reads. The zero value reads all of a set.
type Options struct {
	// Input is the shape that the model takes. Images of another shape are an
	// error, found in the file's header before a pixel is read. Arrays are read
	// in the order that fits (docs/data.md). A vector, such as 784x1x1, takes
	// any image with that many pixels. Zero stands for any shape.
	Input Shape

	// Offset is the index of the first image wanted and N their number; with N
	// zero, all from Offset on. Only these take memory. What follows them in a
	// file is not read, so damage there goes unnoticed.
	Offset, N int

	// Channels is the order of the axes in NumPy arrays. Other formats have
	// their own, so that anything but ChannelsAuto is an error.
	Channels ChannelOrder
}

// RangeError is the cause of an Error if Options ask for images that a set does
// not have.
type RangeError struct {
	Offset, N int // as in Options
	Len       int // images in the set
}

// Error says which images were wanted.
func (e *RangeError) Error() string {
	return fmt.Sprintf("images from %d on, %d of them (0: all), of %d", e.Offset, e.N, e.Len)
}

// ShapeError is the cause of an Error about images that the model does not take.
type ShapeError struct {
	Images, Input Shape
}

// Error says what was found and what the model takes.
func (e *ShapeError) Error() string {
	return fmt.Sprintf("images are %v, the input of the model is %v", e.Images, e.Input)
}

// plan looks at what a header says, n images of a shape, before they are read:
// that the model takes them and that those wanted exist and stay within
// MaxBytes. It returns their range [lo, hi).
func (o *Options) plan(file string, n int64, s Shape) (lo, hi int, err error) {
	size, ok := s.pixels()
	if !ok {
		return 0, 0, &Error{File: file, Field: "shape", Want: fmt.Sprintf("images of 1 to %d pixels", maxPixels), Got: s.String()}
	}
	if n < 1 || n > MaxImages {
		return 0, 0, &Error{File: file, Field: "number of images", Want: fmt.Sprintf("1 to %d", MaxImages), Got: strconv.FormatInt(n, 10)}
	}
	if o.Input != (Shape{}) && !o.Input.Takes(s) {
		return 0, 0, &Error{
			File: file, Field: "shape", Want: o.Input.String() + ", the input of the model", Got: "images of " + s.String(),
			Err: &ShapeError{s, o.Input},
		}
	}
	if o.Offset < 0 || o.N < 0 || int64(o.Offset) >= n || int64(o.N) > n-int64(o.Offset) {
		e := &RangeError{o.Offset, o.N, int(n)}
		return 0, 0, &Error{File: file, Field: "number of images", Want: e.Error(), Got: strconv.FormatInt(n, 10), Err: e}
	}
	lo, hi = o.Offset, o.Offset+o.N
	if o.N == 0 {
		hi = int(n)
	}
	if _, ok := product(maxPixels, int64(hi-lo), size); !ok {
		return 0, 0, &Error{
			File: file, Field: "size", Want: fmt.Sprintf("at most %d pixels; read fewer images at a time", maxPixels),
			Got: fmt.Sprintf("%d images of %v", hi-lo, s),
		}
	}
	return lo, hi, nil
}

// cut returns the images wanted of a set that is in memory anyway.
func (o *Options) cut(file string, s *Set) (*Set, error) {
	lo, hi, err := o.plan(file, int64(s.Len()), s.Shape())
	if err != nil {
		return nil, err
	}
	return s.Slice(lo, hi), nil
}
