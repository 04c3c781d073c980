package kernels

import "unsafe"

// Pack takes the weights, [OutC][InC][KH][KW] of the convolution for a forward
// map and its adjoint alike; with abs their absolute values. It must not run
// while another goroutine uses l.
func (l *Linear) Pack(w []float32, abs bool) {
	for part := range l.shape.PackParts() {
		l.PackPart(w, abs, part)
	}
}

// packWeights is the size of a part from which more threads pay, packRows the
// least number of its rows: the packed weights of an adjoint are written in runs
// as long.
const (
	packWeights = 64 << 10
	packRows    = 16
)

func (s Shape) partRows() int { return max(packRows, packWeights/s.FanIn()&^(tileChannels-1)) }

// PackParts returns the number of parts in which weights of this shape can be
// packed.
func (s Shape) PackParts() int { return (s.OutC + s.partRows() - 1) / s.partRows() }

// PackRows returns the output channels [from, to) of a part, those of the
// convolution for its adjoint too.
func (s Shape) PackRows(part int) (from, to int) {
	n := s.partRows()
	return part * n, min(s.OutC, (part+1)*n)
}

// PackPart is Pack of one part. Parts are independent of each other.
func (l *Linear) PackPart(w []float32, abs bool, part int) {
	s := l.shape
	mustLen("weights", len(w), s.Weights())
	from, to := s.PackRows(part)
	raceRead(w[from*s.FanIn() : to*s.FanIn()])
	p := packer{words(w), float32Mask(abs)}
	taps := s.KH * s.KW
	switch {
	case taps == 1 && l.adjoint && len(l.phases) == 1:
		p.runs(l.isa, words(l.packed), s, from, to)
	case taps == 1 && !l.adjoint:
		p.rows(l.isa, words(l.packed), s, from, to)
	default:
		p.general(l, from, to)
	}
}

// words is s as bit patterns: masking them needs no register of floats.
func words(s []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(s))), len(s))
}

type packer struct {
	w    []uint32
	mask uint32
}

func (p packer) general(l *Linear, from, to int) {
	s := l.shape
	tile, run := s.InC*s.KH*s.KW, s.KH*s.KW // distances of a tile's channels, of the others
	firstO, lastO, firstC, lastC := from, to, 0, s.InC
	if l.adjoint {
		tile, run = run, tile
		firstO, lastO, firstC, lastC = 0, s.InC, from, to
	}
	for _, ph := range l.phases {
		taps := len(ph.tapsY) * len(ph.tapsX)
		for o := firstO; o < lastO; o += tileChannels {
			r := min(tileChannels, l.outC-o)
			d := words(l.packed[ph.offset+o*taps*l.inC:])
			for _, ky := range ph.tapsY {
				for _, kx := range ph.tapsX {
					p.interleave(d[firstC*r:lastC*r], o*tile+firstC*run+ky*s.KW+kx, r, tile, run)
					d = d[l.inC*r:]
				}
			}
		}
	}
}

// interleave fills d with r weights, tile apart from the index at on, then those
// run further on, and so forth.
func (p packer) interleave(d []uint32, at, r, tile, run int) {
	if r == tileChannels {
		for ; len(d) >= 4; d = d[4:] {
			w := p.w[at : at+3*tile+1]
			d[0], d[1], d[2], d[3] = w[0]&p.mask, w[tile]&p.mask, w[2*tile]&p.mask, w[3*tile]&p.mask
			at += run
		}
		return
	}
	for ; len(d) > 0; d = d[r:] {
		for i := range r {
			d[i] = p.w[at+i*tile] & p.mask
		}
		at += run
	}
}

// rows packs rows of an FC layer, or of 1×1 kernels: four of them side by side.
func (p packer) rows(isa *ISA, d []uint32, s Shape, from, to int) {
	vectors := s.InC / 8
	whole := 8 * vectors
	for o := from; o < to; o += tileChannels {
		r := min(tileChannels, to-o)
		dst, at := d[o*s.InC:(o+r)*s.InC], o*s.InC
		if r == tileChannels && vectors > 0 {
			isa.transpose4(unsafe.Pointer(&dst[0]), unsafe.Pointer(&p.w[at]), 16, 4*s.InC, vectors, p.mask)
			dst, at = dst[r*whole:], at+whole
		}
		p.interleave(dst, at, r, s.InC, 1)
	}
}

// runs packs the same for an adjoint: four weights of each row side by side. It
// takes those of four tiles, a cache line, at once: rows may lie a power of two
// apart, so that the caches hold few of their lines.
func (p packer) runs(isa *ISA, d []uint32, s Shape, from, to int) {
	const line = 4 * tileChannels
	o := 0
	for ; o+line <= s.InC; o += line {
		isa.dealRows(unsafe.Pointer(&d[o*s.OutC+from*tileChannels]), unsafe.Pointer(&p.w[from*s.InC+o]),
			4*tileChannels*s.OutC, 4*s.InC, to-from, p.mask)
	}
	for ; o < s.InC; o += tileChannels {
		r := min(tileChannels, s.InC-o)
		p.interleave(d[o*s.OutC+from*r:][:r*(to-from)], from*s.InC+o, r, 1, s.InC)
	}
}

// Transpose writes the rows×cols matrix src to dst, row by row, with rows and
// columns exchanged.
func (i *ISA) Transpose(dst, src []float32, rows, cols int) {
	mustLen("matrix", len(src), rows*cols)
	mustLen("transposed matrix", len(dst), rows*cols)
	raceRead(src)
	raceWrite(dst)
	d, s := words(dst), words(src)
	wholeRows, wholeCols := rows&^3, cols&^7
	// What is written of a block of columns stays in the L2 cache.
	const budget = 128 << 10 / 4
	block := max(8, budget/max(1, rows)&^7)
	for c := 0; c < wholeCols; c += block {
		n := min(block, wholeCols-c) / 8
		for r := 0; r < wholeRows; r += 4 {
			i.transpose4(unsafe.Pointer(&d[c*rows+r]), unsafe.Pointer(&s[r*cols+c]), 4*rows, 4*cols, n, float32Mask(false))
		}
	}
	for r := range rows {
		c := wholeCols
		if r >= wholeRows {
			c = 0
		}
		for ; c < cols; c++ {
			d[c*rows+r] = s[r*cols+c]
		}
	}
}
