package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// worker owns the buffers of one goroutine, or of a pool where images are single.
type worker struct {
	pass
	v        *IBP
	slots    int
	m        []float32    // M of step 4, the input of the last layer in magnitude
	spec     [3][]float32 // C, R, V of the last layer, if merged
	lo1, hi1 []float32    // one image, channels first
	last     *lastRows    // nil if the last layer is merged
	boxes    map[int]net.Box
}

// newWorker returns a worker for up to slots images; goroutines call it.
func newWorker(v *IBP, layout net.Layout, slots, goroutines int) *worker {
	w := &worker{
		pass: pass{program: v.program, layout: layout, pool: v.pool, sc: make([]kernels.Scratch, goroutines)},
		v:    v, slots: slots, boxes: map[int]net.Box{},
	}
	w.init(slots)
	alloc := func(size int) []float32 { return kernels.Alloc(layout.Len(layout.Blocks(slots), size)) }
	buffers := v.net.Buffers()
	most := make([]int, len(buffers))
	for k := range len(v.steps) + 1 {
		most[buffers[k]] = max(most[buffers[k]], v.size(k))
	}
	c, r := make([][]float32, len(most)), make([][]float32, len(most))
	for i, size := range most {
		c[i], r[i] = alloc(size), alloc(size)
	}
	for k := range len(v.steps) + 1 { // they share memory as net.Network.Buffers says
		w.c, w.r = append(w.c, c[buffers[k]]), append(w.r, r[buffers[k]])
	}
	if s := &v.spec; s.merged {
		rows := s.rowCount()
		w.m = alloc(s.affine.Shape.In())
		w.spec = [3][]float32{alloc(rows), alloc(rows), alloc(s.outputs.Size())}
	}
	w.lo1, w.hi1 = make([]float32, v.size(0)), make([]float32, v.size(0))
	w.last = newLastRows(v)
	return w
}

// load puts the input of image i into slot: the ball's outer box (lo in c, hi in r),
// and for L2 and L1 its centre.
func (w *worker) load(slot, i int, norm net.Norm, box net.Box) {
	n := w.v.net
	in := n.Input()
	size, hw := in.Size(), in.H*in.W
	img := w.v.b.X[i*size : (i+1)*size]
	mean, std := n.Normalization()
	w.eps[slot] = box.EpsHi()
	if norm != net.Linf {
		if w.dual == nil {
			out := w.dualRows()
			if s := &w.v.spec; s.merged && s.affine.Src == 0 {
				out = max(out, s.rowCount())
			}
			w.dual = newDualInput(&w.pass, w.slots, out)
		}
		copy(w.lo1, img)
		for k := range w.lo1 {
			if mean != nil {
				w.lo1[k] = (w.lo1[k] - mean[k/hw]) / std[k/hw]
			}
		}
		w.layout.Pack(w.dual.c, w.lo1, in, slot)
	}
	box.Outer(w.lo1, w.hi1, img)
	if mean != nil {
		for k := range w.lo1 {
			m, s := mean[k/hw], std[k/hw]
			w.lo1[k], w.hi1[k] = normalizeOut((w.lo1[k]-m)/s, (w.hi1[k]-m)/s)
		}
	}
	w.layout.Pack(w.c[0], w.lo1, in, slot)
	w.layout.Pack(w.r[0], w.hi1, in, slot)
}

// bound carries the loaded inputs of n images through the network.
func (w *worker) bound(norm net.Norm, n int) {
	w.blocks, w.norm = w.layout.Blocks(n), norm
	len0 := w.length(w.size(0))
	w.net.ISA().IntervalBox(&w.sc[0], w.c[0][:len0], w.r[0][:len0], w.constants(0, false))
	if norm != net.Linf {
		w.dualRadii()
	}
	w.run()
	if w.v.spec.merged {
		w.boundMargins()
	}
}

// boundMargins bounds the rows of the merged last layer.
func (w *worker) boundMargins() {
	s := &w.v.spec
	src := s.affine.Src
	w.rows(s, src, s.rowCount(), w.spec[0], w.spec[1])
	ofR := float32(keep(termLogitRadius, 1))
	for k, c := range w.c[src][:w.used(s.affine.Shape.In())] {
		w.m[k] = float32(math.Abs(float64(c))) + float32(ofR*w.r[src][k])
	}
	w.apply(&s.logits, w.spec[2], w.m)
}

// margin returns a proved lower bound of the smallest margin of label y.
func (w *worker) margin(slot, y int) float32 {
	low := float32(math.Inf(1))
	w.prepare(slot)
	for j := range w.v.spec.outputs.Size() {
		if j != y {
			low = min(low, w.low(slot, y, j))
		}
	}
	return low
}

// prepare is to be called before low, once for an image.
func (w *worker) prepare(slot int) {
	if w.last != nil {
		w.last.prepare(w, slot)
	}
}

// low returns a proved lower bound of z_y − z_j of an image.
func (w *worker) low(slot, y, j int) float32 {
	s := &w.v.spec
	classes, l := s.outputs.Size(), w.layout
	if !s.merged {
		last := len(w.c) - 1
		c, r := l.Slot(w.c[last], classes, slot), l.Slot(w.r[last], classes, slot)
		low := s.apart(c, r, int(l), y, j)
		if w.last != nil {
			low = max(low, w.last.low(w.last.memory(y), w.last.memory(j)))
		}
		return low
	}
	rows := s.rowCount()
	return s.low(l.Slot(w.spec[0], rows, slot), l.Slot(w.spec[1], rows, slot), l.Slot(w.spec[2], classes, slot), int(l), y, j)
}
