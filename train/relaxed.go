package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// linearBounds bounds margins by linear bounds that are carried backward from them, between
// lines that interval bounds give (CROWN-IBP, Zhang et al. 2020), and takes gradients. A
// row is a margin z_y − z_j as a linear function of an activation, and a lower bound of the
// margin:
//
//	m ≥ λ·a + d
//
// It starts with W_y − W_j of the last layer, goes back through a ReLU by the upper line
// where λ < 0 and by the lower line elsewhere, through an affine layer by its adjoint, and
// ends at the corner x* of the input's box where it is least. The bound is then what the
// network with these lines for ReLUs gives at x*. So its gradient needs one pass of x*
// forward along the lines, with values a: it is λ ⊗ a to weights, λ to biases, and to an
// upper line s·z + t, of rows with λ < 0, λ·z and λ.
//
// The rows of a lane group of images lie side by side, classes − 1 lane groups of them: row
// k of an image with label y is the one against class k or, from y on, k + 1. So an image's
// lines are where its rows are. Lane groups are taken one by one, which bounds the memory,
// and their gradients are added in fixed ranges of groups, whatever the threads.
type linearBounds struct {
	net     *net.Network
	iv      *intervals
	maps    []linearMap // of each node but the last
	out     int         // the activation that the last node reads
	classes int
	workers []*rowWorker

	ranges  int           // of lane groups
	dw, db  [][][]float32 // [range][node] gradients of weights and biases
	fanIn   []int         // of each node: weights of a channel
	parts   []linearPart
	perNode []linearTask
}

// linearPart is where a lane group lies.
type linearPart struct {
	part  *part
	group int // of the part
}

// linearTask is a part of addTo.
type linearTask struct{ node, task int }

// gradientMemory bounds the memory of the ranges' gradients, if that leaves two ranges.
const (
	gradientMemory = 128 << 20
	mostRanges     = 16
)

// newLinearBounds prepares for the boxes of iv in parts yet to be made.
func newLinearBounds(n *net.Network, iv *intervals, groups, workers int) *linearBounds {
	iv.KeepPreActivations()
	nodes := n.Nodes()
	b := &linearBounds{net: n, iv: iv, out: nodes[len(nodes)-1].In[0], classes: n.Classes()}
	bytes := 0
	for i := range nodes[:len(nodes)-1] {
		m := newLinearMap(n, &nodes[i])
		b.maps, b.fanIn = append(b.maps, m), append(b.fanIn, 0)
		if m == nil {
			continue
		}
		w, bs := m.weights()
		b.fanIn[i] = w / max(bs, 1)
		bytes += 4 * (w + bs)
		for t := range m.tasks() {
			b.perNode = append(b.perNode, linearTask{i, t})
		}
	}
	last := iv.last
	b.fanIn = append(b.fanIn, last.k)
	bytes += 4 * last.classes * (last.k + 1)
	b.ranges = min(groups, max(2, min(mostRanges, gradientMemory/bytes)))
	for range b.ranges {
		var dw, db [][]float32
		for _, m := range b.maps {
			w, bs := 0, 0
			if m != nil {
				w, bs = m.weights()
			}
			dw, db = append(dw, kernels.Alloc(whole(w))), append(db, kernels.Alloc(whole(bs)))
		}
		dw, db = append(dw, kernels.Alloc(whole(last.classes*last.k))), append(db, kernels.Alloc(whole(last.classes)))
		b.dw, b.db = append(b.dw, dw), append(b.db, db)
	}
	for range workers {
		b.workers = append(b.workers, newRowWorker(b))
	}
	return b
}

// whole rounds up to lane vectors.
func whole(n int) int { return kernels.Groups(n) * kernels.Lanes }

// useParts says where lane groups lie.
func (b *linearBounds) useParts(parts []part) {
	for i := range parts {
		for g := range parts[i].to - parts[i].from {
			b.parts = append(b.parts, linearPart{&parts[i], g})
		}
	}
}

// useBatch makes batchnorms normalise by the statistics of a batch, as constants.
func (b *linearBounds) useBatch(s *net.BatchStatistics) {
	for _, m := range b.maps {
		if d, ok := m.(*depthwiseMap); ok {
			d.batch = s.Of(d.op)
		}
	}
}

// tasks is the number of independent parts of addGradient.
func (b *linearBounds) tasks() int { return len(b.perNode) + b.iv.last.classes }

// addGradient adds a part of the gradient of all rows to p, which is laid out as the model.
func (b *linearBounds) addGradient(p []model.Param, task int) {
	if row := task - len(b.perNode); row >= 0 {
		last, n := &b.iv.last, len(b.maps)
		dw, db := b.total(n, row, row+1)
		q := &p[last.param]
		net.AddUnmapped(q.W[row*last.k:][:last.k], dw, last.cols)
		q.B[row] += db[0]
		return
	}
	t := b.perNode[task]
	m, i := b.maps[t.node], b.net.Nodes()[t.node].Index
	from, to := m.channels(t.task)
	dw, db := b.total(t.node, from, to)
	m.addTo(&p[i], &b.net.Model().Params[i], dw, db, from)
}

// total adds the gradients of all ranges for channels [from, to) of a node to those of the
// first range, in order, and returns them.
func (b *linearBounds) total(node, from, to int) (dw, db []float32) {
	row := b.fanIn[node]
	dw, db = b.dw[0][node][from*row:to*row], b.db[0][node][from:to]
	for r := 1; r < b.ranges; r++ {
		addVectors(b.net.ISA(), dw, b.dw[r][node][from*row:to*row])
		addVectors(b.net.ISA(), db, b.db[r][node][from:to])
	}
	return dw, db
}

// addVectors adds src to dst.
func addVectors(isa *kernels.ISA, dst, src []float32) {
	n := len(dst) / kernels.Lanes * kernels.Lanes
	isa.Add(dst[:n], src[:n], kernels.None, nil)
	for i := n; i < len(dst); i++ {
		dst[i] += src[i]
	}
}

// judgeRange takes the losses of the lane groups of a range, and their gradients.
func (b *linearBounds) judgeRange(s *stepper, worker, task int, weight float64) {
	w := b.workers[worker]
	from, to := net.Chunk(kernels.Groups(len(s.images)), b.ranges, task)
	for g := from; g < to; g++ {
		if s.ctx.Err() != nil {
			return
		}
		at := &b.parts[g]
		first, end := g*kernels.Lanes, min((g+1)*kernels.Lanes, len(s.images))
		labels := s.labels[first:end]
		w.begin(at, labels)
		w.back()
		b.mix(w, first, labels, float32(weight))
		for i := range labels {
			s.judgeImage(at.part, &w.e, at.group*kernels.Lanes+i)
		}
		b.unmix(w, first, labels, float32(weight))
		w.ahead(b.dw[task], b.db[task], g == from)
	}
}

// mix makes of the worst-case logits of interval bounds, v, and of the rows' bounds m those
// of both: (1 − β)·v − β·m.
func (b *linearBounds) mix(w *rowWorker, first int, labels []int, beta float32) {
	for i, y := range labels {
		v := b.iv.v[(first+i)*b.classes:][:b.classes]
		for k := range b.classes - 1 {
			j := against(k, y)
			v[j] = float32((1-beta)*v[j]) - float32(beta*float32(w.sum[k][i]))
		}
	}
}

// unmix takes the gradient to the mixture to both.
func (b *linearBounds) unmix(w *rowWorker, first int, labels []int, beta float32) {
	for k := range w.scale {
		w.scale[k] = [kernels.Lanes]float32{}
	}
	for i, y := range labels {
		dv := b.iv.dv[(first+i)*b.classes:][:b.classes]
		for k := range b.classes - 1 {
			j := against(k, y)
			w.scale[k][i] = -float32(beta * dv[j])
			dv[j] *= 1 - beta
		}
	}
}

// against is the class of row k of an image with label y.
func against(k, y int) int {
	if k >= y {
		return k + 1
	}
	return k
}
