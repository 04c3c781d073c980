package dataset

import (
	"fmt"
	"io"
	"math"
	"strconv"
)

// npyArray is an .npy stream whose header has been read.
type npyArray struct {
	file string
	npyHeader
	data io.Reader
	most int64 // bytes that data can yield, whatever the header claims
}

func openNPY(file string, r io.Reader, most int64) (*npyArray, error) {
	h, err := readNPYHeader(file, r)
	if err != nil {
		return nil, err
	}
	return &npyArray{file, h, r, most}, nil
}

// each reads elements and calls use with pieces of them, until end of them have
// been read.
func (a *npyArray) each(end int64, use func([]float64) error) error {
	var buf [piece]float64
	return readPieces(a.file, "data", a.data, end*int64(a.dtype.size), func(b []byte) error {
		v := buf[:len(b)/a.dtype.size]
		a.dtype.decode(v, b)
		return use(v)
	})
}

// end makes sure that nothing follows the elements.
func (a *npyArray) end() error {
	n, _ := product(math.MaxInt64, append(a.shape[:len(a.shape):len(a.shape)], int64(a.dtype.size))...)
	return readEnd(a.file, "data", a.data, n)
}

// images reads the images wanted into a set without labels, and returns their
// range and the number of images there are.
func (a *npyArray) images(o *Options) (s *Set, lo, hi int, err error) {
	if a.dtype.kind == 'b' {
		return nil, 0, 0, &Error{File: a.file, Field: "dtype", Want: "numbers; if True is white, save x.astype('float32')", Got: quote(a.dtype.text)}
	}
	shape, order, err := o.order(a.file, &a.npyHeader)
	if err != nil {
		return nil, 0, 0, err
	}
	n := a.shape[0]
	if lo, hi, err = o.plan(a.file, n, shape); err != nil {
		return nil, 0, 0, err
	}
	s = &Set{C: shape.C, H: shape.H, W: shape.W}
	x := pixelReader{file: a.file, shape: shape, scale: a.dtype.integers(), lo: lo, hi: hi}
	size := int64(s.size())
	last := hi == int(n)
	switch {
	case !a.fortran && (order == ChannelsFirst || inOrder(shape)):
		x.inOrder = true
	case n*size > a.most/int64(a.dtype.size): // x is needed at once, so the claim must be true
		return nil, 0, 0, short(a.file, "data", n*size*int64(a.dtype.size), a.most, io.ErrUnexpectedEOF)
	default:
		x.x = make([]float32, (hi-lo)*int(size))
		x.axes = axes(&a.npyHeader, int(n), shape, order)
	}
	end := n * size
	if a.fortran {
		last = true // every image goes on to the end
	} else {
		if err := skip(a.file, "data", a.data, int64(lo)*size*int64(a.dtype.size)); err != nil {
			return nil, 0, 0, err
		}
		end = int64(hi-lo) * size
		if !x.inOrder {
			x.axes[0].at = lo
		}
	}
	err = a.each(end, x.use)
	if x.first != nil { // more telling than what may be wrong behind it
		return nil, 0, 0, x.bad()
	}
	if err != nil {
		return nil, 0, 0, err
	}
	s.X = x.x
	if last {
		err = a.end()
	}
	return s, lo, hi, err
}

// pixelReader turns elements into pixels and puts them where they belong.
type pixelReader struct {
	file    string
	shape   Shape
	scale   bool // whole numbers from 0 to 255
	lo, hi  int  // images wanted
	inOrder bool // elements come as they lie in x

	x    []float32
	axes []axis // of elements not in order
	pos  int    // in the image

	first    *Error // about the first pixel that is not one
	min, max float64
}

func (p *pixelReader) use(v []float64) error {
	size := p.shape.C * p.shape.H * p.shape.W
	if p.inOrder && p.first == nil {
		p.x = room(p.x, len(v), (p.hi-p.lo)*size)
	}
	for _, e := range v {
		var pixel float32
		switch {
		case p.scale && e >= 0 && e <= 255:
			pixel = scaled[int(e)]
		case !p.scale && e >= 0 && e <= 1: // before rounding, which could bring e back in
			pixel = float32(e)
		case p.first == nil && p.wanted():
			p.first = badPixel(p.file, p.shape, p.lo, p.index(), e)
			p.min, p.max = e, e
		}
		if p.first != nil {
			p.min, p.max = math.Min(p.min, e), math.Max(p.max, e) // NaN stays
		}
		if p.inOrder {
			if p.first == nil {
				p.x = append(p.x, pixel)
			}
			continue
		}
		if p.wanted() {
			p.x[p.index()] = pixel
		}
		p.step()
	}
	return nil
}

// wanted reports whether the element at hand belongs to an image that is wanted.
func (p *pixelReader) wanted() bool {
	if p.inOrder {
		return true
	}
	i := p.image()
	return i >= p.lo && i < p.hi
}

func (p *pixelReader) image() int {
	if p.axes[0].stride == 0 {
		return p.axes[0].at
	}
	return p.axes[len(p.axes)-1].at
}

// index is where the element at hand lies among the images wanted.
func (p *pixelReader) index() int {
	if p.inOrder {
		return len(p.x)
	}
	return (p.image()-p.lo)*p.shape.C*p.shape.H*p.shape.W + p.pos
}

// step goes to the next element.
func (p *pixelReader) step() {
	for i := len(p.axes) - 1; i >= 0; i-- {
		a := &p.axes[i]
		a.at++
		p.pos += a.stride
		if a.at < a.n {
			return
		}
		p.pos -= a.n * a.stride
		a.at = 0
	}
}

// bad returns the error about the first bad pixel, with the cure if all values
// seen tell what it is.
func (p *pixelReader) bad() error {
	e := p.first
	switch {
	case p.scale:
		e.Want = "a whole number from 0 to 255"
	case p.min >= 0 && p.max > 2 && p.max <= 255:
		e.Want += fmt.Sprintf("; values go up to %v, so they look like 0 to 255: divide by 255, or store uint8", short4(p.max))
	case p.min >= -1 && p.min < 0 && p.max <= 1:
		e.Want += fmt.Sprintf("; values go down to %v: if -1 stands for black, store (x+1)/2", short4(p.min))
	case p.min < 0:
		e.Want += fmt.Sprintf("; values go from %v to %v: if they are normalized, store them as they were before, and let the model normalize", short4(p.min), short4(p.max))
	}
	return e
}

func short4(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
