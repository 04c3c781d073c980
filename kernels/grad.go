package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// gradWeights is the number of weights of the largest tile of the gradient kernels.
const gradWeights = 12

// A part of a weight gradient has as many output channels as pay for reading the
// input once, which may come from memory; more would leave threads idle and,
// with their sums, the caches. With few weights a channel, reading dy is the work
// and a part takes whole pixels of it.
const (
	partChannels    = 16
	partChannelsFC  = 32
	partChannelsFew = 64
)

// WeightGrad computes the gradient of a convolution's weights and bias. It is
// read-only and safe for concurrent use.
type WeightGrad struct {
	isa      *ISA
	grads    *gradSet
	shape    Shape
	channels int       // of a part
	ones     []float32 // one lane vector: the "input" of the bias
}

// NewWeightGrad returns the weight gradient of the given geometry.
func NewWeightGrad(isa *ISA, s Shape) *WeightGrad {
	s.check()
	w := &WeightGrad{isa: isa, grads: isa.grads(), shape: s, ones: Alloc(Lanes)}
	for i := range w.ones {
		w.ones[i] = 1
	}
	most := partChannels
	if s.fc() {
		most = partChannelsFC
	} else if s.FanIn() < gradCopy {
		most = partChannelsFew
	}
	tiles, parts := ceilDiv(s.OutC, tileChannels), ceilDiv(s.OutC, most)
	w.channels = ceilDiv(tiles, parts) * tileChannels
	return w
}

// fc reports whether every output of an image sees all of its input, once.
func (s Shape) fc() bool { return s.In() == s.InC && s.Out() == s.OutC && s.KH*s.KW == 1 }

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// Tasks returns the number of independent parts, each of some output channels,
// that Apply can compute.
func (w *WeightGrad) Tasks() int { return ceilDiv(w.shape.OutC, w.channels) }

// Channels returns the output channels [from, to) of a part.
func (w *WeightGrad) Channels(task int) (from, to int) {
	return task * w.channels, min(w.shape.OutC, (task+1)*w.channels)
}

// Apply computes part task of the gradient summed over all images of the given
// groups: dw is [OutC][KH][KW][InC] (channels last), db is [OutC], of the part's
// output channels alone; lanes without an image must hold zeros in dy. Each of
// eight lanes is one chain over (group, row, column) of dy, and the lanes are
// added in a fixed order, so the result does not depend on how tasks are spread
// over threads.
func (w *WeightGrad) Apply(sc *Scratch, dw, db, dy, x []float32, groups, task int) {
	s := w.shape
	from, to := w.Channels(task)
	mustLen("weight gradient", len(dw), (to-from)*s.FanIn())
	mustLen("bias gradient", len(db), to-from)
	mustFit("output gradient", len(dy), groups*s.Out()*Lanes)
	mustFit("input", len(x), groups*s.In()*Lanes)
	if groups == 0 {
		clear(dw)
		clear(db)
		return
	}
	raceRead(dy)
	raceRead(x)
	raceWrite(dw)
	raceWrite(db)
	p := gradPart{w: w, sc: sc, a: &sc.grad, dw: dw, db: db, dy: dy, x: x, o: from}
	*p.a = asm.GradArgs{OutStride: 4 * s.FanIn()}
	if s.fc() {
		p.fc(groups)
		return
	}
	p.conv(groups, gradBlock)
}

// gradPart is the gradient of the output channels from o on that db has room
// for.
type gradPart struct {
	w             *WeightGrad
	sc            *Scratch
	a             *asm.GradArgs
	dw, db, dy, x []float32
	o             int
}

// gradBlock is the number of output pixels of a block: with four channels of
// each, 16 KiB of dy. From gradCopy weights a channel on, copying these pays.
const (
	gradBlock = 128
	gradCopy  = 64
)

// conv takes the pixels in blocks of about the given size, in their order:
// sweeping all of them for every few weights would leave the caches each time.
// Between blocks the sums of all weights wait in memory.
func (p *gradPart) conv(groups, pixels int) {
	s := p.w.shape
	rows, perBlock := s.OutH(), max(1, pixels/(s.OutH()*s.OutW()))
	if s.OutH()*s.OutW() > pixels {
		rows = max(1, pixels/s.OutW())
	}
	b := gradTile{gradPart: *p}
	perChannel := (s.FanIn() + 1) * Lanes
	if rows < s.OutH() || perBlock < groups {
		b.sums = p.sc.gradSums(len(p.db) * perChannel)
		clear(b.sums)
	}
	sums := b.sums
	for b.group = 0; b.group < groups; b.group += perBlock {
		b.groups = min(perBlock, groups-b.group)
		for y := 0; y < s.OutH(); y += rows {
			b.rows = tapSpan{y, min(rows, s.OutH()-y), 0}
			b.last = b.group+b.groups == groups && y+b.rows.n == s.OutH()
			b.fetch()
			for b.c = 0; b.c < len(p.db); b.c += tileChannels {
				b.r = min(tileChannels, len(p.db)-b.c)
				if sums != nil {
					b.sums = sums[b.c*perChannel:][:b.r*perChannel]
				}
				b.run()
			}
		}
	}
}

// gradTile is a block of pixels with one tile of the channels.
type gradTile struct {
	gradPart
	group, groups int
	rows          tapSpan // of dy
	c, r          int     // channels [c, c+r) of the part
	sums          []float32
	last          bool // block: sums become gradients

	first       unsafe.Pointer // to dy at the block's first pixel
	pixel, jump int            // bytes from a pixel of first to the next, from a group to the next
}

// fetch reads the block's input, and dy where it is the larger part, in their
// order in memory: the prefetchers follow that, but not the kernels' jumps from
// pixel to pixel.
func (b *gradTile) fetch() {
	s := b.w.shape
	row := s.InW * s.InC * Lanes
	from := b.group*s.InH + max(0, b.rows.out*s.StrideH-s.PadH)
	to := (b.group+b.groups-1)*s.InH + min(s.InH, (b.rows.out+b.rows.n-1)*s.StrideH-s.PadH+s.KH)
	b.w.read(b.x[from*row : to*row])
	if s.FanIn() < gradCopy {
		row = s.OutW() * s.OutC * Lanes
		from = b.group*s.OutH() + b.rows.out
		to = (b.group+b.groups-1)*s.OutH() + b.rows.out + b.rows.n
		b.w.read(b.dy[from*row : to*row])
	}
}

func (w *WeightGrad) read(s []float32) {
	const step = 64 // values
	if n := len(s) / step; n > 0 {
		w.isa.readMemory(base(s), n, 1)
	}
}

// run adds the block to the sums, which lie tile by tile in the order of the
// calls, the bias last; from the last block the totals go to dw and db.
func (b *gradTile) run() {
	w, a, s := b.w, b.a, b.w.shape
	b.view()
	a.Groups = b.groups
	runs, run := w.runs()
	for ky := range s.KH {
		y := tapRange(s.InH, s.StrideH, s.PadH, s.OutH(), ky).cut(b.rows, s.StrideH)
		for kx := range runs {
			cols := tapRange(s.InW, s.StrideW, s.PadW, s.OutW(), kx)
			first := (ky*s.KW + kx) * s.InC
			if y.n <= 0 || cols.n == 0 {
				if b.last {
					b.reduce(first, run)
				}
				continue
			}
			b.window(y, cols)
			a.X = unsafe.Add(base(b.x), ((b.group*s.InH+y.in)*s.InW+cols.in)*s.InC*vecBytes)
			a.XCol = s.StrideW * s.InC * vecBytes
			a.XRow = (s.StrideH*s.InW - cols.n*s.StrideW) * s.InC * vecBytes
			a.XGroup = (s.InH - y.n*s.StrideH) * s.InW * s.InC * vecBytes
			x0, done := a.X, 0
			for _, k := range w.grads.weights[b.r] {
				if n := (run - done) / k; n > 0 {
					a.X = unsafe.Add(x0, done*vecBytes)
					b.call(k, n, first+done)
					done += n * k
				}
			}
		}
	}
	b.window(b.rows, tapSpan{0, s.OutW(), 0})
	a.X, a.XCol, a.XRow, a.XGroup = base(w.ones), 0, 0, 0
	b.bias()
}

// call runs n tiles of k weights from the given one on.
func (b *gradTile) call(k, n, first int) {
	a, fanIn := b.a, b.w.shape.FanIn()
	a.Tiles, a.Sums, a.Out = n, nil, nil
	if b.sums != nil {
		a.Sums = base(b.sums[b.r*first*Lanes:])
	}
	if b.last {
		a.Out = base(b.dw[b.c*fanIn+first:])
	}
	b.w.grads.kernels[b.r][k](a)
}

// bias takes the bias for one more weight.
func (b *gradTile) bias() {
	a := b.a
	a.Tiles, a.Sums, a.Out = 1, nil, nil
	if b.sums != nil {
		a.Sums = base(b.sums[b.r*b.w.shape.FanIn()*Lanes:])
	}
	if b.last {
		a.Out = base(b.db[b.c:])
	}
	stride := a.OutStride
	a.OutStride = 4
	b.w.grads.kernels[b.r][1](a)
	a.OutStride = stride
}

// view points at the block's pixels of dy, or at a copy of them: where they lie
// a power of two apart, a cache holds few.
func (b *gradTile) view() {
	w, s := b.w, b.w.shape
	size := s.OutH() * s.OutW()
	at := (b.group*size + b.rows.out*s.OutW()) * s.OutC
	src := b.dy[(at+b.o+b.c)*Lanes:]
	if s.FanIn() < gradCopy || b.r != tileChannels || s.OutC == tileChannels {
		b.first, b.pixel, b.jump = base(src), s.OutC*vecBytes, size*s.OutC*vecBytes
		return
	}
	pixels := b.rows.n * s.OutW()
	dst := b.sc.gradCopy(b.groups * pixels * tileChannels * Lanes)
	for g := range b.groups {
		to, from := g*pixels*tileChannels*Lanes, g*size*s.OutC*Lanes
		w.isa.gatherRows(base(dst[to:]), base(src[from:]), s.OutC*vecBytes, pixels)
	}
	b.first, b.pixel, b.jump = base(dst), tileChannels*vecBytes, pixels*tileChannels*vecBytes
}

// window points the kernel at the given rows and columns of dy.
func (b *gradTile) window(rows, cols tapSpan) {
	a, outW := b.a, b.w.shape.OutW()
	a.Rows, a.Cols = rows.n, cols.n
	a.DY = unsafe.Add(b.first, ((rows.out-b.rows.out)*outW+cols.out)*b.pixel)
	a.DYCol = b.pixel
	a.DYRow = (outW - cols.n) * b.pixel
	a.DYGroup = b.jump - rows.n*outW*b.pixel
}

// reduce adds up the lanes of a run of weights that the last block does not see.
func (b *gradTile) reduce(first, run int) {
	fanIn, at, done := b.w.shape.FanIn(), b.r*first*Lanes, 0
	for _, k := range b.w.grads.weights[b.r] {
		for ; run-done >= k; done += k {
			for i := range b.r {
				for j := range k {
					var v float32
					if b.sums != nil {
						v = laneSum((*lane)(b.sums[at:]))
						at += Lanes
					}
					b.dw[(b.c+i)*fanIn+first+done+j] = v
				}
			}
		}
	}
}

// gradColumns is the room for the columns of the input that all channels of an
// FC layer's part use before the next ones.
const gradColumns = 24 << 10 / vecBytes

// fc is conv where an image is one pixel and the groups make one block. Lane
// vectors of one column and all groups lie far apart, often a power of two, so
// those of some columns are copied together for all channels.
func (p *gradPart) fc(groups int) {
	w, a, s := p.w, p.a, p.w.shape
	channels := len(p.db)
	columns := min(s.InC, max(gradWeights, gradColumns/groups/gradWeights*gradWeights))
	room := p.sc.gradCopy((columns + channels) * groups * Lanes)
	dy, x := room[:channels*groups*Lanes], room[channels*groups*Lanes:]
	for d, c := dy, 0; c < channels; c += tileChannels { // tile by tile
		r := min(tileChannels, channels-c)
		for g := range groups {
			copy(d[:r*Lanes], p.dy[(g*s.OutC+p.o+c)*Lanes:])
			d = d[r*Lanes:]
		}
	}
	a.Groups, a.Rows, a.Cols = 1, 1, groups
	b := gradTile{gradPart: *p, last: true}
	each := func(f func()) {
		for b.c = 0; b.c < channels; b.c += tileChannels {
			b.r = min(tileChannels, channels-b.c)
			a.DY, a.DYCol = base(dy[b.c*groups*Lanes:]), b.r*vecBytes
			f()
		}
	}
	for first := 0; first < s.InC; first += columns {
		n := min(columns, s.InC-first)
		for g := range groups {
			copy(x[g*n*Lanes:][:n*Lanes], p.x[(g*s.InC+first)*Lanes:])
		}
		a.XCol = n * vecBytes
		each(func() {
			done := 0
			for _, k := range w.grads.weights[b.r] {
				if t := (n - done) / k; t > 0 {
					a.X = base(x[done*Lanes:])
					b.call(k, t, first+done)
					done += t * k
				}
			}
		})
	}
	a.X, a.XCol = base(w.ones), 0
	each(b.bias)
}

// gradSums and gradCopy return room for n values; they allocate when more are
// asked for than before.
func (sc *Scratch) gradSums(n int) []float32 { return room(&sc.sums, n) }
func (sc *Scratch) gradCopy(n int) []float32 { return room(&sc.copied, n) }

// Room returns n values of scratch memory, the same ones on each call.
func (sc *Scratch) Room(n int) []float32 { return room(&sc.room, n) }

func room(s *[]float32, n int) []float32 {
	if len(*s) < n {
		*s = Alloc(n)
	}
	return (*s)[:n]
}

// runs returns the number of runs of consecutive weights in a kernel row that see
// the same outputs, and their length: without padding, all of (column, channel).
func (w *WeightGrad) runs() (n, length int) {
	if s := w.shape; s.PadW > 0 {
		return s.KW, s.InC
	}
	return 1, w.shape.KW * w.shape.InC
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
