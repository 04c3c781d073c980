package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// worker owns the buffers of one goroutine, or of a pool where images are single:
// centres and radii in its layout.
type worker struct {
	v        *IBP
	layout   net.Layout
	slots    int
	c, r     [][]float32  // of each activation; they share memory as net.Network.Buffers says
	m        []float32    // M of step 4, the input of the last layer in magnitude
	spec     [3][]float32 // C, R, V of the last layer, if merged
	lo1, hi1 []float32    // one image, channels first
	dual     *dualInput   // of L1 and L2 balls; nil until the first
	last     *lastRows    // nil if the last layer is merged
	eps      [net.ChunkGroups * kernels.Lanes]float64
	sc       []kernels.Scratch

	boxes map[int]net.Box                 // of the radius search, by grid point
	trace func(layer int, c, r []float32) // sees C and R of each layer (Bounds)

	product product // being computed
	part    func(worker, part int)
}

// newWorker returns a worker for up to slots images; goroutines call it.
func newWorker(v *IBP, layout net.Layout, slots, goroutines int) *worker {
	w := &worker{v: v, layout: layout, slots: slots, sc: make([]kernels.Scratch, goroutines), boxes: map[int]net.Box{}}
	w.part = w.applyPart
	size := v.net.Input().Size()
	alloc := func(size int) []float32 { return kernels.Alloc(layout.Len(layout.Blocks(slots), size)) }
	buffers := v.net.Buffers()
	most := make([]int, len(buffers))
	most[buffers[0]] = size
	for i, l := range v.layers {
		b := &most[buffers[i+1]]
		*b = max(*b, l.affine.Shape.Out())
	}
	c, r := make([][]float32, len(most)), make([][]float32, len(most))
	for i, size := range most {
		c[i], r[i] = alloc(size), alloc(size)
	}
	for i := range len(v.layers) + 1 {
		w.c, w.r = append(w.c, c[buffers[i]]), append(w.r, r[buffers[i]])
	}
	if s := &v.spec; s.merged {
		rows := s.rowCount()
		w.m = alloc(s.affine.Shape.In())
		w.spec = [3][]float32{alloc(rows), alloc(rows), alloc(s.outputs.Size())}
	}
	w.lo1, w.hi1 = make([]float32, size), make([]float32, size)
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
			w.dual = newDualInput(w)
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
	v := w.v
	blocks := w.layout.Blocks(n)
	isa, sc := v.net.ISA(), &w.sc[0]
	len0 := w.layout.Len(blocks, v.net.Input().Size())
	isa.IntervalBox(sc, w.c[0][:len0], w.r[0][:len0], v.feeds[0].interval(false))
	if norm != net.Linf {
		w.dualRadii(blocks)
	}
	for i := range v.layers {
		l := &v.layers[i]
		a, c, r := l.affine, w.c[i+1], w.r[i+1]
		w.applyBoth(&l.maps, c, w.c[a.Src], r, w.r[a.Src], blocks)
		size := a.Shape.Out()
		out := w.layout.Len(blocks, size)
		c, r = c[:out], r[:out]
		if norm != net.Linf && a.Src == 0 {
			w.narrow(&l.maps, l.dual.of(norm), c, r, blocks, size)
		}
		if a.Skip >= 0 {
			isa.IntervalAdd(sc, c, r, w.c[a.Skip][:out], w.r[a.Skip][:out], sumConstants)
		}
		if w.trace != nil {
			w.trace(i, c, r)
		}
		if a.ReLU || i < len(v.net.Layers())-1 {
			isa.IntervalAffine(sc, c, r, v.feeds[i+1].interval(a.ReLU))
		}
	}
	if v.spec.merged {
		w.boundMargins(norm, blocks)
	}
}

// boundMargins bounds the rows of the merged last layer.
func (w *worker) boundMargins(norm net.Norm, blocks int) {
	s := &w.v.spec
	src := s.affine.Src
	w.applyBoth(&s.rows, w.spec[0], w.c[src], w.spec[1], w.r[src], blocks)
	if norm != net.Linf && src == 0 {
		w.narrow(&s.rows, s.dual.of(norm), w.spec[0], w.spec[1], blocks, s.rowCount())
	}
	ofR := float32(keep(termLogitRadius, 1))
	for k, c := range w.c[src][:blocks*int(w.layout)*s.affine.Shape.In()] {
		w.m[k] = float32(math.Abs(float64(c))) + float32(ofR*w.r[src][k])
	}
	w.apply(&s.logits, w.spec[2], w.m, blocks)
}

// slotOf returns the slot of element k of a tensor with size elements an image.
func (w *worker) slotOf(k, size int) int {
	l := int(w.layout)
	return k/(size*l)*l + k%l
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
