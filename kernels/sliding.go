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
	for _, r := range s.rows().outputs(0, s.OutH(), 0, s.InH) {
		rows += int64(r.n * len(r.taps))
	}
	for _, r := range s.columns().outputs(0, s.OutW(), 0, s.InW) {
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

func (s *Sliding) rows() axis    { return axis{s.InH, s.KH, s.StrideH, s.PadH, max(1, s.DilH)} }
func (s *Sliding) columns() axis { return axis{s.InW, s.KW, s.StrideW, s.PadW, max(1, s.DilW)} }

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
func (a axis) outputs(o0, o1, i0, i1 int) []axisRun {
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
func (a axis) inputs(o0, o1, i0, i1 int) []axisRun {
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
	runs := axis.outputs
	p := &slide{shape: s, out: out, in: in, centreW: out.W(), tapW: in.W(), centre: out.H() * out.W(), tap: in.H() * in.W()}
	if adjoint {
		runs = axis.inputs
		p.centreW, p.tapW, p.centre, p.tap = p.tapW, p.centreW, p.tap, p.centre
	}
	p.rows, p.columns = runs(s.rows(), out.Y0, out.Y1, in.Y0, in.Y1), runs(s.columns(), out.X0, out.X1, in.X0, in.X1)
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
