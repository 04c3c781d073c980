package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Layout is the number of images side by side in a block of a tensor,
// [block][H][W][C][Layout]. Slot s is image s%Layout of block s/Layout.
type Layout int

const (
	Singles    Layout = 1             // blocks of one image: for a few
	LaneGroups Layout = kernels.Lanes // the batch-lane layout
)

// Blocks returns the number of blocks that hold n images.
//
//go:noinline
func (l Layout) Blocks(n int) int { return (n + int(l) - 1) / int(l) }

// Len returns the length of blocks blocks of size elements an image, rounded up to
// whole lane vectors, which element-wise kernels need.
//
//go:noinline
func (l Layout) Len(blocks, size int) int {
	return kernels.Groups(blocks*size*int(l)) * kernels.Lanes
}

// Block returns block b of a tensor with size elements an image.
func (l Layout) Block(t []float32, size, b int) []float32 {
	return t[b*size*int(l) : (b+1)*size*int(l)]
}

// Slot returns t, which has size elements an image, from the first element of slot s
// on. The other elements of the slot are Layout apart.
func (l Layout) Slot(t []float32, size, s int) []float32 {
	return t[s/int(l)*size*int(l)+s%int(l):]
}

// Pack copies one channels-first image into slot s.
func (l Layout) Pack(t, img []float32, in model.Shape, s int) {
	d, hw := l.Slot(t, len(img), s), in.H*in.W
	for c := range in.C {
		k, step := c*int(l), in.C*int(l)
		for _, v := range img[c*hw : (c+1)*hw] {
			d[k] = v
			k += step
		}
	}
}

// Unpack copies slot s into one channels-first image.
func (l Layout) Unpack(img, t []float32, in model.Shape, s int) {
	src, hw := l.Slot(t, len(img), s), in.H*in.W
	for c := range in.C {
		k, step := c*int(l), in.C*int(l)
		d := img[c*hw : (c+1)*hw]
		for p := range d {
			d[p] = src[k]
			k += step
		}
	}
}

// Gather copies slot s, of len(z) elements an image, into z.
func (l Layout) Gather(z, t []float32, s int) {
	t = l.Slot(t, len(z), s)
	for j := range z {
		z[j] = t[j*int(l)]
	}
}

// Scatter is the opposite of Gather.
func (l Layout) Scatter(t, z []float32, s int) {
	t = l.Slot(t, len(z), s)
	for j, v := range z {
		t[j*int(l)] = v
	}
}

// Move copies slot from, of size elements, into slot to.
func (l Layout) Move(t []float32, size, to, from int) {
	d, s := l.Slot(t, size, to), l.Slot(t, size, from)
	for k := 0; k < size*int(l); k += int(l) {
		d[k] = s[k]
	}
}
