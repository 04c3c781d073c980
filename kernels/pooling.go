package kernels

import (
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Pooling takes the maximum or the mean of each window of each channel. Blocks are lane
// groups, [height][width][C][8], or single images, [height][width][C], as lanes is 8
// or 1. It is read-only and safe for concurrent use.
type Pooling struct {
	isa     *ISA
	plan    *slide
	mean    bool
	divisor int // 0: the pixels of each window that are no padding
}

// NewMaxPool returns the maximum of each window, in which padding has no part: of equal
// values, −0 and +0 among them, the first in order of (row, column); NaN if there is
// one.
func NewMaxPool(isa *ISA, s Sliding) *Pooling { return newPooling(isa, s, false, 0) }

// NewAvgPool returns the mean of each window: the sum of its pixels, added in order of
// (row, column), divided by their number; with countPadding, by that of all taps.
func NewAvgPool(isa *ISA, s Sliding, countPadding bool) *Pooling {
	if countPadding {
		return newPooling(isa, s, true, s.Taps())
	}
	return newPooling(isa, s, true, 0)
}

func newPooling(isa *ISA, s Sliding, mean bool, divisor int) *Pooling {
	p := &Pooling{isa, wholeSlide(s, false), mean, divisor}
	for i := range p.plan.cells {
		if p.plan.cells[i].real == 0 {
			s.impossible()
		}
	}
	return p
}

// Windowed returns the map p restricted to the outputs in out and the inputs in in.
// Apply needs all inputs that the outputs depend on. Gradient gives the gradients of
// the inputs in in, and takes outputs outside of out as zero.
func (p *Pooling) Windowed(out, in Window) *Pooling {
	return &Pooling{p.isa, newSlide(p.plan.shape, out, in, false), p.mean, p.divisor}
}

// In and Out return the numbers of elements of one image.
func (p *Pooling) In() int  { return p.plan.tap * p.plan.shape.C }
func (p *Pooling) Out() int { return p.plan.centre * p.plan.shape.C }

// Bytes returns the memory held by the plan.
func (p *Pooling) Bytes() int { return int(unsafe.Sizeof(*p)) + p.plan.bytes() }

// Apply computes dst, which must not be src, for the first blocks blocks of src.
func (p *Pooling) Apply(sc *Scratch, dst, src []float32, blocks, lanes int) {
	p.plan.mustReach()
	set := p.isa.layerKernels()
	g := gathering{set.poolMax, nil, genericPoolMax, p.divisor, set == &genericLayers}
	if p.mean {
		g.kernel, g.short = set.poolSum, genericPoolSum
	}
	sc.taps = asm.TapsArgs{}
	p.plan.gather(&sc.taps, dst, src, blocks, lanes, g)
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
	set := p.isa.layerKernels()
	kernel, short := set.poolSumGrad, genericPoolSumGrad
	if !p.mean {
		x = x[:mustFit("input", len(x), len(dx))]
		y = y[:mustFit("output", len(y), len(dy))]
		raceRead(x)
		raceRead(y)
		kernel, short = set.poolMaxGrad, genericPoolMaxGrad
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
			a.Divisor = c.divisor(p.divisor)
			to, centre := 4*d*r.tap, 4*d*r.centre
			a.Dst, a.Src = unsafe.Add(base(block), to), unsafe.Add(base(dy[from:]), centre)
			a.DstStep, a.SrcStep = 4*d*r.move, 4*d*r.step
			if !p.mean {
				a.X, a.Y = unsafe.Add(base(x[at:]), to), unsafe.Add(base(y[from:]), centre)
			}
			// The lane vector of a pixel that is shorter begins before it.
			if lead := Lanes - d; at+d*r.tap < lead || from+d*r.centre < lead {
				short(a)
				return
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

// SelectChannels copies n channels, from channel from on, of pixels with c channels to
// dst, whose pixels have only these: the input of one group of a convolution. A channel
// is lanes values.
func SelectChannels(dst, src []float32, pixels, c, from, n, lanes int) {
	copyRuns(dst, src[from*lanes:], pixels, n*lanes, n*lanes, c*lanes)
}

// PlaceChannels is the way back: it copies pixels of n channels to channels from … from+n−1
// of pixels of c channels.
func PlaceChannels(dst, src []float32, pixels, c, from, n, lanes int) {
	copyRuns(dst[from*lanes:], src, pixels, n*lanes, c*lanes, n*lanes)
}

// copyRuns copies runs of n values, which begin dstStep and srcStep values apart.
//
//go:noinline
func copyRuns(dst, src []float32, runs, n, dstStep, srcStep int) {
	for r := range runs {
		copy(dst[r*dstStep:][:n], src[r*srcStep:][:n])
	}
}
