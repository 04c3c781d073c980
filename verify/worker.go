package verify

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// worker owns the buffers of one goroutine: centres and radii in lane layout.
type worker struct {
	v        *IBP
	c, r     [2][]float32 // alternate from layer to layer
	m        []float32    // M of step 4, the input of the last layer in magnitude
	spec     [3][]float32 // C, R, V of the last layer
	lo1, hi1 []float32    // one image, channels first
	eps      [net.ChunkGroups * kernels.Lanes]float64
	sc       kernels.Scratch

	boxes map[int]net.Box                 // of the radius search, by grid point
	trace func(layer int, c, r []float32) // sees C and R of each layer (Bounds)
}

func newWorker(v *IBP) *worker {
	const lanes = net.ChunkGroups * kernels.Lanes
	w := &worker{v: v}
	size := v.net.Input().Size()
	largest, last := size, size
	for _, l := range v.layers {
		last = l.affine.Shape.Out()
		largest = max(largest, last)
	}
	for i := range 2 {
		w.c[i], w.r[i] = kernels.Alloc(lanes*largest), kernels.Alloc(lanes*largest)
	}
	w.m = kernels.Alloc(lanes * last)
	rows := v.spec.rowCount()
	w.spec = [3][]float32{kernels.Alloc(lanes * rows), kernels.Alloc(lanes * rows), kernels.Alloc(lanes * v.spec.classes)}
	w.lo1, w.hi1 = make([]float32, size), make([]float32, size)
	return w
}

// load puts the input of image i into lane slot: the outer box for Linf (lo in
// c, hi in r), the centre alone for L2.
func (w *worker) load(slot, i int, norm net.Norm, box net.Box) {
	n := w.v.net
	in := n.Input()
	size, hw := in.Size(), in.H*in.W
	g, l := slot/kernels.Lanes, slot%kernels.Lanes
	img := w.v.b.X[i*size : (i+1)*size]
	mean, std := n.Normalization()
	w.eps[slot] = box.EpsHi()
	if norm == net.L2 {
		copy(w.lo1, img)
		for k := range w.lo1 {
			if mean != nil {
				w.lo1[k] = (w.lo1[k] - mean[k/hw]) / std[k/hw]
			}
		}
		net.PackLane(net.Group(w.c[0], size, g), w.lo1, in, l)
		return
	}
	box.Outer(w.lo1, w.hi1, img)
	if mean != nil {
		for k := range w.lo1 {
			m, s := mean[k/hw], std[k/hw]
			w.lo1[k], w.hi1[k] = normalizeOut((w.lo1[k]-m)/s, (w.hi1[k]-m)/s)
		}
	}
	net.PackLane(net.Group(w.c[0], size, g), w.lo1, in, l)
	net.PackLane(net.Group(w.r[0], size, g), w.hi1, in, l)
}

// bound carries the loaded inputs of n images through the network.
func (w *worker) bound(norm net.Norm, n int) {
	v := w.v
	groups := kernels.Groups(n)
	isa := v.net.ISA()
	len0 := groups * v.net.Input().Size() * kernels.Lanes
	if norm == net.L2 {
		w.dualInput(groups)
	} else {
		isa.IntervalBox(&w.sc, w.c[0][:len0], w.r[0][:len0], v.boundOf(0).interval(false))
	}
	cur := 0
	for i := range v.layers {
		l := &v.layers[i]
		next := 1 - cur
		l.affine.Apply(&w.sc, w.c[next], w.c[cur], groups)
		l.abs.Apply(&w.sc, w.r[next], w.r[cur], groups, kernels.None, nil)
		out := l.affine.Shape.Out() * groups * kernels.Lanes
		if norm == net.L2 && i == 0 {
			w.addDual(w.r[next][:out], l.dual, l.affine.Shape.Out())
		}
		if w.trace != nil {
			w.trace(i, w.c[next][:out], w.r[next][:out])
		}
		isa.IntervalAffine(&w.sc, w.c[next][:out], w.r[next][:out], v.boundOf(i+1).interval(l.affine.ReLU))
		cur = next
	}
	s := &v.spec
	s.rows.Apply(&w.sc, w.spec[0], w.c[cur], groups, kernels.None, nil)
	s.abs.Apply(&w.sc, w.spec[1], w.r[cur], groups, kernels.None, nil)
	if norm == net.L2 && len(v.layers) == 0 {
		rows := s.rowCount()
		w.addDual(w.spec[1][:groups*rows*kernels.Lanes], s.dual, rows)
	}
	if s.merged {
		if norm == net.Linf || len(v.layers) > 0 {
			n := s.logits.In() * groups * kernels.Lanes
			for k, c := range w.c[cur][:n] {
				w.m[k] = float32(math.Abs(float64(c))) + w.r[cur][k]
			}
		}
		s.logits.Apply(&w.sc, w.spec[2], w.m, groups, kernels.None, nil)
	}
}

// boundOf returns the constants of affine layer i.
func (v *IBP) boundOf(i int) *bound {
	if i < len(v.layers) {
		return &v.layers[i].bound
	}
	return &v.spec.bound
}

// dualInput fills the radii for an L2 ball from the centres (step 5), and m in
// case the first layer is the last.
func (w *worker) dualInput(groups int) {
	n := w.v.net
	_, std := n.Normalization()
	b := w.v.boundOf(0)
	size, ch := n.Input().Size(), n.Input().C
	for k := range groups * size * kernels.Lanes {
		eps := w.eps[k/(size*kernels.Lanes)*kernels.Lanes+k%kernels.Lanes]
		if std != nil {
			eps /= float64(std[k/kernels.Lanes%ch])
		}
		c := float64(w.c[0][k])
		w.r[0][k] = b.dualRadius(c, eps)
		if len(w.v.layers) == 0 {
			w.m[k] = up32(float64((math.Abs(c)+eps)*(1+slack)) + tiny)
		}
	}
}

// addDual adds ε·dual to the radii of the first layer's outputs, size an image.
func (w *worker) addDual(r, dual []float32, size int) {
	for k := range r {
		slot := k/(size*kernels.Lanes)*kernels.Lanes + k%kernels.Lanes
		d := w.eps[slot] * float64(dual[k/kernels.Lanes%len(dual)])
		r[k] = addUp(r[k], up32(d*(1+slack)))
	}
}

// margin returns a proved lower bound of the smallest margin of label y.
func (w *worker) margin(slot, y int) float32 {
	s := &w.v.spec
	g, l := slot/kernels.Lanes, slot%kernels.Lanes
	rows := s.rowCount()
	c, r := net.Group(w.spec[0], rows, g), net.Group(w.spec[1], rows, g)
	v := net.Group(w.spec[2], s.classes, g)
	low := float32(math.Inf(1))
	for j := range s.classes {
		if j != y {
			low = min(low, s.low(c, r, v, l, y, j))
		}
	}
	return low
}
