package kernels

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Sliding is the geometry of windows that slide over each channel by itself: those of
// pooling and of a depthwise convolution. A dilation of zero means one.
type Sliding struct {
	C, InH, InW      int
	KH, KW           int
	StrideH, StrideW int
	PadH, PadW       int
	DilH, DilW       int
}

// span returns the pixels from the first to the last of k taps.
func (s Sliding) spanH() int { return (s.KH-1)*max(1, s.DilH) + 1 }
func (s Sliding) spanW() int { return (s.KW-1)*max(1, s.DilW) + 1 }

// OutH and OutW return the size of the output map.
//
//go:noinline
func (s Sliding) OutH() int { return (s.InH+2*s.PadH-s.spanH())/s.StrideH + 1 }

//go:noinline
func (s Sliding) OutW() int { return (s.InW+2*s.PadW-s.spanW())/s.StrideW + 1 }

// In and Out return the numbers of input and output elements of one image.
func (s Sliding) In() int  { return s.C * s.InH * s.InW }
func (s Sliding) Out() int { return s.C * s.OutH() * s.OutW() }

// Taps returns the number of elements of a window.
func (s Sliding) Taps() int { return s.KH * s.KW }

// MACs returns the taps of all windows of one image, those on padding left out: the
// multiply-adds of a depthwise convolution.
func (s Sliding) MACs() int64 {
	rows, columns := int64(0), int64(0)
	for _, r := range s.outputs(rowAxis, 0, s.OutH(), 0, s.InH) {
		rows += int64(r.n * len(r.taps))
	}
	for _, r := range s.outputs(columnAxis, 0, s.OutW(), 0, s.InW) {
		columns += int64(r.n * len(r.taps))
	}
	return int64(s.C) * rows * columns
}

func (s *Sliding) check() {
	if s.C < 1 || s.InH < 1 || s.InW < 1 || s.KH < 1 || s.KW < 1 || s.StrideH < 1 || s.StrideW < 1 ||
		s.DilH < 0 || s.DilW < 0 || s.PadH < 0 || s.PadW < 0 || s.PadH >= s.spanH() || s.PadW >= s.spanW() ||
		s.spanH() > s.InH+2*s.PadH || s.spanW() > s.InW+2*s.PadW {
		s.impossible()
	}
}

func (s *Sliding) impossible() { panic(fmt.Sprintf("kernels: impossible windows %+v", *s)) }

// Reads returns the input pixels that the outputs in w may depend on: with a dilation
// some of them are between taps. It is empty if they depend on none.
func (s Sliding) Reads(w Window) Window { return s.dense().Reads(w) }

// Same returns a key that is equal for windows of outputs, each with its window of
// inputs, whose plans are equal, but for an average that leaves padding out: the
// number of its pixels depends on where the windows lie.
func (s Sliding) Same(out, in Window) [6]int { return s.dense().Same(out, in) }

func (s Sliding) dense() Shape {
	return Shape{
		InC: s.C, InH: s.InH, InW: s.InW, OutC: s.C, KH: s.spanH(), KW: s.spanW(),
		StrideH: s.StrideH, StrideW: s.StrideW, PadH: s.PadH, PadW: s.PadW,
	}
}

// axis is a geometry along one of the two.
type axis struct{ in, k, stride, pad, dilation int }

func rowAxis(s Sliding) axis    { return axis{s.InH, s.KH, s.StrideH, s.PadH, max(1, s.DilH)} }
func columnAxis(s Sliding) axis { return axis{s.InW, s.KW, s.StrideW, s.PadW, max(1, s.DilW)} }

// axisTap is a tap k along one axis, at a coordinate of the map that is read.
type axisTap struct{ k, at int }

// axisRun is a run of n coordinates, step apart, whose taps differ by a move alone.
type axisRun struct {
	at, step, n int
	in, move    int       // coordinate of the first tap, and how far it is to the next one's
	taps        []axisTap // counted from in
	real        int       // taps that are no padding, within a window or not
}

// axisRuns finds the runs among the coordinates 0 … n−1, those of each residue by step
// in ascending order.
func axisRuns(n, step, move int, list func(o int) (taps []axisTap, real int)) (runs []axisRun) {
	for phase := range min(step, n) {
		first := true
		for o := phase; o < n; o += step {
			taps, real := list(o)
			in, by := 0, 0 // without taps stay on the map, however long the run
			if len(taps) > 0 {
				in, by = taps[0].at, move
			}
			for i := range taps {
				taps[i].at -= in
			}
			if last := len(runs) - 1; !first && runs[last].continues(in, taps, real) {
				runs[last].n++
				continue
			}
			first = false
			runs = append(runs, axisRun{o, step, 1, in, by, taps, real})
		}
	}
	return runs
}

func (r *axisRun) continues(in int, taps []axisTap, real int) bool {
	if len(taps) != len(r.taps) || real != r.real || len(taps) > 0 && in != r.in+r.n*r.move {
		return false
	}
	for i, t := range taps {
		if t != r.taps[i] {
			return false
		}
	}
	return true
}

// outputs are the runs of the outputs o0 … o1−1, counted from o0, whose taps are
// inputs i0 … i1−1, counted from i0.
func (s Sliding) outputs(of func(Sliding) axis, o0, o1, i0, i1 int) []axisRun {
	a := of(s)
	return axisRuns(o1-o0, 1, a.stride, func(o int) (taps []axisTap, real int) {
		for k := range a.k {
			i := (o0+o)*a.stride - a.pad + k*a.dilation
			if i >= 0 && i < a.in {
				real++
			}
			if i >= max(0, i0) && i < min(a.in, i1) {
				taps = append(taps, axisTap{k, i - i0})
			}
		}
		return taps, real
	})
}

// inputs are the runs of the inputs i0 … i1−1, counted from i0, whose taps are the
// outputs o0 … o1−1 that read them, in ascending order, counted from o0.
func (s Sliding) inputs(of func(Sliding) axis, o0, o1, i0, i1 int) []axisRun {
	a := of(s)
	return axisRuns(i1-i0, a.stride, 1, func(i int) (taps []axisTap, real int) {
		for k := a.k - 1; k >= 0; k-- {
			o := i0 + i + a.pad - k*a.dilation
			if o%a.stride == 0 && o/a.stride >= o0 && o/a.stride < o1 {
				taps = append(taps, axisTap{k, o/a.stride - o0})
			}
		}
		return taps, 0
	})
}

// slide is a plan: for each pixel of one map, its centre, the taps on another one.
type slide struct {
	shape         Sliding
	out, in       Window
	rows, columns []axisRun
	cells         []slideCell // by run of rows, run of columns
	centreW, tapW int         // pixels of a row of each map
	centre, tap   int         // pixels
	ascending     bool        // each gives centres in the order of memory
}

type slideCell struct {
	values, lanes []asm.Tap // for pixels of C values and of C lane vectors
	real          int
	rows3         bool // rows of three neighbours, in windows that move by one pixel
}

// wholeSlide is newSlide for all pixels.
func wholeSlide(s Sliding, adjoint bool) *slide {
	s.check()
	return newSlide(s, Window{Y1: s.OutH(), X1: s.OutW()}, Window{Y1: s.InH, X1: s.InW}, adjoint)
}

// newSlide plans for the outputs in out and the inputs in in. Centres are the outputs,
// or for an adjoint the inputs.
//
//go:noinline
func newSlide(s Sliding, out, in Window, adjoint bool) *slide {
	if out.H() < 1 || out.W() < 1 || in.H() < 1 || in.W() < 1 {
		panic(fmt.Sprintf("kernels: window %v of outputs, %v of inputs", out, in))
	}
	runs := s.outputs
	p := &slide{shape: s, out: out, in: in, centreW: out.W(), tapW: in.W(), centre: out.H() * out.W(), tap: in.H() * in.W()}
	if adjoint {
		runs = s.inputs
		p.centreW, p.tapW, p.centre, p.tap = p.tapW, p.centreW, p.tap, p.centre
	}
	p.rows, p.columns = runs(rowAxis, out.Y0, out.Y1, in.Y0, in.Y1), runs(columnAxis, out.X0, out.X1, in.X0, in.X1)
	p.ascending = !adjoint || s.StrideH == 1 && s.StrideW == 1
	const size = int(unsafe.Sizeof(float32(0)))
	pixel := s.C * size
	for _, r := range p.rows {
		for _, c := range p.columns {
			var cell slideCell
			cell.real = r.real * c.real
			cell.rows3 = len(r.taps) > 0 && c.move == 1 && c.step == 1 && len(c.taps) == 3 && c.taps[1].at == 1 && c.taps[2].at == 2
			for _, y := range r.taps {
				for _, x := range c.taps {
					at, w := (y.at*p.tapW+x.at)*pixel, (y.k*s.KW+x.k)*pixel
					cell.values = append(cell.values, asm.Tap{At: at, W: w})
					cell.lanes = append(cell.lanes, asm.Tap{At: at * Lanes, W: w})
				}
			}
			p.cells = append(p.cells, cell)
		}
	}
	return p
}

// bytes returns the memory the plan holds.
func (p *slide) bytes() int {
	n := int(unsafe.Sizeof(*p))
	for _, runs := range [][]axisRun{p.rows, p.columns} {
		for _, r := range runs {
			n += int(unsafe.Sizeof(r)) + cap(r.taps)*int(unsafe.Sizeof(axisTap{}))
		}
	}
	for _, c := range p.cells {
		n += int(unsafe.Sizeof(c)) + (cap(c.values)+cap(c.lanes))*int(unsafe.Sizeof(asm.Tap{}))
	}
	return n
}

// mustReach panics if inputs are lacking that outputs depend on.
func (p *slide) mustReach() {
	need, in := p.shape.Reads(p.out), p.in
	if need.Y0 < in.Y0 || need.Y1 > in.Y1 || need.X0 < in.X0 || need.X1 > in.X1 {
		panic(fmt.Sprintf("kernels: window %v of inputs lacks some of %v", in, need))
	}
}

// gathering says how centres are computed from their taps: by kernel, but by row, if not
// nil, in cells with rows3, and by short where a pixel is shorter than a lane vector and
// kernel would leave the slices, or always if exact; divisor is that of a mean, 0 for the number of pixels.
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

func mustLanes(lanes int) {
	if lanes != 1 && lanes != Lanes {
		panic(fmt.Sprintf("kernels: pixels of %d images", lanes))
	}
}
