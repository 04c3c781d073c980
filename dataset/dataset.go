// Package dataset reads labelled images into one plain in-memory form, Set.
//
// It knows IDX (MNIST), CIFAR-10 binary batches, NumPy .npy and .npz, and PNG and
// JPEG files; Load resolves a path or a built-in name to the right reader. Files
// are treated as hostile: a header is never believed beyond the bytes that follow
// it, no claim above MaxBytes is followed, reading takes at most 1.2 times the
// memory of the Set and 64 MB, and every error about a file is an *Error that
// names the file, the field and what was expected. docs/data.md describes the
// formats.
//
// The package has no data of its own and imports nothing but the standard
// library. Package dataset/mnist embeds the MNIST test set and registers it.
package dataset

import (
	"fmt"
	"strconv"
)

// MaxBytes is the largest array any reader accepts, counted both as stored
// (unpacked) and as the float32 pixels it becomes: 2 GiB, or 536,870,912 pixels.
const MaxBytes int64 = 1 << 31

// maxPixels is MaxBytes in float32 pixels.
const maxPixels = MaxBytes / 4

// MaxClasses bounds the number of classes, so that one absurd label in a file
// cannot make a caller size an array by it.
const MaxClasses = 1 << 16

// MaxImages bounds the number of images of a set, because labels take memory too.
const MaxImages = 1 << 22

// Unknown is the label of an image whose class is not known.
const Unknown = -1

// minClasses is the number of classes assumed where a format does not state it
// and the labels do not say more: a slice of a ten-class set that happens to
// lack the last classes still has ten.
const minClasses = 10

// Set is a set of N images of one shape with their labels, all in memory.
//
// A Set may be shared. It is safe for concurrent use as long as nobody writes to it;
// nothing in this package does after returning it.
type Set struct {
	Name    string    // short name for tables and messages
	C, H, W int       // channels (1 or 3 from most readers), rows, columns; all ≥ 1
	X       []float32 // N×C×H×W, row-major, pixels in [0,1]; a byte b is float32(b)/255
	Y       []int     // N labels in [0, Classes), or Unknown
	Classes int       // as the format states it, otherwise max(10, 1 + largest label)

	// ClassNames are the names of the folders that stand for classes 0, 1, …, if
	// these gave the labels; otherwise nil.
	ClassNames []string
}

// Len returns N, the number of images.
func (s *Set) Len() int { return len(s.Y) }

// Shape returns the shape of the images.
func (s *Set) Shape() Shape { return Shape{s.C, s.H, s.W} }

// size is the number of pixels of one image.
func (s *Set) size() int { return s.C * s.H * s.W }

// Image returns the C×H×W pixels of image i, sharing memory with the set. It
// panics when i is out of range.
func (s *Set) Image(i int) []float32 {
	n := s.size()
	return s.X[i*n : (i+1)*n : (i+1)*n]
}

// Slice returns images i to j−1 as a set sharing memory with s. It panics
// unless 0 ≤ i ≤ j ≤ Len.
func (s *Set) Slice(i, j int) *Set {
	n, t := s.size(), *s
	t.Y = s.Y[i:j:j]
	t.X = s.X[i*n : j*n : j*n]
	return &t
}

// WithClasses returns s, sharing its memory, with Classes set to n: the count of
// the model that will see it, where the file could only suggest one. A label
// that is not below n is an *Error naming the set and the image.
func (s *Set) WithClasses(n int) (*Set, error) {
	t := *s
	t.Classes = n
	if err := t.checkLabels(s.Name); err != nil {
		return nil, err
	}
	return &t, nil
}

// Validate checks everything the fields of Set promise and returns an *Error
// naming the first offence. Sets from this package's readers already pass.
func (s *Set) Validate() error {
	if s.C < 1 || s.H < 1 || s.W < 1 {
		return &Error{
			File: s.Name, Field: "shape", Want: "C, H and W of at least 1",
			Got: fmt.Sprintf("%d×%d×%d", s.C, s.H, s.W),
		}
	}
	n, ok := product(maxPixels, int64(len(s.Y)), int64(s.C), int64(s.H), int64(s.W))
	if !ok || int64(len(s.X)) != n {
		return &Error{
			File: s.Name, Field: "pixels", Got: strconv.Itoa(len(s.X)),
			Want: fmt.Sprintf("%d×%d×%d×%d, at most %d", len(s.Y), s.C, s.H, s.W, maxPixels),
		}
	}
	for i, v := range s.X {
		if !(v >= 0 && v <= 1) {
			return badPixel(s.Name, s.Shape(), 0, i, float64(v))
		}
	}
	return s.checkLabels(s.Name)
}

func (s *Set) checkLabels(file string) error {
	if s.Classes < 1 || s.Classes > MaxClasses {
		return &Error{File: file, Field: "classes", Want: fmt.Sprintf("1 to %d", MaxClasses), Got: strconv.Itoa(s.Classes)}
	}
	for i, y := range s.Y {
		if y != Unknown && (y < 0 || y >= s.Classes) {
			return badLabel(file, i, float64(y), s.Classes)
		}
	}
	return nil
}

// inferClasses sets Classes for a format that does not state it.
func (s *Set) inferClasses() {
	s.Classes = minClasses
	for _, y := range s.Y {
		s.Classes = max(s.Classes, y+1)
	}
}

// badPixel describes the pixel at flat index i of N×C×H×W, counted from image
// first, by image, channel, row and column.
func badPixel(file string, s Shape, first, i int, v float64) *Error {
	n := s.C * s.H * s.W
	p := i % n
	return &Error{
		File:  file,
		Field: fmt.Sprintf("image %d, pixel (channel %d, row %d, column %d)", first+i/n, p/(s.H*s.W), p/s.W%s.H, p%s.W),
		Want:  "a number in [0,1]", Got: strconv.FormatFloat(v, 'g', -1, 64),
	}
}

func badLabel(file string, image int, y float64, classes int) error {
	return &Error{
		File: file, Field: fmt.Sprintf("label of image %d", image),
		Want: fmt.Sprintf("0 to %d", classes-1), Got: strconv.FormatFloat(y, 'f', -1, 64),
	}
}

// scaled holds float32(b)/255, correctly rounded, for every byte b.
var scaled = func() (t [256]float32) {
	for b := range t {
		t[b] = float32(b) / 255
	}
	return t
}()

// appendScaled appends the pixels of bytes b to x.
func appendScaled(x []float32, b []byte) []float32 {
	for _, v := range b {
		x = append(x, scaled[v])
	}
	return x
}

// product multiplies dims; ok is false when one is negative or when the product,
// leaving zeros aside, would exceed limit.
func product(limit int64, dims ...int64) (p int64, ok bool) {
	p = 1
	for _, d := range dims {
		if d < 0 || d > limit || (d > 0 && p > limit/d) {
			return 0, false
		}
		p *= d
	}
	return p, true
}
