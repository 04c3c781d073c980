package kernels

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// mustReach panics if inputs are lacking that outputs depend on.
func (p *slide) mustReach() {
	need, in := p.shape.Reads(p.out), p.in
	if need.Y0 < in.Y0 || need.Y1 > in.Y1 || need.X0 < in.X0 || need.X1 > in.X1 {
		panic(fmt.Sprintf("kernels: window %v of inputs lacks some of %v", in, need))
	}
}

// gathering says how centres are computed from their taps: by kernel; in cells with rows3
// by row, if there is one; pixels shorter than a lane vector by short where kernel would
// leave the slices, or always if exact. A divisor of 0 is the number of pixels.
type gathering struct {
	kernel, row, short func(*asm.TapsArgs)
	divisor            int
	exact              bool
}

// rowPixels is the number of pixels that DepthRow computes at once.
const rowPixels = 4

// gather computes the centres, dst, from the taps on src. It leaves a empty.
func (p *slide) gather(a *asm.TapsArgs, dst, src []float32, blocks, lanes int, g gathering) {
	mustLanes(lanes)
	d := p.shape.C * lanes
	to, from := p.centre*d, p.tap*d
	dst = dst[:mustFit("destination", len(dst), blocks*to)]
	src = src[:mustFit("source", len(src), blocks*from)]
	raceRead(src)
	raceWrite(dst)
	for b := range blocks {
		first, input := base(dst[b*to:]), base(src[b*from:])
		p.each(func(c *slideCell, r slideRun) {
			c.taps(a, lanes, r.n, d)
			a.Divisor = c.divisor(g.divisor)
			a.DstStep, a.SrcStep = 4*d*r.step, 4*d*r.move
			a.Dst, a.Src = unsafe.Add(first, 4*d*r.centre), unsafe.Add(input, 4*d*r.tap)
			if d < Lanes {
				// Whole lane vectors: what they write behind a pixel, the next ones overwrite.
				endDst, endSrc := b*to+d*(r.centre+r.n-1)+Lanes, b*from+d*(r.tap+(r.n-1)*r.move)+Lanes
				if a.N > 0 {
					endSrc += c.values[a.N-1].At / 4
				}
				if g.exact || !p.ascending || endDst > len(dst) || endSrc > len(src) {
					g.short(a)
					return
				}
				a.Bytes = vecBytes
				g.kernel(a)
				return
			}
			if n := r.n &^ (rowPixels - 1); c.rows3 && g.row != nil && n > 0 {
				a.Pixels = n
				g.row(a)
				if a.Pixels = r.n - n; a.Pixels == 0 {
					return
				}
				a.Dst, a.Src = unsafe.Add(first, 4*d*(r.centre+n)), unsafe.Add(input, 4*d*(r.tap+n))
			}
			g.kernel(a)
		})
	}
	*a = asm.TapsArgs{}
}

// divisor is n or, if that is 0, the number of the window's pixels.
func (c *slideCell) divisor(n int) float32 {
	if n == 0 {
		n = c.real
	}
	return float32(n)
}

// each calls f for every run of pixels of a row, in the order of rows and, within
// one, of columns.
func (p *slide) each(f func(c *slideCell, r slideRun)) {
	for ri := range p.rows {
		r := &p.rows[ri]
		for y := range r.n {
			centre, tap := (r.at+y*r.step)*p.centreW, (r.in+y*r.move)*p.tapW
			for ci := range p.columns {
				c := &p.columns[ci]
				f(&p.cells[ri*len(p.columns)+ci], slideRun{centre + c.at, tap + c.in, c.n, c.step, c.move})
			}
		}
	}
}

// slideRun is a run of n pixels: the first centre and its first tap, and how many pixels
// the next ones are away.
type slideRun struct{ centre, tap, n, step, move int }

// list returns the taps for pixels of C·lanes values.
func (c *slideCell) list(lanes int) []asm.Tap {
	if lanes == Lanes {
		return c.lanes
	}
	return c.values
}

// taps points the arguments at the taps of c and at n pixels of d values.
func (c *slideCell) taps(a *asm.TapsArgs, lanes, n, d int) {
	list := c.list(lanes)
	a.N, a.Taps, a.Pixels, a.Bytes = len(list), unsafe.Pointer(unsafe.SliceData(list)), n, 4*d
}

//go:noinline
func mustLanes(lanes int) {
	if lanes != 1 && lanes != Lanes {
		panic(fmt.Sprintf("kernels: pixels of %d images", lanes))
	}
}
