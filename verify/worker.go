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
	c, r     [2][]float32 // alternate from layer to layer
	m        []float32    // M of step 4, the input of the last layer in magnitude
	spec     [3][]float32 // C, R, V of the last layer
	lo1, hi1 []float32    // one image, channels first
	eps      [net.ChunkGroups * kernels.Lanes]float64
	sc       []kernels.Scratch

	boxes map[int]net.Box                 // of the radius search, by grid point
	trace func(layer int, c, r []float32) // sees C and R of each layer (Bounds)

	product product // being computed
	part    func(worker, part int)
}

// newWorker returns a worker for up to slots images; goroutines call it.
func newWorker(v *IBP, layout net.Layout, slots, goroutines int) *worker {
	w := &worker{v: v, layout: layout, sc: make([]kernels.Scratch, goroutines), boxes: map[int]net.Box{}}
	w.part = w.applyPart
	size := v.net.Input().Size()
	largest, last := size, size
	for _, l := range v.layers {
		last = l.affine.Shape.Out()
		largest = max(largest, last)
	}
	alloc := func(size int) []float32 { return kernels.Alloc(layout.Len(layout.Blocks(slots), size)) }
	for i := range 2 {
		w.c[i], w.r[i] = alloc(largest), alloc(largest)
	}
	w.m = alloc(last)
	rows := v.spec.rowCount()
	w.spec = [3][]float32{alloc(rows), alloc(rows), alloc(v.spec.classes)}
	w.lo1, w.hi1 = make([]float32, size), make([]float32, size)
	return w
}

// load puts the input of image i into slot: the outer box for Linf (lo in
// c, hi in r), the centre alone for L2 and L1.
func (w *worker) load(slot, i int, norm net.Norm, box net.Box) {
	n := w.v.net
	in := n.Input()
	size, hw := in.Size(), in.H*in.W
	img := w.v.b.X[i*size : (i+1)*size]
	mean, std := n.Normalization()
	w.eps[slot] = box.EpsHi()
	if norm != net.Linf {
		copy(w.lo1, img)
		for k := range w.lo1 {
			if mean != nil {
				w.lo1[k] = (w.lo1[k] - mean[k/hw]) / std[k/hw]
			}
		}
		w.layout.Pack(w.c[0], w.lo1, in, slot)
		return
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
	if norm != net.Linf {
		w.dualInput(blocks)
	} else {
		isa.IntervalBox(sc, w.c[0][:len0], w.r[0][:len0], v.boundOf(0).interval(false))
	}
	cur := 0
	for i := range v.layers {
		l := &v.layers[i]
		next := 1 - cur
		w.applyBoth(&l.maps, w.c[next], w.c[cur], w.r[next], w.r[cur], blocks)
		size := l.affine.Shape.Out()
		out := w.layout.Len(blocks, size)
		if norm != net.Linf && i == 0 {
			w.addDual(w.r[next], l.dual.of(norm), blocks, size)
		}
		if w.trace != nil {
			w.trace(i, w.c[next], w.r[next])
		}
		isa.IntervalAffine(sc, w.c[next][:out], w.r[next][:out], v.boundOf(i+1).interval(l.affine.ReLU))
		cur = next
	}
	s := &v.spec
	w.applyBoth(&s.rows, w.spec[0], w.c[cur], w.spec[1], w.r[cur], blocks)
	if norm != net.Linf && len(v.layers) == 0 {
		w.addDual(w.spec[1], s.dual.of(norm), blocks, s.rowCount())
	}
	if s.merged {
		if norm == net.Linf || len(v.layers) > 0 {
			in := w.c[cur][:blocks*int(w.layout)*s.bound.fanIn]
			for k, c := range in {
				w.m[k] = float32(math.Abs(float64(c))) + w.r[cur][k]
			}
		}
		w.apply(&s.logits, w.spec[2], w.m, blocks)
	}
}

// boundOf returns the constants of affine layer i.
func (v *IBP) boundOf(i int) *bound {
	if i < len(v.layers) {
		return &v.layers[i].bound
	}
	return &v.spec.bound
}

// slotOf returns the slot of element k of a tensor with size elements an image.
func (w *worker) slotOf(k, size int) int {
	l := int(w.layout)
	return k/(size*l)*l + k%l
}

// dualInput fills the radii for an L2 or L1 ball from the centres (step 5), and m in
// case the first layer is the last.
func (w *worker) dualInput(blocks int) {
	n, l := w.v.net, int(w.layout)
	_, std := n.Normalization()
	b := w.v.boundOf(0)
	size, ch := n.Input().Size(), n.Input().C
	for k := range blocks * size * l {
		eps := w.eps[w.slotOf(k, size)]
		if std != nil {
			eps /= float64(std[k/l%ch])
		}
		c := float64(w.c[0][k])
		w.r[0][k] = b.dualRadius(c, eps)
		if len(w.v.layers) == 0 {
			w.m[k] = up32(float64((math.Abs(c)+eps)*(1+slack)) + tiny)
		}
	}
}

// addDual adds ε·dual to the radii of the first layer's outputs, size an image.
func (w *worker) addDual(r, dual []float32, blocks, size int) {
	l := int(w.layout)
	for k := range r[:blocks*size*l] {
		d := w.eps[w.slotOf(k, size)] * float64(dual[k/l%len(dual)])
		r[k] = addUp(r[k], up32(d*(1+slack)))
	}
}

// margin returns a proved lower bound of the smallest margin of label y.
func (w *worker) margin(slot, y int) float32 {
	s := &w.v.spec
	rows := s.rowCount()
	c, r := w.layout.Slot(w.spec[0], rows, slot), w.layout.Slot(w.spec[1], rows, slot)
	v := w.layout.Slot(w.spec[2], s.classes, slot)
	low := float32(math.Inf(1))
	for j := range s.classes {
		if j != y {
			low = min(low, s.low(c, r, v, int(w.layout), y, j))
		}
	}
	return low
}
