package kernels

import (
	"math"
	"unsafe"
)

// Activations and their gradients take slices of any one length; dst may be one of the
// others. The gradients take what is cheapest: the input x or the output y.

// Sigmoid stores Sigmoid of each element of src.
func (i *ISA) Sigmoid(dst, src []float32) {
	n := i.sShaped(dst, src, i.layerKernels().sigmoid)
	for ; n < len(dst); n++ {
		dst[n] = Sigmoid(src[n])
	}
}

// Tanh stores Tanh of each element of src.
func (i *ISA) Tanh(dst, src []float32) {
	n := i.sShaped(dst, src, i.layerKernels().tanh)
	for ; n < len(dst); n++ {
		dst[n] = Tanh(src[n])
	}
}

// SigmoidGrad stores dy·(y·(1−y)).
func (i *ISA) SigmoidGrad(dst, dy, y []float32) {
	n := i.binary(dst, dy, y, i.layerKernels().sigmoidGrad)
	for ; n < len(dst); n++ {
		dst[n] = sigmoidGrad(dy[n], y[n])
	}
}

// TanhGrad stores dy·(1−y·y).
func (i *ISA) TanhGrad(dst, dy, y []float32) {
	n := i.binary(dst, dy, y, i.layerKernels().tanhGrad)
	for ; n < len(dst); n++ {
		dst[n] = tanhGrad(dy[n], y[n])
	}
}

// ReLU stores 0 > v ? 0 : v.
func (i *ISA) ReLU(dst, src []float32) { i.Clip(dst, src, 0, float32(math.Inf(1))) }

// ReLUGrad stores dy where the gate, input or output, is positive, and +0 elsewhere.
func (i *ISA) ReLUGrad(dst, dy, gate []float32) {
	n := i.binary(dst, dy, gate, i.layerKernels().gate)
	for ; n < len(dst); n++ {
		dst[n] = epilogue(dy[n], Gate, gate[n])
	}
}

// Clip stores v where v is in [lo, hi] or NaN, the nearer end elsewhere.
func (i *ISA) Clip(dst, src []float32, lo, hi float32) {
	mustLen("source", len(src), len(dst))
	n := len(dst) / Lanes
	raceRead(src)
	raceWrite(dst)
	if n > 0 {
		i.layerKernels().clip(base(dst), base(src), n, lo, hi)
	}
	for j := n * Lanes; j < len(dst); j++ {
		dst[j] = clip(src[j], lo, hi)
	}
}

// ClipGrad stores dy where lo < x < hi, and +0 elsewhere.
func (i *ISA) ClipGrad(dst, dy, x []float32, lo, hi float32) {
	mustLen("output gradient", len(dy), len(dst))
	mustLen("input", len(x), len(dst))
	n := len(dst) / Lanes
	raceRead(dy)
	raceRead(x)
	raceWrite(dst)
	if n > 0 {
		i.layerKernels().clipGrad(base(dst), base(dy), base(x), n, lo, hi)
	}
	for j := n * Lanes; j < len(dst); j++ {
		dst[j] = clipGrad(dy[j], x[j], lo, hi)
	}
}

//go:noinline
func (i *ISA) sShaped(dst, src []float32, f func(dst, src unsafe.Pointer, n int, table unsafe.Pointer)) (done int) {
	mustLen("source", len(src), len(dst))
	raceRead(src)
	raceWrite(dst)
	n := len(dst) / Lanes
	if n > 0 {
		f(base(dst), base(src), n, unsafe.Pointer(&expTable))
	}
	return n * Lanes
}

//go:noinline
func (i *ISA) binary(dst, dy, y []float32, f func(dst, dy, y unsafe.Pointer, n int)) (done int) {
	mustLen("output gradient", len(dy), len(dst))
	mustLen("output", len(y), len(dst))
	raceRead(dy)
	raceRead(y)
	raceWrite(dst)
	n := len(dst) / Lanes
	if n > 0 {
		f(base(dst), base(dy), base(y), n)
	}
	return n * Lanes
}

// LeakyReLU is x where x > 0 and slope·x elsewhere, with a slope for each channel. It is
// read-only and safe for concurrent use.
type LeakyReLU struct {
	isa    *ISA
	slopes [2][]float32 // of whole pixels, for one image and for a lane group
}

// slopeRun is the number of slopes that LeakyReLU repeats, to have few calls.
const slopeRun = 256

// NewLeakyReLU takes one slope for all of channels channels, or one for each.
func NewLeakyReLU(isa *ISA, slope []float32, channels int) *LeakyReLU {
	if len(slope) == 1 {
		channels = 1
	}
	mustLen("slopes", len(slope), channels)
	l := &LeakyReLU{isa: isa}
	for i, lanes := range []int{1, Lanes} {
		n := channels * Lanes // whole pixels and whole vectors
		n *= ceilDiv(slopeRun, n)
		l.slopes[i] = Alloc(n)
		for j := range l.slopes[i] {
			l.slopes[i][j] = slope[j/lanes%channels]
		}
	}
	return l
}

// Apply takes whole pixels of all channels, of lanes values each.
func (l *LeakyReLU) Apply(dst, src []float32, lanes int) {
	l.run(dst, src, src, lanes)
}

// Gradient stores dy·(x > 0 ? 1 : slope).
func (l *LeakyReLU) Gradient(dst, dy, x []float32, lanes int) {
	l.run(dst, dy, x, lanes)
}

func (l *LeakyReLU) run(dst, src, x []float32, lanes int) {
	mustLanes(lanes)
	mustLen("source", len(src), len(dst))
	mustLen("input", len(x), len(dst))
	raceRead(src)
	raceRead(x)
	raceWrite(dst)
	slopes, kernel := l.slopes[min(1, lanes-1)], l.isa.layerKernels().leaky
	for at := 0; at < len(dst); at += len(slopes) {
		n := min(len(slopes), len(dst)-at)
		if v := n / Lanes; v > 0 {
			kernel(base(dst[at:]), base(src[at:]), base(x[at:]), base(slopes), v)
		}
		for j := n &^ (Lanes - 1); j < n; j++ {
			dst[at+j] = leaky(src[at+j], x[at+j], slopes[j])
		}
	}
}
