package kernels

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Output channels of Small's weight tiles: all but the last are full. The last
// one is narrow if that is enough for the channels left.
const (
	smallTile  = 16
	narrowTile = 8
)

// Small is a Linear for single images: activations are [image][height][width]
// [channel], and vectors run over output channels. For a few images it is several
// times faster than Linear, whose lanes would idle; its sums are the same chains,
// so its results are the same bits. After Pack and SetBias it is read-only and
// safe for concurrent use.
type Small struct {
	plan    *Linear
	weights Weights
	tiles   int    // of 16 channels, the last perhaps in part
	narrow  bool   // one tile of 8 behind them
	width   int    // channels with those left empty
	packed  []byte // [phase][tile][tapY][tapX][inC][channels of the tile], in the machine's byte order
	inPlace bool   // packed is the caller's
	bias    []float32
	mask    [2 * smallTile]uint32 // ones, and the last tile's channels at the end; see cover
}

// NewSmall returns y = W·x + b for a convolution of the given geometry, with
// all weights zero.
func NewSmall(isa *ISA, s Shape) *Small { return NewSmall16(isa, s, Float32) }

// NewSmallAdjoint returns dx = Wᵀ·dy, with all weights zero.
func NewSmallAdjoint(isa *ISA, s Shape) *Small { return NewSmallAdjoint16(isa, s, Float32) }

// NewSmall16 is NewSmall with the weights packed as w, for which isa must have
// kernels. What it computes, bit for bit, is the map with their float32 values.
func NewSmall16(isa *ISA, s Shape, w Weights) *Small { return newSmall(forwardPlan(isa, s), w, nil) }

// NewSmallAdjoint16 is NewSmall16 for dx = Wᵀ·dy.
func NewSmallAdjoint16(isa *ISA, s Shape, w Weights) *Small {
	return newSmall(adjointPlan(isa, s), w, nil)
}

// NewSmallInPlace is NewSmall16 on weights that are packed already, which stay where
// they are: tiles of 16 output channels, [tile][tapY][tapX][inC][16], little-endian,
// the last tile of 8 where that is enough. They must not change, and nothing may
// Pack. It returns nil if the machine cannot use them so.
func NewSmallInPlace(isa *ISA, s Shape, w Weights, packed []byte) *Small {
	little := binary.NativeEndian.Uint16([]byte{1, 0}) == 1
	if aligned := uintptr(unsafe.Pointer(unsafe.SliceData(packed)))%uintptr(w.bytes()) == 0; !little || !aligned {
		return nil
	}
	return newSmall(forwardPlan(isa, s), w, packed)
}

func newSmall(p *Linear, w Weights, packed []byte) *Small {
	if !p.isa.Has(w) {
		panic(fmt.Sprintf("kernels: weights: %s has no kernels for %v", p.isa.name, w))
	}
	l := &Small{plan: p, weights: w, tiles: (p.outC + smallTile - narrowTile - 1) / smallTile}
	l.width = l.tiles * smallTile
	last := smallTile
	if l.width < p.outC {
		l.narrow, last = true, narrowTile
		l.width += narrowTile
	}
	size := p.size / p.outC * l.width * w.bytes()
	if l.packed, l.inPlace = packed, packed != nil; l.inPlace {
		l.packed = packed[:mustFit("packed weights", len(packed), size)]
	} else {
		l.packed = unsafe.Slice((*byte)(base(Alloc((size+3)/4))), size)
	}
	l.bias = Alloc(l.width)
	for i := range l.mask {
		if c := l.width - len(l.mask) + i; c < l.width-last || c < p.outC {
			l.mask[i] = math.MaxUint32
		}
	}
	return l
}

// Bytes returns the memory held by the packed weights and the plan, without weights
// in place.
func (l *Small) Bytes() int {
	n := 4*cap(l.bias) + l.plan.Bytes()
	if !l.inPlace {
		n += len(l.packed)
	}
	return n
}

// InPlace returns the bytes of the weights that are used where the caller has them.
func (l *Small) InPlace() int {
	if l.inPlace {
		return len(l.packed)
	}
	return 0
}

// In and Out return the numbers of elements of one image of the source and of
// the destination.
func (l *Small) In() int  { return l.plan.in }
func (l *Small) Out() int { return l.plan.out }

// phase returns the packed weights of phase i from tile on.
func (l *Small) phase(i, tile int) []byte {
	p := &l.plan.phases[i]
	at := p.offset/l.plan.outC*l.width + len(p.tapsY)*len(p.tapsX)*l.plan.inC*tile*smallTile
	return l.packed[at*l.weights.bytes():]
}

// SetBias sets the constant each sum starts from, one for each output channel.
func (l *Small) SetBias(b []float32) {
	mustLen("bias", len(b), l.plan.outC)
	copy(l.bias, b)
}

// Parts returns into how many parts of similar work Apply may be split for the
// given number of workers.
func (l *Small) Parts(workers int) int {
	if l.onePixel() {
		return min(workers, max(1, (l.tiles+1)/2))
	}
	if l.plan.adjoint {
		return min(workers, l.plan.shape.InH)
	}
	return min(workers, l.plan.shape.OutH())
}

func (l *Small) onePixel() bool { return l.plan.out == l.plan.outC }

// Apply computes part of parts of dst for images images of src, with the sums
// of Linear.Apply. Parts are independent.
func (l *Small) Apply(sc *Scratch, dst, src []float32, images int, e Epilogue, gate []float32, part, parts int) {
	sc.conv.GateOff = 0
	if e == Gate {
		gate = gate[:mustFit("gate", len(gate), images*l.plan.out)]
		sc.conv.GateOff = int(uintptr(base(gate)) - uintptr(base(dst)))
		raceRead(gate)
	}
	l.apply(&sc.conv, smallWork{dst: dst, src: src, images: images, epilogue: e, gate: gate, part: part, parts: parts})
}

// ApplyBoth is Apply of c = W·c + b and, with the same weights, of r = |W|·r + e;
// absBias is PadBias(e). The weights are read once, and |W| needs no room.
func (l *Small) ApplyBoth(sc *Scratch, dstC, srcC, dstR, srcR, absBias []float32, images, part, parts int) {
	mustLen("padded bias", len(absBias), l.width)
	l.apply(&sc.conv, smallWork{dst: dstC, src: srcC, both: true, absDst: dstR, absSrc: srcR, absBias: absBias, images: images, part: part, parts: parts})
}

// PadBias returns a bias as ApplyBoth takes it.
func (l *Small) PadBias(b []float32) []float32 {
	mustLen("bias", len(b), l.plan.outC)
	p := Alloc(l.width)
	copy(p, b)
	return p
}

// smallWork is what there is to do for Small: W on src and, if both are wanted,
// |W| on absSrc.
type smallWork struct {
	dst, src, absDst, absSrc []float32
	absBias                  []float32
	both                     bool
	images                   int
	epilogue                 Epilogue
	gate                     []float32
	part, parts              int
}

func (l *Small) apply(a *asm.ConvArgs, w smallWork) {
	if w.images == 0 {
		return
	}
	p := l.plan
	check := func(dst, src []float32) ([]float32, []float32) {
		dst = dst[:mustFit("destination", len(dst), w.images*p.out)]
		src = src[:mustFit("source", len(src), w.images*p.in)]
		raceRead(src)
		if w.parts == 1 { // parts interleave in memory
			raceWrite(dst)
		}
		return dst, src
	}
	w.dst, w.src = check(w.dst, w.src)
	if w.both {
		w.absDst, w.absSrc = check(w.absDst, w.absSrc)
	}
	a.Epilogue = int(w.epilogue)
	first, end, narrow := 0, l.tiles, l.narrow
	if l.onePixel() { // split the channels, in pairs of tiles
		pairs := (l.tiles + 1) / 2
		first, end = 2*(pairs*w.part/w.parts), min(l.tiles, 2*(pairs*(w.part+1)/w.parts))
		narrow = narrow && w.part == w.parts-1
	}
	for i := range p.classes {
		c := &p.classes[i]
		pixels := c.pixels
		if !l.onePixel() { // split the pixels
			pixels = pixels[len(pixels)*w.part/w.parts : len(pixels)*(w.part+1)/w.parts]
		}
		if c.y.n == 0 || c.x.n == 0 {
			if !l.onePixel() || w.part == 0 {
				l.fill(pixels, l.bias, w.dst, &w)
				if w.both {
					l.fill(pixels, w.absBias, w.absDst, &w)
				}
			}
			continue
		}
		for t, n := first, 0; t < end; t += n {
			n = min(end-t, l.tilesAtOnce(c))
			l.run(a, c, pixels, &w, t, n, smallTile)
		}
		if narrow {
			l.run(a, c, pixels, &w, l.tiles, 1, narrowTile)
		}
	}
}

// tilesAtOnce is Linear's for these tiles, an even number.
func (l *Small) tilesAtOnce(c *class) int {
	return max(2, tilesInCache(c.y.n*c.x.n*l.plan.inC*smallTile*l.weights.bytes())&^1)
}

// run computes tiles tiles of width channels from first on, at some pixels of c
// in every image.
func (l *Small) run(a *asm.ConvArgs, c *class, pixels []pixel, w *smallWork, first, tiles, width int) {
	p, ph := l.plan, &l.plan.phases[c.phase]
	set, sets := p.isa.tiles(l.weights, w.both), 1 // kernels, and pixels they take for one of ours
	if w.both {
		sets = 2
	}
	size := l.weights.bytes()
	tapBytes := size * p.inC * width
	tileBytes := len(ph.tapsY) * len(ph.tapsX) * tapBytes
	a.Segs = c.y.n
	a.SegLen = 4 * c.x.n * p.inC
	a.SegSkip = 4*p.srcRow - a.SegLen
	a.WSegSkip = (len(ph.tapsX) - c.x.n) * tapBytes
	a.WTile = tileBytes
	used := a.Segs * len(ph.tapsX) * tapBytes
	call := func(n, vecs, at, count int) { // count tiles, or pairs
		a.Tiles = count
		a.W = unsafe.Pointer(&l.phase(c.phase, at)[(c.y.first*len(ph.tapsX)+c.x.first)*p.inC*width*size])
		a.Bias = unsafe.Pointer(&l.bias[at*smallTile])
		if w.both {
			a.AbsBias = unsafe.Pointer(&w.absBias[at*smallTile])
		}
		a.WTileSkip = max(1, vecs/2)*tileBytes - used
		a.Mask = l.cover(at*smallTile+count*8*vecs, vecs)
		set[n*sets][vecs](a)
	}
	total := w.images * len(pixels)
	for done := 0; done < total; {
		n := smallPixels(total-done, width, w.both)
		for j := range n {
			k := min(done+j, total-1)
			px := pixels[k%len(pixels)]
			img := k / len(pixels)
			in, out := 4*(img*p.in+int(px.in)), 4*(img*p.out+int(px.out)+first*smallTile)
			a.In[j], a.Out[j] = unsafe.Add(base(w.src), in), unsafe.Add(base(w.dst), out)
			if w.both {
				a.In[n+j], a.Out[n+j] = unsafe.Add(base(w.absSrc), in), unsafe.Add(base(w.absDst), out)
			}
		}
		switch {
		case width == narrowTile:
			call(n, 1, first, 1)
		case n == 1 && tiles > 1: // one pixel: pairs of tiles, to have enough sums at a time
			call(1, 4, first, tiles/2)
			if tiles%2 == 1 {
				for j := range sets {
					a.Out[j] = unsafe.Add(a.Out[j], 4*(tiles-1)*smallTile)
				}
				call(1, 2, first+tiles-1, 1)
			}
		default:
			call(n, 2, first, tiles)
		}
		done += n
	}
}

// cover returns the mask of the last of the tiles that end before channel end;
// nil if it is full.
func (l *Small) cover(end, vecs int) unsafe.Pointer {
	if end <= l.plan.outC {
		return nil
	}
	return unsafe.Pointer(&l.mask[len(l.mask)-8*vecs])
}

// fill is Linear.fill: what is left of sums without taps.
func (l *Small) fill(pixels []pixel, bias, dst []float32, w *smallWork) {
	for img := range w.images {
		for _, px := range pixels {
			at := img*l.plan.out + int(px.out)
			for o, b := range bias[:l.plan.outC] {
				var gv float32
				if w.epilogue == Gate {
					gv = w.gate[at+o]
				}
				dst[at+o] = epilogue(b, w.epilogue, gv)
			}
		}
	}
}

// smallPixels picks the kernel for what is left of the pixels; a surplus pixel
// of a kernel repeats the last one.
func smallPixels(left, width int, both bool) int {
	switch {
	case both && width == narrowTile:
		return 4
	case both:
		return min(left, 3)
	case width == narrowTile:
		return 8
	case left >= 4:
		return 6
	}
	return left
}
