package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
	"github.com/epsball/epsball/internal/half"
)

// Weights is the type in which a Small holds its weights.
type Weights uint8

// The types of weights. Those of 16 bits are for layers that wait for memory.
const (
	Float32  Weights = iota
	BFloat16         // the upper half of a float32
	Float16          // IEEE 754 binary16
)

// String returns the type's name.
func (w Weights) String() string {
	return [...]string{"float32", "bfloat16", "float16"}[w]
}

func (w Weights) bytes() int {
	if w == Float32 {
		return 4
	}
	return 2
}

// scatter stores n values of src, stride apart, masked and rounded to nearest, in every
// room-th place of dst.
func (w Weights) scatter(dst []byte, room int, src []float32, stride, n int, mask uint32) {
	p := unsafe.Pointer(unsafe.SliceData(dst))
	size := (n-1)*room + 1
	mustFit("packed weights", len(dst), size*w.bytes())
	switch w {
	case Float32:
		d := unsafe.Slice((*float32)(p), size)
		for i := range n {
			d[i*room] = maskFloat32(src[i*stride], mask)
		}
	case BFloat16:
		d := unsafe.Slice((*uint16)(p), size)
		for i := range n {
			d[i*room] = half.ToBF16(maskFloat32(src[i*stride], mask))
		}
	default:
		d := unsafe.Slice((*uint16)(p), size)
		for i := range n {
			d[i*room] = half.ToF16(maskFloat32(src[i*stride], mask))
		}
	}
}

// at returns the weight at p.
func (w Weights) at(p unsafe.Pointer) float32 {
	switch w {
	case BFloat16:
		return half.FromBF16(*(*uint16)(p))
	case Float16:
		return half.FromF16(*(*uint16)(p))
	}
	return *(*float32)(p)
}

// smallSet are kernels by pixels and vectors.
type smallSet = [asm.MaxPixels + 1][5]func(*asm.ConvArgs)

// Has reports whether the set has kernels for weights of type w. Where it has none, the
// same weights as Float32 give the same bits.
func (i *ISA) Has(w Weights) bool {
	return int(w) <= len(i.small16) && i.tiles(w, false)[1][2] != nil
}

// tiles returns the kernels of Small for weights of type w.
func (i *ISA) tiles(w Weights, both bool) *smallSet {
	switch {
	case w == Float32 && both:
		return &i.both
	case w == Float32:
		return &i.small
	case both:
		return &i.both16[w-1]
	}
	return &i.small16[w-1]
}
