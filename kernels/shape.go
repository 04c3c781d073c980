// Package kernels is the Go interface to package asm: it chooses a set of kernels
// for the machine, checks arguments, packs weights and walks tensors. Its
// pure-Go kernels state the meaning of each assembly kernel and serve every
// machine without one.
//
// Activations lie in the batch-lane layout [group][height][width][channel][8]:
// eight images side by side in one vector (a lane group). A convolution then
// reads contiguous runs of (width, channel), needs no copy of its input, and
// computes each image independently of its neighbours: results do not depend
// on batch size, batch composition or threads.
//
// Every output element is one chain of fused multiply-adds in a fixed order,
// so all kernel sets give the same bits. So do pooling and activations, whose
// operations and their order are fixed too.
//
// Linear, Small and Winograd are the maps that mix channels, dense convolutions;
// Depthwise and Pooling are those that take each channel by itself. Where these
// take lanes, it is Lanes for lane groups and 1 for single images, [image]
// [height][width][channel]: a pixel is channels·lanes contiguous values.
package kernels

import "fmt"

// Lanes is the number of images in a lane group.
const Lanes = 8

// Groups returns the number of lane groups that hold n images.
func Groups(n int) int { return (n + Lanes - 1) / Lanes }

// Shape is the geometry of a convolution with zero padding. A fully connected
// layer is the 1x1 convolution of a 1x1 image.
type Shape struct {
	InC, InH, InW    int
	OutC             int
	KH, KW           int
	StrideH, StrideW int
	PadH, PadW       int
}

// FC returns the geometry of a fully connected layer.
func FC(in, out int) Shape {
	return Shape{InC: in, InH: 1, InW: 1, OutC: out, KH: 1, KW: 1, StrideH: 1, StrideW: 1}
}

// OutH and OutW return the size of the output image. A call is smaller than their
// divisions, which are asked for at eighty places.
//
//go:noinline
func (s Shape) OutH() int { return (s.InH+2*s.PadH-s.KH)/s.StrideH + 1 }

//go:noinline
func (s Shape) OutW() int { return (s.InW+2*s.PadW-s.KW)/s.StrideW + 1 }

// In and Out return the numbers of input and output elements of one image.
func (s Shape) In() int  { return s.InC * s.InH * s.InW }
func (s Shape) Out() int { return s.OutC * s.OutH() * s.OutW() }

// Weights returns the number of weights, stored [OutC][InC][KH][KW].
func (s Shape) Weights() int { return s.OutC * s.InC * s.KH * s.KW }

// FanIn returns the number of weights of one output element.
func (s Shape) FanIn() int { return s.InC * s.KH * s.KW }

// MACs returns the multiply-adds of one image, those with padding left out.
func (s Shape) MACs() int64 {
	taps := func(in, k, stride, pad, out int) (n int64) {
		for o := range out {
			n += int64(forwardSpan(in, k, stride, pad, o).n)
		}
		return n
	}
	return taps(s.InH, s.KH, s.StrideH, s.PadH, s.OutH()) *
		taps(s.InW, s.KW, s.StrideW, s.PadW, s.OutW()) * int64(s.InC) * int64(s.OutC)
}

// check panics on a geometry that no validated architecture can have.
func (s Shape) check() {
	if s.InC < 1 || s.InH < 1 || s.InW < 1 || s.OutC < 1 || s.KH < 1 || s.KW < 1 ||
		s.StrideH < 1 || s.StrideW < 1 || s.PadH < 0 || s.PadW < 0 || s.PadH >= s.KH || s.PadW >= s.KW ||
		s.KH > s.InH+2*s.PadH || s.KW > s.InW+2*s.PadW {
		panic(fmt.Sprintf("kernels: impossible convolution %+v", s))
	}
}

// span is what one output coordinate reads along one axis: n taps from tap
// first of its phase on, at input coordinates in, in+1, …
type span struct{ phase, first, n, in int }

// forwardSpan leaves out the taps that fall on padding.
func forwardSpan(in, k, stride, pad, o int) span {
	start := o*stride - pad
	lo, hi := max(0, -start), min(k, in-start)
	return span{0, lo, hi - lo, start + lo}
}

// adjointSpan is the same for the transposed convolution: input coordinate i
// of the layer gathers the outputs o with o·stride + tap − pad = i. All i of
// one phase (i+pad) mod stride use the same taps, kept in descending order so
// that o ascends; the sum over a stride-s convolution thus splits into s dense
// ones, one a phase.
func adjointSpan(k, stride, pad, out, i int) span {
	phase := (i + pad) % stride
	last := phase + (k-1-phase)/stride*stride // the phase's largest tap
	hi := min(last, i+pad)
	lo := max(phase, i+pad-stride*(out-1))
	if phase >= k || hi < lo {
		return span{phase: phase}
	}
	return span{phase, (last - hi) / stride, (hi-lo)/stride + 1, (i + pad - hi) / stride}
}

// adjointTaps lists the taps of a phase, descending.
//
//go:noinline
func adjointTaps(k, stride, phase int) (taps []int) {
	for t := k - 1; t >= 0; t-- {
		if t%stride == phase {
			taps = append(taps, t)
		}
	}
	return taps
}
