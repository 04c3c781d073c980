package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// gradWeights is the number of weights of the largest tile of the gradient kernels.
const gradWeights = 12

// PartChannels is the number of output channels of one part of a weight
// gradient (fewer in the last).
const PartChannels = tileChannels

// WeightGrad computes the gradient of a convolution's weights and bias. It is
// read-only and safe for concurrent use.
type WeightGrad struct {
	isa   *ISA
	shape Shape
	ones  []float32 // one lane vector: the "input" of the bias
}

// NewWeightGrad returns the weight gradient of the given geometry.
func NewWeightGrad(isa *ISA, s Shape) *WeightGrad {
	s.check()
	w := &WeightGrad{isa: isa, shape: s, ones: Alloc(Lanes)}
	for i := range w.ones {
		w.ones[i] = 1
	}
	return w
}

// Tasks returns the number of independent parts, each of some output channels,
// that Apply can compute; one for each four channels.
func (w *WeightGrad) Tasks() int { return (w.shape.OutC + tileChannels - 1) / tileChannels }

// Apply computes part task of the gradient summed over all images of the given
// groups: dw is [OutC][KH][KW][InC] (channels last), db is [OutC]; lanes
// without an image must hold zeros in dy. Each of eight lanes is one chain over
// (group, row, column) of dy, and the lanes are added in a fixed order, so the
// result does not depend on how tasks are spread over threads.
func (w *WeightGrad) Apply(sc *Scratch, dw, db, dy, x []float32, groups, task int) {
	s := w.shape
	mustLen("weight gradient", len(dw), s.Weights())
	mustLen("bias gradient", len(db), s.OutC)
	mustFit("output gradient", len(dy), groups*s.Out()*Lanes)
	mustFit("input", len(x), groups*s.In()*Lanes)
	o := task * tileChannels
	r := min(tileChannels, s.OutC-o)
	clear(dw[o*s.FanIn() : (o+r)*s.FanIn()])
	clear(db[o : o+r])
	if groups == 0 {
		return
	}
	raceRead(dy)
	raceRead(x)

	a := &sc.grad
	a.Groups = groups
	a.OutStride = 4 * s.FanIn()

	// Without padding all columns of a kernel row see the same outputs, so
	// (column, channel) is one run; with padding each column has its own.
	runs, run := 1, s.KW*s.InC
	if s.PadW > 0 {
		runs, run = s.KW, s.InC
	}
	for ky := range s.KH {
		y := tapRange(s.InH, s.StrideH, s.PadH, s.OutH(), ky)
		for kx := range runs {
			cols := tapRange(s.InW, s.StrideW, s.PadW, s.OutW(), kx)
			if y.n == 0 || cols.n == 0 {
				continue
			}
			w.window(a, dy, x, o, y, cols)
			out := dw[o*s.FanIn()+(ky*s.KW+kx)*s.InC:]
			x0, done := a.X, 0
			for _, k := range w.isa.weights[r] {
				if n := (run - done) / k; n > 0 {
					a.Tiles, a.Out = n, base(out[done:])
					a.X = unsafe.Add(x0, done*vecBytes)
					w.isa.grad[r][k](a)
					done += n * k
				}
			}
		}
	}
	w.window(a, dy, x, o, tapSpan{0, s.OutH(), 0}, tapSpan{0, s.OutW(), 0})
	a.Tiles, a.Out, a.OutStride = 1, base(db[o:]), 4
	a.X, a.XCol, a.XRow, a.XGroup = base(w.ones), 0, 0, 0
	w.isa.grad[r][1](a)
}

// tapSpan is the run of outputs that use one tap of one axis: n of them from
// output out on, the first at input coordinate in.
type tapSpan struct{ out, n, in int }

func tapRange(in, stride, pad, out, k int) tapSpan {
	lo := max(0, (pad-k+stride-1)/stride)
	hi := min(out-1, floorDiv(in-1+pad-k, stride))
	if hi < lo {
		return tapSpan{}
	}
	return tapSpan{lo, hi - lo + 1, lo*stride + k - pad}
}

func floorDiv(a, b int) int {
	if a < 0 {
		return -((b - 1 - a) / b)
	}
	return a / b
}

// window points the kernel at the outputs (rows y, columns x) of channel o.
func (w *WeightGrad) window(a *asm.GradArgs, dy, x []float32, o int, rows, cols tapSpan) {
	s := w.shape
	outW := s.OutW()
	a.Rows, a.Cols = rows.n, cols.n
	a.DY = unsafe.Add(base(dy), ((rows.out*outW+cols.out)*s.OutC+o)*vecBytes)
	a.DYCol = s.OutC * vecBytes
	a.DYRow = (outW - cols.n) * s.OutC * vecBytes
	a.DYGroup = (s.OutH() - rows.n) * outW * s.OutC * vecBytes
	a.X = unsafe.Add(base(x), (rows.in*s.InW+cols.in)*s.InC*vecBytes)
	a.XCol = s.StrideW * s.InC * vecBytes
	a.XRow = (s.StrideH*s.InW - cols.n*s.StrideW) * s.InC * vecBytes
	a.XGroup = (s.InH - rows.n*s.StrideH) * s.InW * s.InC * vecBytes
}
