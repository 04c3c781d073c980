package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Epilogue is what a Linear does to its sums before storing them.
type Epilogue int

const (
	None Epilogue = asm.EpilogueNone
	// ReLU stores 0 > v ? 0 : v, which keeps NaN and −0.
	ReLU Epilogue = asm.EpilogueReLU
	// Gate stores v where the gate is positive and +0 elsewhere: the backward
	// pass of a ReLU, gated by its output.
	Gate Epilogue = asm.EpilogueGate
)

const vecBytes = 4 * Lanes

// Linear is a linear map in the batch-lane layout with packed weights: a
// convolution or its adjoint. After Pack and SetBias it is read-only and safe
// for concurrent use.
type Linear struct {
	isa     *ISA
	shape   Shape
	adjoint bool
	inC     int // channels of the source: the contiguous run of one pixel
	outC    int
	in, out int       // elements of one image
	srcRow  int       // lane vectors of one row of the source
	taps    int       // of all pixels
	rows    []rowSpan // of the source that each row of the destination reads
	size    int       // of packed
	phases  []phase
	classes []class
	packed  []float32
	bias    []float32
}

// phase holds the packed weights of one residue of the output coordinates:
// [tile][tapY][tapX][inC][r], r = 4 output channels a tile, fewer in the last.
type phase struct {
	tapsY, tapsX []int
	offset       int // into packed
}

// class is a set of output pixels that use the same taps of the same phase.
type class struct {
	y, x   span // phase, first and n are common; in is per pixel
	phase  int
	wide   int // pixels of a row
	pixels []pixel
}

// pixel offsets are in lane vectors from the start of a group.
type pixel struct{ in, out int32 }

// NewForward returns y = W·x + b for a convolution of the given geometry, with
// all weights zero.
func NewForward(isa *ISA, s Shape) *Linear {
	l := forwardPlan(isa, s)
	l.packed, l.bias = Alloc(l.size), Alloc(l.outC)
	return l
}

func forwardPlan(isa *ISA, s Shape) *Linear {
	s.check()
	l := &Linear{isa: isa, shape: s, inC: s.InC, outC: s.OutC, in: s.In(), out: s.Out()}
	l.plan(s.OutH(), s.OutW(), s.InW, 1, 1,
		func(o int) span { return forwardSpan(s.InH, s.KH, s.StrideH, s.PadH, o) },
		func(o int) span { return forwardSpan(s.InW, s.KW, s.StrideW, s.PadW, o) },
		func(int) []int { return ascending(s.KH) }, func(int) []int { return ascending(s.KW) })
	return l
}

// NewAdjoint returns dx = Wᵀ·dy for a convolution of the given geometry, with
// all weights zero.
func NewAdjoint(isa *ISA, s Shape) *Linear {
	l := adjointPlan(isa, s)
	l.packed, l.bias = Alloc(l.size), Alloc(l.outC)
	return l
}

func adjointPlan(isa *ISA, s Shape) *Linear {
	s.check()
	l := &Linear{isa: isa, shape: s, adjoint: true, inC: s.OutC, outC: s.InC, in: s.Out(), out: s.In()}
	l.plan(s.InH, s.InW, s.OutW(), s.StrideH, s.StrideW,
		func(i int) span { return adjointSpan(s.KH, s.StrideH, s.PadH, s.OutH(), i) },
		func(i int) span { return adjointSpan(s.KW, s.StrideW, s.PadW, s.OutW(), i) },
		func(p int) []int { return adjointTaps(s.KH, s.StrideH, p) },
		func(p int) []int { return adjointTaps(s.KW, s.StrideW, p) })
	return l
}

func ascending(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// plan sorts the output pixels into classes and lays out the packed weights.
func (l *Linear) plan(outH, outW, inW, phasesY, phasesX int, spanY, spanX func(int) span, tapsY, tapsX func(int) []int) {
	for py := range phasesY {
		for px := range phasesX {
			p := phase{tapsY(py), tapsX(px), l.size}
			l.phases = append(l.phases, p)
			l.size += len(p.tapsY) * len(p.tapsX) * l.inC * l.outC
		}
	}
	rows, columns := axisClasses(outH, spanY), axisClasses(outW, spanX)
	all := make([]pixel, 0, outH*outW)
	l.rows = make([]rowSpan, outH)
	for y := range l.rows {
		s := spanY(y)
		l.rows[y] = rowSpan{s.in, s.n}
	}
	for _, r := range rows {
		for _, c := range columns {
			from := len(all)
			for _, y := range r.at {
				row := spanY(y).in * inW
				for i, x := range c.at {
					all = append(all, pixel{int32((row + c.in[i]) * l.inC), int32((y*outW + x) * l.outC)})
				}
			}
			l.taps += len(all[from:]) * r.n * c.n
			l.classes = append(l.classes, class{y: r.span, x: c.span, phase: r.phase*phasesX + c.phase, wide: len(c.at), pixels: all[from:]})
		}
	}
	l.srcRow = inW * l.inC
}

// axisClass is a set of coordinates along one axis with the same taps of one phase.
type axisClass struct {
	span         // its in is 0
	at, in []int // outputs, and the in of each
}

// axisClasses sorts coordinates 0 … n−1 into classes, in the order of their firsts.
func axisClasses(n int, spanAt func(int) span) (classes []axisClass) {
	known := map[span]int{}
	for o := range n {
		s := spanAt(o)
		in := s.in
		s.in = 0
		i, ok := known[s]
		if !ok {
			i = len(classes)
			known[s] = i
			classes = append(classes, axisClass{span: s})
		}
		classes[i].at, classes[i].in = append(classes[i].at, o), append(classes[i].in, in)
	}
	return classes
}

// tileChannels is the number of output channels of a full tile.
const tileChannels = 4

// Bytes returns the memory held by the packed weights and the plan.
func (l *Linear) Bytes() int { return 4*(cap(l.packed)+cap(l.bias)) + l.PlanBytes() }

// PlanBytes returns the memory held by the plan: what Windowed maps hold of their own.
func (l *Linear) PlanBytes() int {
	n := int(unsafe.Sizeof(*l)) + cap(l.rows)*int(unsafe.Sizeof(rowSpan{}))
	for i := range l.phases {
		n += int(unsafe.Sizeof(l.phases[i])) + (cap(l.phases[i].tapsY)+cap(l.phases[i].tapsX))*8
	}
	for _, c := range l.classes {
		n += int(unsafe.Sizeof(c)) + len(c.pixels)*int(unsafe.Sizeof(pixel{}))
	}
	return n
}

// In and Out return the numbers of elements of one image of the source and of
// the destination.
func (l *Linear) In() int  { return l.in }
func (l *Linear) Out() int { return l.out }

// SetBias sets the constant each sum starts from, one for each output channel.
func (l *Linear) SetBias(b []float32) {
	mustLen("bias", len(b), l.outC)
	copy(l.bias, b)
}

// Apply computes dst for the first groups lane groups of src. A sum starts at
// the bias and adds its taps in order of (row, column, channel) of the source,
// one fused multiply-add each; taps on padding are left out. gate has the
// layout of dst and is read for the epilogue Gate alone; it must not be dst.
func (l *Linear) Apply(sc *Scratch, dst, src []float32, groups int, e Epilogue, gate []float32) {
	if groups == 0 {
		return
	}
	dst = dst[:mustFit("destination", len(dst), groups*l.out*Lanes)]
	src = src[:mustFit("source", len(src), groups*l.in*Lanes)]
	a := &sc.conv
	a.Epilogue, a.GateOff = int(e), 0
	if e == Gate {
		gate = gate[:mustFit("gate", len(gate), len(dst))]
		a.GateOff = int(uintptr(base(gate)) - uintptr(base(dst)))
		raceRead(gate)
	}
	raceRead(src)
	raceWrite(dst)
	joined := 0 // groups of which full pairs of tiles are done
	if l.joins(groups) {
		joined = groups &^ 1
		l.applyJoined(sc, dst, src, joined)
	}
	for i := range l.classes {
		c := &l.classes[i]
		if c.y.n == 0 || c.x.n == 0 {
			l.fill(c, dst, groups, e, gate)
			continue
		}
		l.channels(a, c, dst, src, 0, joined, l.outC/(2*tileChannels)*2)
		l.channels(a, c, dst, src, joined, groups, 0)
	}
}

// channels computes the channels from tile first on of the groups from … to−1, at all
// pixels of c.
func (l *Linear) channels(a *asm.ConvArgs, c *class, dst, src []float32, from, to, first int) {
	if from == to {
		return
	}
	w := walk{
		set: &l.isa.conv[tileChannels], tiles: 1, pixels: c.pixels, groups: to - from,
		in: unsafe.Add(base(src), from*l.in*vecBytes), out: unsafe.Add(base(dst), from*l.out*vecBytes),
		vec: vecBytes, inGroup: l.in * vecBytes, outGroup: l.out * vecBytes,
	}
	full := l.outC / tileChannels
	l.full(a, c, &w, first, full)
	if r := l.outC % tileChannels; r != 0 {
		w.set = &l.isa.conv[r]
		l.run(a, c, &w, full, 1, r)
	}
}

// full computes full tiles from … to−1, as many in one sweep over the pixels as have their
// weights in the L2 cache from pixel to pixel.
func (l *Linear) full(a *asm.ConvArgs, c *class, w *walk, from, to int) {
	atOnce := max(w.tiles, tilesInCache(c.y.n*c.x.n*l.inC*tileChannels*4)&^(w.tiles-1))
	for t, n := from, 0; t < to; t += n {
		n = min(to-t, atOnce)
		l.run(a, c, w, t, n, tileChannels)
	}
}

// walk is what run goes over: pixels of some groups, and by which kernels.
type walk struct {
	set     *convSet
	tiles   int // of channels that a kernel takes at once
	pixels  []pixel
	groups  int
	in, out unsafe.Pointer // of the first group
	vec     int            // bytes of an input
	skip    int            // bytes of inputs that are left out before in
	// Bytes from group to group.
	inGroup, outGroup int
	from, to          int // of the steps of a single segment; 0: all
}

// run computes tiles × r channels from tile first on.
func (l *Linear) run(a *asm.ConvArgs, c *class, w *walk, first, tiles, r int) {
	p := &l.phases[c.phase]
	tapVec := 4 * l.inC * r // bytes of the weights of one tap
	tileBytes := len(p.tapsY) * len(p.tapsX) * tapVec
	a.Tiles = tiles / w.tiles
	a.Segs = c.y.n
	a.SegLen = c.x.n * l.inC * w.vec
	a.SegSkip = l.srcRow*w.vec - a.SegLen
	a.WSegSkip = (len(p.tapsX) - c.x.n) * tapVec
	a.WTile, a.WTileSkip = tileBytes, w.tiles*tileBytes-a.Segs*len(p.tapsX)*tapVec
	a.W = unsafe.Pointer(&l.packed[p.offset+first*tileChannels*len(p.tapsY)*len(p.tapsX)*l.inC+
		(c.y.first*len(p.tapsX)+c.x.first)*l.inC*r])
	a.Bias = unsafe.Pointer(&l.bias[first*tileChannels])
	if w.to > 0 {
		a.SegLen = (w.to - w.from) * w.vec
		a.WTileSkip += tileBytes - 4*r*(w.to-w.from)
		a.W = unsafe.Add(a.W, 4*r*w.from)
	}
	a.InStart = -w.skip

	out := unsafe.Add(w.out, first*tileChannels*vecBytes)
	from := l.bulk(a, w, out)
	l.rest(a, w, w.pixels[from:], out, r == tileChannels && w.tiles == 1, tileBytes)
}

// bulk lets the kernels walk the pixels of each group by themselves, in full
// batches, and returns the number of pixels of a group that are done. A call
// stays well below a millisecond, for nothing can preempt it.
func (l *Linear) bulk(a *asm.ConvArgs, w *walk, out unsafe.Pointer) int {
	const (
		few  = 4       // batches, which rest fills better
		most = 1 << 17 // steps of a call
	)
	size := w.set.most()
	batches := len(w.pixels) / size
	if batches < few {
		return 0
	}
	atOnce := max(1, most/(a.Tiles*a.Segs*(a.SegLen/w.vec)))
	for g := range w.groups {
		a.InBase, a.OutBase = unsafe.Add(w.in, g*w.inGroup), unsafe.Add(out, g*w.outGroup)
		for b := 0; b < batches; b += atOnce {
			for j, px := range w.pixels[b*size:][:size] {
				a.In[j], a.Out[j] = unsafe.Add(a.InBase, int(px.in)*w.vec-w.skip), unsafe.Add(a.OutBase, int(px.out)*vecBytes)
			}
			a.Batches = min(atOnce, batches-b)
			a.Table, a.Next = unsafe.Pointer(unsafe.SliceData(w.pixels)), (b+1)*size*int(unsafe.Sizeof(pixel{}))
			w.set.at[size](a)
		}
	}
	return batches * size
}

// rest computes pixels of all groups, batches reaching over from one group to
// the next. With alone, a single tile a pixel goes to the kernel of pairs of tiles.
func (l *Linear) rest(a *asm.ConvArgs, w *walk, pixels []pixel, out unsafe.Pointer, alone bool, tileBytes int) {
	a.Batches = 1
	in, q := w.in, 0
	for left := w.groups * len(pixels); left > 0; {
		n := w.set.next(left)
		for j := range n {
			if j < left {
				px := pixels[q]
				a.In[j] = unsafe.Add(in, int(px.in)*w.vec-w.skip)
				a.Out[j] = unsafe.Add(out, int(px.out)*vecBytes)
				if q++; q == len(pixels) && j+1 < left {
					q = 0
					in, out = unsafe.Add(in, w.inGroup), unsafe.Add(out, w.outGroup)
				}
			} else { // the last tile repeats its last pixel
				a.In[j], a.Out[j] = a.In[left-1], a.Out[left-1]
			}
		}
		left -= n
		if n == 1 && left == 0 && alone && a.Tiles > 1 {
			l.lastPixel(a, tileBytes)
			return
		}
		w.set.at[n](a)
	}
}

// lastPixel computes one pixel, tiles in pairs: one tile alone has too few sums to
// fill the pipes.
func (l *Linear) lastPixel(a *asm.ConvArgs, tileBytes int) {
	pairs, odd, skip := a.Tiles/2, a.Tiles%2, a.WTileSkip
	a.Tiles, a.WTileSkip = pairs, skip+tileBytes
	l.isa.convPair(a)
	if odd == 0 {
		return
	}
	a.Tiles, a.WTileSkip = 1, skip
	a.W = unsafe.Add(a.W, 2*pairs*tileBytes)
	a.Bias = unsafe.Add(a.Bias, 2*pairs*tileChannels*4)
	a.Out[0] = unsafe.Add(a.Out[0], 2*pairs*tileChannels*vecBytes)
	l.isa.conv[tileChannels].at[1](a)
}

// fill stores what is left of a sum without taps: its bias.
func (l *Linear) fill(c *class, dst []float32, groups int, e Epilogue, gate []float32) {
	for g := range groups {
		for _, px := range c.pixels {
			at := (g*l.out + int(px.out)) * Lanes
			for o, b := range l.bias {
				for i := at + o*Lanes; i < at+(o+1)*Lanes; i++ {
					var gv float32
					if e == Gate {
						gv = gate[i]
					}
					dst[i] = epilogue(b, e, gv)
				}
			}
		}
	}
}
