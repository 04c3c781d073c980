package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// worker owns the buffers of one goroutine, or of a pool where images are single.
type intervalWorker struct {
	pass
	v      *intervalRung
	slots  int
	m      []float32    // M of step 4, the input of the last layer in magnitude
	merged [3][]float32 // C, R, V of the last layer, if merged
	one    [3][]float32 // box and centre of a region, channels first
	last   *lastRows    // nil if the last layer is merged
	boxes  map[int]net.Box
}

// newIntervalWorker returns a worker for up to slots images; goroutines call it.
func newIntervalWorker(v *intervalRung, layout net.Layout, slots, goroutines int) *intervalWorker {
	w := &intervalWorker{
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
	if s := &v.margins; s.merged {
		rows := s.rowCount()
		w.m = alloc(s.affine.Shape.In())
		w.merged = [3][]float32{alloc(rows), alloc(rows), alloc(s.outputs.Size())}
	}
	for i := range w.one {
		w.one[i] = make([]float32, v.size(0))
	}
	w.last = newLastRows(v)
	return w
}

// load puts a region into slot: its outer box (lo in c, hi in r), and for L2 and L1 its
// centre.
func (w *intervalWorker) load(slot int, a *area) {
	in := w.net.Input()
	lo, hi, centre := w.one[0], w.one[1], w.one[2]
	if a.norm == net.Linf {
		centre = nil
	} else if w.dual == nil {
		out := w.dualRows()
		if s := &w.v.margins; s.merged && s.affine.Src == 0 {
			out = max(out, s.rowCount())
		}
		w.dual = newDualInput(&w.pass, w.slots, out)
	}
	w.scaling.load(a, lo, hi, centre)
	w.eps[slot] = a.eps()
	w.layout.Pack(w.c[0], lo, in, slot)
	w.layout.Pack(w.r[0], hi, in, slot)
	if centre != nil {
		w.layout.Pack(w.dual.c, centre, in, slot)
	}
}

// propagate carries the loaded inputs of n images through the network; trace, if not nil, sees
// what each node's forward gives.
func (w *intervalWorker) propagate(norm net.Norm, n int, trace func(node int, c, r []float32)) {
	w.blocks, w.norm = w.layout.Blocks(n), norm
	len0 := w.length(w.size(0))
	w.net.ISA().IntervalBox(&w.sc[0], w.c[0][:len0], w.r[0][:len0], w.constants(0, false))
	if norm != net.Linf {
		w.dualRadii()
	}
	w.run(trace)
	if w.v.margins.merged {
		w.boundMargins()
	}
}

// boundMargins bounds the rows of the merged last layer.
func (w *intervalWorker) boundMargins() {
	s := &w.v.margins
	src := s.affine.Src
	w.rows(s, src, s.rowCount(), w.merged[0], w.merged[1])
	ofR := float32(keep(termLogitRadius, 1))
	for k, c := range w.c[src][:w.used(s.affine.Shape.In())] {
		w.m[k] = float32(math.Abs(float64(c))) + float32(ofR*w.r[src][k])
	}
	w.apply(&s.logits, w.merged[2], w.m)
}

// margin returns a proved lower bound of the smallest margin of label y.
func (w *intervalWorker) margin(slot, y int) float32 {
	low := float32(math.Inf(1))
	w.prepare(slot)
	for j := range w.v.margins.outputs.Size() {
		if j != y {
			low = min(low, w.low(slot, y, j))
		}
	}
	return low
}

// prepare is to be called before low, once for an image.
func (w *intervalWorker) prepare(slot int) {
	if w.last != nil {
		w.last.prepare(w, slot)
	}
}

// low returns a proved lower bound of z_y − z_j of an image.
func (w *intervalWorker) low(slot, y, j int) float32 {
	s := &w.v.margins
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
	return s.low(l.Slot(w.merged[0], rows, slot), l.Slot(w.merged[1], rows, slot), l.Slot(w.merged[2], classes, slot), int(l), y, j)
}
