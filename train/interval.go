package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// intervals bounds a network's activations over boxes, forward and backward
// (Gowal et al. 2018, section 3), in centre and radius: an affine layer maps
// (c, r) to (W·c + b, |W|·r); a ReLU clamps c − r and c + r at zero. It holds
// the buffers of a whole batch; views of disjoint groups may be used by
// different goroutines. The last layer is merged with the margins.
type intervals struct {
	layers []boundLayer // all affine layers but the last
	last   marginLayer
	isa    *kernels.ISA
	params []model.Param // the model's, for the signs of its weights

	// For each layer (the last too): centre and radius of its input, and, but
	// for layer 0, the gradients to them; before the ReLU that precedes the
	// layer once backward has passed it.
	c, r, dc, dr [][]float32

	// Of the last layer's input and of v, an image a row; see marginLayer.
	lastC, lastR, v, dv []float32

	tasks []boundTask // of the gradient
	packs []boundTask // of reload
}

type boundLayer struct {
	w, b             []float32 // of the network as compiled
	relu             bool
	forward, adjoint *kernels.Linear // of W
	absForward       *kernels.Linear // of |W|
	absAdjoint       *kernels.Linear // nil, as adjoint, in the first layer
	grad             *kernels.WeightGrad
	dbias            []float32
	cols             model.Shape
	param            int // in the model's list
}

type boundTask struct{ layer, part int }

// newIntervals returns the pass for batches of the given number of lane groups.
// Whoever packs the network anew must call reload.
func newIntervals(n *net.Network, groups int) *intervals {
	iv := &intervals{isa: n.ISA(), params: n.Model().Params}
	layers := n.Layers()
	shapes, err := n.Model().Arch.Shapes()
	if err != nil {
		panic("train: a compiled network has an invalid architecture")
	}
	for i, l := range layers {
		cols := model.Shape{C: l.Shape.InC, H: l.Shape.KH, W: l.Shape.KW}
		if n.Model().Arch.Layers[l.Index].Kind == model.FC {
			cols = shapes[l.Index]
		}
		size := groups * l.Shape.In() * kernels.Lanes
		iv.c, iv.r = append(iv.c, kernels.Alloc(size)), append(iv.r, kernels.Alloc(size))
		if i == 0 {
			size = 0 // nothing asks for the gradient to the pixels
		}
		iv.dc, iv.dr = append(iv.dc, kernels.Alloc(size)), append(iv.dr, kernels.Alloc(size))
		if i == len(layers)-1 {
			k, classes, images := l.Shape.In(), l.Shape.OutC, groups*kernels.Lanes
			iv.last = marginLayer{k: k, classes: classes, w: l.Weights(), b: l.B, cols: cols, dw: make([]float32, l.Shape.Weights()), param: l.Index}
			iv.lastC, iv.lastR = make([]float32, images*k), make([]float32, images*k)
			iv.v, iv.dv = make([]float32, images*classes), make([]float32, images*classes)
			for row := range classes {
				iv.tasks = append(iv.tasks, boundTask{i, row})
			}
			continue
		}
		iv.add(i, l, cols)
	}
	for p := range iv.packs {
		iv.reload(p)
	}
	return iv
}

func (iv *intervals) add(i int, l net.Affine, cols model.Shape) {
	b := boundLayer{
		w: l.Weights(), b: l.B, relu: l.ReLU, cols: cols, param: l.Index,
		forward: kernels.NewForward(iv.isa, l.Shape), absForward: kernels.NewForward(iv.isa, l.Shape),
		grad:  kernels.NewWeightGrad(iv.isa, l.Shape),
		dbias: make([]float32, len(l.B)),
	}
	if i > 0 {
		b.adjoint, b.absAdjoint = kernels.NewAdjoint(iv.isa, l.Shape), kernels.NewAdjoint(iv.isa, l.Shape)
	}
	iv.layers = append(iv.layers, b)
	for p := range b.grad.Tasks() {
		iv.tasks = append(iv.tasks, boundTask{i, p})
	}
	for p := range l.Shape.PackParts() {
		iv.packs = append(iv.packs, boundTask{i, p})
	}
}

// reloadTasks is the number of parts of reload.
func (iv *intervals) reloadTasks() int { return len(iv.packs) }

// reload takes over part task of the network's weights, after its own Reload
// has renewed them; the parts are independent.
func (iv *intervals) reload(task int) {
	t := iv.packs[task]
	l := &iv.layers[t.layer]
	l.forward.PackPart(l.w, false, t.part)
	l.absForward.PackPart(l.w, true, t.part)
	if t.part == 0 {
		l.forward.SetBias(l.b)
	}
	if l.adjoint != nil {
		l.adjoint.PackPart(l.w, false, t.part)
		l.absAdjoint.PackPart(l.w, true, t.part)
	}
}

// noRounding makes the kernels' interval passes plain: nothing is widened.
var noRounding = kernels.IntervalConstants{MulR: 1}

// forward bounds groups [from, to) for boxes whose lower and upper ends lie in
// c[0] and r[0] (which it turns into centre and radius), and writes v for the
// images from the first group's on, one label an image.
func (iv *intervals) forward(sc *kernels.Scratch, n *net.Network, from, to int, labels []int) {
	g := to - from
	c, r := cut(iv.c[0], n.Input().Size(), from, to), cut(iv.r[0], n.Input().Size(), from, to)
	iv.isa.IntervalBox(sc, c, r, noRounding)
	normalize(n, c, r)
	for i := range iv.layers {
		l := &iv.layers[i]
		nc, nr := cut(iv.c[i+1], l.forward.Out(), from, to), cut(iv.r[i+1], l.forward.Out(), from, to)
		l.forward.Apply(sc, nc, c, g, kernels.None, nil)
		l.absForward.Apply(sc, nr, r, g, kernels.None, nil)
		if l.relu {
			k := noRounding
			k.ReLU = true
			iv.isa.IntervalAffine(sc, nc, nr, k)
		}
		c, r = nc, nr
	}
	m := &iv.last
	for s, y := range labels {
		n := from*kernels.Lanes + s
		ci, ri := iv.lastC[n*m.k:][:m.k], iv.lastR[n*m.k:][:m.k]
		net.LaneGroups.Gather(ci, c, s)
		net.LaneGroups.Gather(ri, r, s)
		m.forward(iv.v[n*m.classes:][:m.classes], ci, ri, y)
	}
}

// backward carries dv back through the pass that forward has just run. t is
// scratch space for two inputs of the last layer.
func (iv *intervals) backward(sc *kernels.Scratch, from, to int, labels []int, t []float32) {
	if len(iv.layers) == 0 {
		return
	}
	m := &iv.last
	i := len(iv.layers)
	dc, dr := cut(iv.dc[i], m.k, from, to), cut(iv.dr[i], m.k, from, to)
	tc, tr := t[:m.k], t[m.k:2*m.k]
	for s := range (to - from) * kernels.Lanes {
		clear(t) // lanes without an image get zeros
		if s < len(labels) {
			n := from*kernels.Lanes + s
			m.backward(tc, tr, iv.dv[n*m.classes:][:m.classes], labels[s])
		}
		net.LaneGroups.Scatter(dc, tc, s)
		net.LaneGroups.Scatter(dr, tr, s)
	}
	for ; i > 0; i-- {
		if iv.layers[i-1].relu {
			size := iv.layers[i-1].forward.Out()
			gate(dc, dr, cut(iv.c[i], size, from, to), cut(iv.r[i], size, from, to))
		}
		if i == 1 {
			return
		}
		l := &iv.layers[i-1]
		pc, pr := cut(iv.dc[i-1], l.forward.In(), from, to), cut(iv.dr[i-1], l.forward.In(), from, to)
		l.adjoint.Apply(sc, pc, dc, to-from, kernels.None, nil)
		l.absAdjoint.Apply(sc, pr, dr, to-from, kernels.None, nil)
		dc, dr = pc, pr
	}
}

// gate takes gradients to centre and radius back through a ReLU, in place. The
// centre and radius it gave tell which bounds it let pass: c = r where the lower
// one was clamped, c = 0 where both were. Which it is looks random to the
// processor, so masks made of sign bits take the place of branches.
func gate(dc, dr, c, r []float32) {
	dr, c, r = dr[:len(dc)], c[:len(dc)], r[:len(dc)]
	for i, a := range dc {
		lo, hi := (a-dr[i])*0.5, (a+dr[i])*0.5 // gradients to the two bounds
		lo = maskNegative(lo, r[i]-c[i])
		hi = maskNegative(hi, 0-c[i])
		dc[i], dr[i] = lo+hi, hi-lo
	}
}

// maskNegative returns v where s is negative, else 0.
func maskNegative(v, s float32) float32 {
	return math.Float32frombits(math.Float32bits(v) & uint32(int32(math.Float32bits(s))>>31))
}

// addGradient computes part task of the gradient of the batch of labels and adds
// it to p, which is laid out as the model. Parts are independent.
func (iv *intervals) addGradient(sc *kernels.Scratch, p []model.Param, labels []int, groups, task int) {
	t := iv.tasks[task]
	if t.layer == len(iv.layers) {
		iv.last.addTo(p[iv.last.param], iv.lastC, iv.lastR, iv.dv, labels, t.part)
		return
	}
	l := &iv.layers[t.layer]
	row := l.cols.Size()
	first, last := l.grad.Channels(t.part)
	w, d := iv.params[l.param].W[first*row:last*row], p[l.param].W[first*row:last*row]
	dw, db, sum := sc.Room(len(d)), l.dbias[first:last], p[l.param].B[first:last]
	l.grad.Apply(sc, dw, db, iv.dc[t.layer+1], iv.c[t.layer], groups, t.part)
	for o, v := range db {
		sum[o] += v
	}
	for at := 0; at < len(d); at += row {
		addUnmapped(d[at:at+row], dw[at:at+row], l.cols)
	}
	l.grad.Apply(sc, dw, db, iv.dr[t.layer+1], iv.r[t.layer], groups, t.part) // the radius has no bias
	for at := 0; at < len(d); at += row {
		addSigned(d[at:at+row], w[at:at+row], dw[at:at+row], l.cols)
	}
}

// addUnmapped adds src, a row of columns as the kernels see them, to dst in the
// model's order.
func addUnmapped(dst, src []float32, cols model.Shape) {
	hw := cols.H * cols.W
	for c := range cols.C {
		d := dst[c*hw:][:hw]
		for p := range d {
			d[p] += src[p*cols.C+c]
		}
	}
}

// addSigned is addUnmapped of sign(w)·src, the way of a gradient through |w|; w
// is in the model's order.
func addSigned(dst, w, src []float32, cols model.Shape) {
	hw := cols.H * cols.W
	for c := range cols.C {
		d, w := dst[c*hw:][:hw], w[c*hw:][:hw]
		for p := range d {
			d[p] += timesSign(src[p*cols.C+c], w[p])
		}
	}
}

// normalize takes boxes in centre and radius through the normalize layer.
func normalize(n *net.Network, c, r []float32) {
	mean, std := n.Normalization()
	if mean == nil {
		return
	}
	r = r[:len(c)]
	for i := 0; i < len(c); i += kernels.Lanes {
		ch := i / kernels.Lanes % len(mean)
		m, s := mean[ch], std[ch]
		for k := i; k < i+kernels.Lanes; k++ {
			c[k], r[k] = (c[k]-m)/s, r[k]/s
		}
	}
}

// cut returns groups [from, to) of a batch-lane tensor with size elements an
// image.
func cut(t []float32, size, from, to int) []float32 {
	return t[from*size*kernels.Lanes : to*size*kernels.Lanes]
}

const signBit = 1 << 31

func abs32(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ signBit) }

// timesSign returns v times the sign of s, that of 0 being 1.
func timesSign(v, s float32) float32 {
	return math.Float32frombits(math.Float32bits(v) ^ math.Float32bits(s)&signBit)
}
