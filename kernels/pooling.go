package kernels

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Pooling takes the maximum or the mean of each window of each channel. Blocks are lane
// groups, [height][width][C][8], or single images, [height][width][C], as lanes is 8
// or 1. It is read-only and safe for concurrent use.
type Pooling struct {
	isa          *ISA
	plan         *slide
	mean         bool
	countPadding bool
}

// NewMaxPool returns the maximum of each window, in which padding has no part: of equal
// values, −0 and +0 among them, the first in order of (row, column); NaN if there is
// one.
func NewMaxPool(isa *ISA, s Sliding) *Pooling { return newPooling(isa, s, false, false) }

// NewAvgPool returns the mean of each window: the sum of its pixels, added in order of
// (row, column), divided by their number; with countPadding, by that of all taps.
func NewAvgPool(isa *ISA, s Sliding, countPadding bool) *Pooling {
	return newPooling(isa, s, true, countPadding)
}

func newPooling(isa *ISA, s Sliding, mean, countPadding bool) *Pooling {
	s.check()
	out, in := s.full()
	p := &Pooling{isa, newSlide(s, out, in, false), mean, countPadding}
	for _, c := range p.plan.cells {
		if c.real == 0 {
			panic(fmt.Sprintf("kernels: windows of nothing but padding %+v", s))
		}
	}
	return p
}

// Windowed returns the map p for the outputs in out and the inputs in in alone. Apply
// wants all inputs that the outputs depend on; Gradient gives those of in, from outputs
// that are zero outside of out.
func (p *Pooling) Windowed(out, in Window) *Pooling {
	return &Pooling{p.isa, newSlide(p.plan.shape, out, in, false), p.mean, p.countPadding}
}

// In and Out return the numbers of elements of one image.
func (p *Pooling) In() int  { return p.plan.tap * p.plan.shape.C }
func (p *Pooling) Out() int { return p.plan.centre * p.plan.shape.C }

// Bytes returns the memory held by the plan.
func (p *Pooling) Bytes() int { return int(unsafe.Sizeof(*p)) + p.plan.bytes() }

func (p *Pooling) divisor(c *slideCell) float32 {
	if p.countPadding {
		return float32(p.plan.shape.Taps())
	}
	return float32(c.real)
}

// Apply computes dst, which must not be src, for the first blocks blocks of src.
func (p *Pooling) Apply(sc *Scratch, dst, src []float32, blocks, lanes int) {
	mustLanes(lanes)
	s, in := p.plan.shape, p.plan.in
	if need := s.Reads(p.plan.out); need.Y0 < in.Y0 || need.Y1 > in.Y1 || need.X0 < in.X0 || need.X1 > in.X1 {
		panic(fmt.Sprintf("kernels: window %v of inputs lacks some of %v", in, need))
	}
	dst = dst[:mustFit("destination", len(dst), blocks*p.Out()*lanes)]
	src = src[:mustFit("source", len(src), blocks*p.In()*lanes)]
	raceRead(src)
	raceWrite(dst)
	a, d := &sc.taps, s.C*lanes
	*a = asm.TapsArgs{}
	kernel := p.isa.layers(d).poolMax
	if p.mean {
		kernel = p.isa.layers(d).poolSum
	}
	for b := range blocks {
		to, from := base(dst[b*p.Out()*lanes:]), base(src[b*p.In()*lanes:])
		p.plan.each(func(c *slideCell, r slideRun) {
			c.taps(a, lanes, r.n, d)
			a.Divisor = p.divisor(c)
			a.Dst, a.Src = unsafe.Add(to, 4*d*r.centre), unsafe.Add(from, 4*d*r.tap)
			a.DstStep, a.SrcStep = 4*d*r.step, 4*d*r.move
			kernel(a)
		})
	}
	*a = asm.TapsArgs{}
}

// Gradient computes dx from dy, for the first blocks blocks: each pixel's sum over the
// windows that have it, in order of (row, column) of the output. The mean gives each of
// its pixels dy divided by their number. The maximum gives dy to the first pixel that
// attains it (to none where it is NaN) and +0 to the others; x is the input and y the
// output of Apply, which the mean does not read.
func (p *Pooling) Gradient(sc *Scratch, dx, dy, x, y []float32, blocks, lanes int) {
	mustLanes(lanes)
	dx = dx[:mustFit("input gradient", len(dx), blocks*p.In()*lanes)]
	dy = dy[:mustFit("output gradient", len(dy), blocks*p.Out()*lanes)]
	raceRead(dy)
	raceWrite(dx)
	a, d := &sc.taps, p.plan.shape.C*lanes
	*a = asm.TapsArgs{Mask: unsafe.Pointer(&tailMask)}
	kernel := p.isa.layers(d).poolSumGrad
	if !p.mean {
		x = x[:mustFit("input", len(x), len(dx))]
		y = y[:mustFit("output", len(y), len(dy))]
		raceRead(x)
		raceRead(y)
		kernel = p.isa.layers(d).poolMaxGrad
	}
	row := d * p.plan.tapW
	for b := range blocks {
		at, from := b*p.In()*lanes, b*p.Out()*lanes
		block := dx[at:][:p.In()*lanes]
		cleared := 0 // values: rows are cleared just before the first window that has them
		p.plan.each(func(c *slideCell, r slideRun) {
			c.taps(a, lanes, r.n, d)
			if a.N == 0 {
				return
			}
			last := d*r.tap + c.list(lanes)[a.N-1].At/4
			if end := (last/row + 1) * row; end > cleared {
				clear(block[cleared:end])
				cleared = end
			}
			a.Divisor = p.divisor(c)
			a.Dst, a.Src = unsafe.Add(base(block), 4*d*r.tap), unsafe.Add(base(dy[from:]), 4*d*r.centre)
			a.DstStep, a.SrcStep = 4*d*r.move, 4*d*r.step
			if !p.mean {
				a.X, a.Y = unsafe.Add(base(x[at:]), 4*d*r.tap), unsafe.Add(base(y[from:]), 4*d*r.centre)
			}
			kernel(a)
		})
		clear(block[cleared:])
	}
	*a = asm.TapsArgs{}
}

// tailMask is what the kernels of gradients mask the last lane vector of a pixel with.
var tailMask = [2 * Lanes]uint32{8: ones, 9: ones, 10: ones, 11: ones, 12: ones, 13: ones, 14: ones, 15: ones}

const ones = math.MaxUint32

// SelectChannels copies n channels, from channel from on, of pixels of c channels to dst,
// whose pixels have them alone: the input of one group of a convolution. A channel is
// lanes values.
func SelectChannels(dst, src []float32, pixels, c, from, n, lanes int) {
	mustFit("channels", len(dst), pixels*n*lanes)
	mustFit("source", len(src), pixels*c*lanes)
	for p := range pixels {
		copy(dst[p*n*lanes:][:n*lanes], src[(p*c+from)*lanes:])
	}
}

// PlaceChannels is the way back: it copies pixels of n channels to channels from … from+n−1
// of pixels of c channels.
func PlaceChannels(dst, src []float32, pixels, c, from, n, lanes int) {
	mustFit("destination", len(dst), pixels*c*lanes)
	mustFit("channels", len(src), pixels*n*lanes)
	for p := range pixels {
		copy(dst[(p*c+from)*lanes:][:n*lanes], src[p*n*lanes:])
	}
}
