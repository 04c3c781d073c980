package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// joinedSet are kernels that take two lane groups at once, for which join puts the inputs
// of both side by side. It may be nil.
type joinedSet struct {
	conv convSet // two tiles of channels
	join func(dst, a, b unsafe.Pointer, n int)
}

// joins reports whether two lane groups at once pay: joining takes the time of some four
// products of each input, and the kernels are slower to begin and to end. Where there are few
// pixels, the other kernels have too few as well.
func (l *Linear) joins(groups int) bool {
	const steps, products, few, productsOfFew = 24, 192, 8, 32
	pixels := l.out / l.outC
	if l.isa.joined == nil || groups < 2 || l.taps*l.inC < steps*pixels {
		return false
	}
	least := products
	if pixels < few {
		least = productsOfFew
	}
	return l.taps*l.inC*(l.outC/(2*tileChannels)*2*tileChannels) >= least*l.in
}

// applyJoined is Apply of full pairs of tiles, groups being even, at pixels that have taps.
// It joins a band of input rows at a time, which stays in the L2 cache; of several pairs of
// groups, if all of their rows fit.
func (l *Linear) applyJoined(sc *Scratch, dst, src []float32, groups int) {
	const pairBytes = 2 * vecBytes
	most := l2Cache / 2 / pairBytes // pairs of lane vectors
	atOnce := max(1, min(groups/2, most/l.in))
	outGroup := l.out * vecBytes
	a := &sc.conv
	a.Pair = outGroup
	for g := 0; g < groups; g += 2 * atOnce {
		n := min(atOnce, (groups-g)/2)
		for y := 0; y < len(l.rows); {
			end, in := l.band(y, most)
			if in.n == 0 { // no taps
				break
			}
			size := in.n * l.srcRow
			joined := room(&sc.joined, n*size*2*Lanes)
			for k := range n {
				from := base(src[((g+2*k)*l.in+in.first*l.srcRow)*Lanes:])
				l.isa.joined.join(unsafe.Add(base(joined), k*size*pairBytes), from, unsafe.Add(from, l.in*vecBytes), size)
			}
			for i := range l.classes {
				c := &l.classes[i]
				if c.y.n == 0 || c.x.n == 0 {
					continue
				}
				w := walk{
					set: &l.isa.joined.conv, tiles: 2, pixels: c.within(y, end, l.out/len(l.rows)), groups: n,
					in: base(joined), skip: in.first * l.srcRow * pairBytes, out: unsafe.Add(base(dst), g*outGroup),
					vec: pairBytes, inGroup: size * pairBytes, outGroup: 2 * outGroup,
				}
				if len(w.pixels) > 0 {
					l.pairsOfTiles(a, c, &w, most)
				}
			}
			y = end
		}
	}
}

// pairsOfTiles computes full pairs of tiles at the pixels of w. For a single pixel of many
// inputs it takes these in parts, which stay in the L2 cache while weights pass by; sums
// wait in the outputs.
func (l *Linear) pairsOfTiles(a *asm.ConvArgs, c *class, w *walk, most int) {
	full := l.outC / (2 * tileChannels) * 2
	part := max(16, most/2/w.groups)
	if len(c.pixels) > 1 || c.y.n > 1 || l.in <= part {
		l.full(a, c, w, 0, full)
		return
	}
	e := a.Epilogue
	a.Epilogue = asm.EpilogueNone
	for k, n := 0, c.x.n*l.inC; k < n; k = w.to {
		w.from, w.to = k, min(n, k+part)
		w.skip = -k * w.vec
		if w.to == n {
			a.Epilogue = e
		}
		l.full(a, c, w, 0, full)
		a.Resume = 1
	}
	a.Resume = 0
}

// rowSpan are rows first … first+n−1.
type rowSpan struct{ first, n int }

// band returns the end of the output rows from y on whose input rows, which it returns too,
// have at most so many lane vectors; at least one.
func (l *Linear) band(y, most int) (end int, in rowSpan) {
	for end = y; end < len(l.rows); end++ {
		r := l.rows[end]
		from, to := in.first, in.first+in.n
		switch {
		case r.n == 0:
			continue
		case in.n == 0:
			from, to = r.first, r.first+r.n
		default:
			from, to = min(from, r.first), max(to, r.first+r.n)
		}
		if in.n > 0 && (to-from)*l.srcRow > most {
			break
		}
		in = rowSpan{from, to - from}
	}
	return end, in
}

// within returns the pixels in the output rows from … to−1, each of row elements.
func (c *class) within(from, to, row int) []pixel {
	i := 0
	for i < len(c.pixels) && int(c.pixels[i].out) < from*row {
		i += c.wide
	}
	j := i
	for j < len(c.pixels) && int(c.pixels[j].out) < to*row {
		j += c.wide
	}
	return c.pixels[i:j]
}
