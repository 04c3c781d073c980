package kernels

import "fmt"

// Pack is Linear.Pack. Weights of 16 bits are rounded; a caller that means w has such
// values in it.
func (l *Small) Pack(w []float32, abs bool) {
	mustLen("weights", len(w), l.plan.shape.Weights())
	for o := 0; o < l.plan.outC; o += smallTile {
		l.packTile(w, 0, o, abs)
	}
}

// PackRows is Pack for some output channels of NewSmall: a multiple of 16 of them from
// channel from on, or all up to the last. w has only their rows.
func (l *Small) PackRows(w []float32, from int) {
	row := l.plan.shape.FanIn()
	to := from + len(w)/row
	if l.plan.adjoint || from%smallTile != 0 || to%smallTile != 0 && to != l.plan.outC || len(w)%row != 0 {
		panic(fmt.Sprintf("kernels: weights: %d values from channel %d on", len(w), from))
	}
	for o := from; o < to; o += smallTile {
		l.packTile(w, from, o, false)
	}
}

// packBlock is the number of input channels whose weights are packed row by row: rows
// lie far apart, and column by column would miss the cache.
const packBlock = 64

// packTile packs the tile of output channels that begins with o; w begins with
// channel from.
func (l *Small) packTile(w []float32, from, o int, abs bool) {
	if l.inPlace {
		panic("kernels: weights in place are packed")
	}
	p, s, size := l.plan, l.plan.shape, l.weights.bytes()
	dstStride, srcStride := s.InC*s.KH*s.KW, s.KH*s.KW
	if p.adjoint {
		dstStride, srcStride = srcStride, dstStride
	}
	mask := float32Mask(abs)
	r, room := min(smallTile, p.outC-o), min(smallTile, l.width-o)
	for i, ph := range p.phases {
		d := l.phase(i, o/smallTile)
		for _, ky := range ph.tapsY {
			for _, kx := range ph.tapsX {
				src := w[(o-from)*dstStride+ky*s.KW+kx:]
				for c := 0; c < p.inC; c += packBlock {
					n := min(packBlock, p.inC-c)
					for k := range r {
						l.weights.scatter(d[k*size:], room, src[k*dstStride+c*srcStride:], srcStride, n, mask)
					}
					d = d[n*room*size:]
				}
			}
		}
	}
}
