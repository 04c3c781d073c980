package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// smallTile is the number of output channels of a weight tile of Small.
const smallTile = 16

// Small is the forward map of a convolution on single images: activations are
// [image][height][width][channel], and vectors run over output channels. For a
// few images it is several times faster than Linear, whose lanes would idle;
// its sums are the same chains, so its results are the same bits. After Pack
// and SetBias it is read-only and safe for concurrent use.
type Small struct {
	plan   *Linear
	tiles  int
	packed []float32 // [tile][tapY][tapX][inC][16]
	bias   []float32
	mask   [4 * smallTile]uint32 // ones, and the last tile's channels at the end
}

// NewSmall returns y = W·x + b for a convolution of the given geometry, with
// all weights zero.
func NewSmall(isa *ISA, s Shape) *Small {
	l := &Small{plan: forwardPlan(isa, s), tiles: (s.OutC + smallTile - 1) / smallTile}
	l.packed = Alloc(l.tiles * s.FanIn() * smallTile)
	l.bias = Alloc(l.tiles * smallTile)
	for i := range l.mask {
		if i < 3*smallTile || i-3*smallTile < s.OutC-(l.tiles-1)*smallTile {
			l.mask[i] = 1<<32 - 1
		}
	}
	return l
}

// Bytes returns the memory held by the packed weights.
func (l *Small) Bytes() int { return 4 * (cap(l.packed) + cap(l.bias)) }

// In and Out return the numbers of elements of one image.
func (l *Small) In() int  { return l.plan.in }
func (l *Small) Out() int { return l.plan.out }

// Pack takes the weights, [OutC][InC][KH][KW], as they are or, with abs, their
// absolute values.
func (l *Small) Pack(w []float32, abs bool) {
	s := l.plan.shape
	mustLen("weights", len(w), s.Weights())
	mask := float32Mask(abs)
	taps := s.KH * s.KW
	for o := range s.OutC {
		d := l.packed[o/smallTile*s.FanIn()*smallTile+o%smallTile:]
		for c := range s.InC {
			for k := range taps {
				d[(k*s.InC+c)*smallTile] = maskFloat32(w[(o*s.InC+c)*taps+k], mask)
			}
		}
	}
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
		return min(workers, (l.tiles+1)/2)
	}
	return min(workers, l.plan.shape.OutH())
}

func (l *Small) onePixel() bool { return l.plan.out == l.plan.outC }

// Apply computes part of parts of dst for images images of src, with the sums
// of Linear.Apply. The epilogue is None or ReLU. Parts are independent.
func (l *Small) Apply(sc *Scratch, dst, src []float32, images int, e Epilogue, part, parts int) {
	if images == 0 {
		return
	}
	p := l.plan
	dst = dst[:mustFit("destination", len(dst), images*p.out)]
	src = src[:mustFit("source", len(src), images*p.in)]
	if e == Gate {
		panic("kernels: Small has no gate")
	}
	raceRead(src)
	if parts == 1 { // parts interleave in memory
		raceWrite(dst)
	}
	a := &sc.conv
	a.Epilogue = int(e)
	first, tiles := 0, l.tiles
	if l.onePixel() { // split the channels, in pairs of tiles
		pairs := (l.tiles + 1) / 2
		first = 2 * (pairs * part / parts)
		tiles = min(l.tiles, 2*(pairs*(part+1)/parts)) - first
	}
	if tiles <= 0 {
		return
	}
	for i := range p.classes {
		c := &p.classes[i]
		from, to := 0, len(c.pixels)
		if !l.onePixel() { // split the pixels
			from, to = to*part/parts, to*(part+1)/parts
		}
		for t, n := first, 0; t < first+tiles; t += n {
			n = min(first+tiles-t, l.tilesAtOnce(c))
			l.run(a, c, dst, src, images, from, to, t, n)
		}
	}
}

// tilesAtOnce is Linear's for these tiles, an even number.
func (l *Small) tilesAtOnce(c *class) int {
	const budget = 256 << 10
	return max(2, budget/(c.y.n*c.x.n*l.plan.inC*smallTile*4)&^1)
}

// run computes tiles tiles of channels from first on, at the pixels [from, to)
// of c in every image.
func (l *Small) run(a *asm.ConvArgs, c *class, dst, src []float32, images, from, to, first, tiles int) {
	p := l.plan
	s := &p.shape
	tapBytes := 4 * p.inC * smallTile
	tileBytes := s.KH * s.KW * tapBytes
	a.Segs = c.y.n
	a.SegLen = 4 * c.x.n * p.inC
	a.SegSkip = 4*p.srcRow - a.SegLen
	a.WSegSkip = (s.KW - c.x.n) * tapBytes
	a.WTile = tileBytes
	used := a.Segs * s.KW * tapBytes
	weights := func(tile int) unsafe.Pointer {
		return unsafe.Pointer(&l.packed[(tile*s.KH*s.KW+c.y.first*s.KW+c.x.first)*p.inC*smallTile])
	}
	last := first+tiles == l.tiles
	call := func(n, vecs, at, count int, end bool) { // count tiles, or pairs
		a.Tiles = count
		a.W, a.Bias = weights(at), unsafe.Pointer(&l.bias[at*smallTile])
		a.WTileSkip = vecs/2*tileBytes - used
		mask := 0
		if end {
			mask = len(l.mask) - vecs*8
		}
		a.Mask = unsafe.Pointer(&l.mask[mask])
		p.isa.small[n][vecs](a)
	}
	total := images * (to - from)
	for done := 0; done < total; {
		n := smallPixels(total - done)
		for j := range n {
			k := min(done+j, total-1)
			px := c.pixels[from+k%(to-from)]
			img := k / (to - from)
			a.In[j] = unsafe.Add(base(src), 4*(img*p.in+int(px.in)))
			a.Out[j] = unsafe.Add(base(dst), 4*(img*p.out+int(px.out)+first*smallTile))
		}
		if n == 1 && tiles > 1 { // one pixel: pairs of tiles, to have enough sums at a time
			call(1, 4, first, tiles/2, last && tiles%2 == 0)
			if tiles%2 == 1 {
				a.Out[0] = unsafe.Add(a.Out[0], 4*(tiles-1)*smallTile)
				call(1, 2, first+tiles-1, 1, last)
			}
		} else {
			call(n, 2, first, tiles, last)
		}
		done += n
	}
}

// smallPixels picks the kernel for what is left of the pixels; a surplus pixel
// of a kernel repeats the last one.
func smallPixels(left int) int {
	switch {
	case left >= 4:
		return 6
	case left == 3:
		return 3
	}
	return left
}
