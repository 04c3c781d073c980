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

	if (s.In()+s.Out())*vecBytes > gradCache && groups*s.OutH()*s.OutW() > gradBlock {
		w.applyBlocks(sc, dw, db, dy, x, groups, task)
		return
	}
	p := w.part(sc, dy, x, task)
	p.a.Groups = groups
	p.block(0, tapSpan{0, s.OutH(), 0}, dw[o*s.FanIn():], db[o:], nil)
}

// applyBlocks is Apply for large layers: sweeping all pixels for every few
// weights would leave the caches each time, so it takes the pixels in blocks, in
// their order, and keeps the sums of all weights.
func (w *WeightGrad) applyBlocks(sc *Scratch, dw, db, dy, x []float32, groups, task int) {
	s := w.shape
	p := w.part(sc, dy, x, task)
	sums := sc.gradSums(p.r * (s.FanIn() + 1) * Lanes)
	clear(sums)
	rows, perBlock := s.OutH(), max(1, gradBlock/(s.OutH()*s.OutW()))
	if s.OutH()*s.OutW() > gradBlock {
		rows = max(1, gradBlock/s.OutW())
	}
	for g := 0; g < groups; g += perBlock {
		p.a.Groups = min(perBlock, groups-g)
		for y := 0; y < s.OutH(); y += rows {
			p.block(g, tapSpan{y, min(rows, s.OutH()-y), 0}, nil, nil, sums)
		}
	}
	p.reduce(dw[p.o*s.FanIn():], db[p.o:], sums)
}

// gradBlock is the number of output pixels of a block: with four channels of
// each, 16 KiB of dy. gradCache is the size of a group's input and output from
// which blocks pay (measured: 1.5 to 2 times faster with 2 MiB and more, 10 %
// slower with 0.2 MiB).
const (
	gradBlock = 128
	gradCache = 768 << 10
)

// gradPart computes the gradient of r output channels from o on.
type gradPart struct {
	w     *WeightGrad
	a     *asm.GradArgs
	dy, x []float32
	o, r  int
}

// part prepares the kernel arguments that all blocks of a task share.
func (w *WeightGrad) part(sc *Scratch, dy, x []float32, task int) gradPart {
	o := task * tileChannels
	sc.grad.OutStride = 4 * w.shape.FanIn()
	sc.grad.Sums = nil
	return gradPart{w, &sc.grad, dy, x, o, min(tileChannels, w.shape.OutC-o)}
}

// block takes the given rows of a.Groups groups from group on: to dw and db, or
// onto sums, which lie tile by tile in the order of the calls, the bias last.
func (p *gradPart) block(group int, rows tapSpan, dw, db, sums []float32) {
	w, a, s := p.w, p.a, p.w.shape
	runs, run := w.runs()
	for ky := range s.KH {
		y := tapRange(s.InH, s.StrideH, s.PadH, s.OutH(), ky).cut(rows, s.StrideH)
		for kx := range runs {
			cols := tapRange(s.InW, s.StrideW, s.PadW, s.OutW(), kx)
			if y.n <= 0 || cols.n == 0 {
				continue
			}
			w.window(a, p.dy, p.x, group, p.o, y, cols)
			first := (ky*s.KW + kx) * s.InC
			x0, done := a.X, 0
			for _, k := range w.isa.weights[p.r] {
				if n := (run - done) / k; n > 0 {
					if sums == nil {
						a.Out = base(dw[first+done:])
					} else {
						a.Sums = base(sums[p.r*(first+done)*Lanes:])
					}
					a.Tiles = n
					a.X = unsafe.Add(x0, done*vecBytes)
					w.isa.grad[p.r][k](a)
					done += n * k
				}
			}
		}
	}
	w.window(a, p.dy, p.x, group, p.o, rows, tapSpan{0, s.OutW(), 0})
	stride := a.OutStride
	if sums == nil {
		a.Out = base(db)
	} else {
		a.Sums = base(sums[p.r*s.FanIn()*Lanes:])
	}
	a.Tiles, a.OutStride = 1, 4
	a.X, a.XCol, a.XRow, a.XGroup = base(w.ones), 0, 0, 0
	w.isa.grad[p.r][1](a)
	a.OutStride = stride
}

// reduce adds up the lanes of sums.
func (p *gradPart) reduce(dw, db, sums []float32) {
	w, s := p.w, p.w.shape
	_, run := w.runs()
	at := 0
	next := func() float32 {
		v := laneSum((*lane)(sums[at:]))
		at += Lanes
		return v
	}
	for first := 0; first < s.FanIn(); first += run {
		done := 0
		for _, k := range w.isa.weights[p.r] {
			for ; run-done >= k; done += k {
				for i := range p.r {
					for j := range k {
						dw[i*s.FanIn()+first+done+j] = next()
					}
				}
			}
		}
	}
	for i := range p.r {
		db[i] = next()
	}
}

// runs returns the number of runs of consecutive weights in a kernel row that see
// the same outputs, and their length: without padding, all of (column, channel).
func (w *WeightGrad) runs() (n, length int) {
	if s := w.shape; s.PadW > 0 {
		return s.KW, s.InC
	}
	return 1, w.shape.KW * w.shape.InC
}

// gradSums returns room for n values; it allocates when more are asked for than
// before.
func (sc *Scratch) gradSums(n int) []float32 {
	if len(sc.sums) < n {
		sc.sums = Alloc(n)
	}
	return sc.sums[:n]
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

// cut keeps the outputs that are among rows.
func (t tapSpan) cut(rows tapSpan, stride int) tapSpan {
	lo, hi := max(t.out, rows.out), min(t.out+t.n, rows.out+rows.n)
	return tapSpan{lo, hi - lo, t.in + (lo-t.out)*stride}
}

func floorDiv(a, b int) int {
	if a < 0 {
		return -((b - 1 - a) / b)
	}
	return a / b
}

// window points the kernel at the outputs (rows y, columns x) of channel o, from
// the given group on.
func (w *WeightGrad) window(a *asm.GradArgs, dy, x []float32, group, o int, rows, cols tapSpan) {
	s := w.shape
	dy, x = dy[group*s.Out()*Lanes:], x[group*s.In()*Lanes:]
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
