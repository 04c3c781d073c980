package net

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Momentum is the weight of a batch in the running statistics, PyTorch's default.
const Momentum = 0.1

// normalizer takes the place of a batchnorm's own factors and summands in passes of
// training. It is an interface so that programs that do not train do not link it.
type normalizer interface {
	forward(w *Workspace, d *Depthwise, dst, src []float32, e kernels.Epilogue)
	backward(w *Workspace, d *Depthwise, dst, dout, src []float32)
}

// BatchStatistics normalises one trace of a batch by the batch's own mean and variance
// (Ioffe & Szegedy 2015, algorithms 1 and 2): those of a channel over all images and
// positions. They are known once all images have come to a batchnorm, so a pass is cut
// into segments, which start at batchnorms. All parts of the batch run a segment, on
// different goroutines perhaps; then one of them calls the Reduce of the pass:
//
//	for s := range b.Segments() {
//		// part.Forward(x, s) for each part
//		b.ReduceForward(s)
//	}
//	// gradients into the LogitGradient of the parts' workspaces
//	for s := b.Segments() - 1; s >= 0; s-- {
//		// part.Backward(s) for each part
//		b.ReduceBackward(s)
//	}
//
// Sums are in float64, those of lane groups added in the groups' order: the bits do not
// depend on how the batch is cut into parts. Passes allocate nothing.
type BatchStatistics struct {
	net    *Network
	images int
	copies int         // lane groups that a lane group of images has
	norms  []BatchNorm // in the nodes' order
	room   []float32   // of BatchNorm.backward
}

// BatchNorm is a batchnorm node as BatchStatistics has it. Its slices hold one element a
// channel and are not to be changed.
type BatchNorm struct {
	Mean, Var    []float64 // of the batch; Var is that of the batch alone, not of what it is drawn from
	Scale, Shift []float32 // y = Scale·x + Shift

	op        *Depthwise
	node, src int       // of Network.Nodes; the activation that it reads
	count     float64   // values of a channel in the batch
	sums      []float64 // [group][2][C]: of x and x² or, on the way back, of dy and dy·x
	total     []float64 // [2][C]
	dW, dB    []float64

	ahead, back *kernels.Depthwise
	way         *kernels.Depthwise // what the gradient through the statistics adds to back's
	slope, rest []float32          // of way
}

// WeightGradient returns the gradient to weight W of channel c of a batchnorm with statistics
// that are constants, given those to its factor W/√(var + eps) and its summand. They are those
// of the batch or, if b is nil, the running ones of p.
func (b *BatchNorm) WeightGradient(ofFactor, ofSummand float32, p *model.Param, c int, eps float32) float32 {
	var mean, variance float64
	if b != nil {
		mean, variance = b.Mean[c], b.Var[c]
	} else {
		mean, variance = float64(p.Mean[c]), float64(p.Var[c])
	}
	return float32((float64(ofFactor) - float64(mean*float64(ofSummand))) / math.Sqrt(variance+float64(eps)))
}

// HasBatchNorm reports whether the network normalises by statistics.
func (n *Network) HasBatchNorm() bool { return n.norms > 0 }

// NewBatchStatistics returns the statistics of a trace of images images, each of which has
// so many copies, 1 or more: they lie in the same lane of as many lane groups, one after the
// other. The network must be compiled with Backward for large batches.
func (n *Network) NewBatchStatistics(images, copies int) *BatchStatistics {
	b := &BatchStatistics{net: n, images: images, copies: copies}
	groups, most := b.groups(), 0
	for i := range n.nodes {
		op, ok := n.nodes[i].Op.(*Depthwise)
		if !ok || op.norm < 0 {
			continue
		}
		s := op.Sliding
		b.norms = append(b.norms, BatchNorm{
			Mean: make([]float64, s.C), Var: make([]float64, s.C), Scale: make([]float32, s.C), Shift: make([]float32, s.C),
			op: op, node: i, src: n.nodes[i].In[0], count: float64(images*copies) * float64(s.InH*s.InW),
			sums: make([]float64, groups*2*s.C), total: make([]float64, 2*s.C),
			dW: make([]float64, s.C), dB: make([]float64, s.C),
			ahead: kernels.NewDepthwise(n.isa, s), back: kernels.NewDepthwiseAdjoint(n.isa, s), way: kernels.NewDepthwise(n.isa, s),
			slope: make([]float32, s.C), rest: make([]float32, s.C),
		})
		most = max(most, s.In())
	}
	b.room = kernels.Alloc(LaneGroups.Len(groups, most))
	return b
}

func (b *BatchStatistics) groups() int { return kernels.Groups(b.images) * b.copies }

// Of returns the batchnorm of a node's operation, nil if it is a convolution.
func (b *BatchStatistics) Of(op *Depthwise) *BatchNorm {
	if op.norm < 0 {
		return nil
	}
	return &b.norms[op.norm]
}

// Kernel and Adjoint are those of Depthwise, with Scale and Shift.
func (n *BatchNorm) Kernel() *kernels.Depthwise  { return n.ahead }
func (n *BatchNorm) Adjoint() *kernels.Depthwise { return n.back }

// Segments returns the number of segments of a pass.
func (b *BatchStatistics) Segments() int { return len(b.norms) + 1 }

// start returns the node that a segment of the way there starts at.
func (b *BatchStatistics) start(segment int) int {
	switch segment {
	case 0:
		return 0
	case b.Segments():
		return len(b.net.nodes)
	}
	return b.norms[segment-1].node
}

// ReduceForward takes the statistics of the batchnorm at which the next segment starts.
func (b *BatchStatistics) ReduceForward(segment int) {
	if segment == len(b.norms) {
		return
	}
	n := &b.norms[segment]
	n.add()
	p, eps := n.op.param, float64(n.op.layer.Eps)
	for c := range n.Mean {
		sum, squares := n.pair(c)
		mean := sum / n.count
		n.Mean[c] = mean
		n.Var[c] = max(0, squares/n.count-float64(mean*mean))
		scale := float64(p.W[c]) / math.Sqrt(n.Var[c]+eps)
		n.Scale[c], n.Shift[c] = float32(scale), float32(float64(p.B[c])-float64(mean*scale))
	}
	n.ahead.Pack(n.Scale, false)
	n.ahead.SetBias(n.Shift)
	n.back.Pack(n.Scale, false)
}

// ReduceBackward takes the gradients of the batchnorm at which the next segment of the
// way back starts. With x̂ = (x − mean)/σ, y = γ·x̂ + β and m values of a channel,
//
//	dβ = Σ dy,  dγ = Σ dy·x̂ = (Σ dy·x − mean·dβ)/σ,
//	dx = γ/σ·dy − γ/(σ·m)·(dβ + x̂·dγ),
//
// the second term of which is a line in x: that of the way through mean and variance.
func (b *BatchStatistics) ReduceBackward(segment int) {
	if segment == 0 {
		return
	}
	n := &b.norms[segment-1]
	n.add()
	p, eps := n.op.param, float64(n.op.layer.Eps)
	for c, mean := range n.Mean {
		sum, products := n.pair(c)
		sigma := math.Sqrt(n.Var[c] + eps)
		n.dB[c], n.dW[c] = sum, (products-float64(mean*sum))/sigma
		factor := float64(p.W[c]) / sigma / n.count
		slope := -float64(factor*n.dW[c]) / sigma
		n.slope[c], n.rest[c] = float32(slope), float32(-float64(factor*sum)-float64(slope*mean))
	}
	n.way.Pack(n.slope, false)
	n.way.SetBias(n.rest)
}

// add adds the sums of the lane groups.
func (n *BatchNorm) add() {
	clear(n.total)
	size := len(n.total)
	for at := 0; at < len(n.sums); at += size {
		for k, v := range n.sums[at : at+size] {
			n.total[k] += v
		}
	}
}

// pair returns the two sums of channel c.
func (n *BatchNorm) pair(c int) (first, second float64) { return n.total[c], n.total[len(n.Mean)+c] }

// UpdateRunning moves the running statistics of the model that the network was compiled
// from towards those of the last pass by Momentum; the variance counts as that of a
// sample, ·m/(m − 1), so a channel needs two values. The network's own passes take them
// over with Reload.
func (b *BatchStatistics) UpdateRunning() {
	for i := range b.norms {
		n := &b.norms[i]
		p := n.op.param
		for c := range n.Mean {
			p.Mean[c] = move(p.Mean[c], n.Mean[c])
			p.Var[c] = move(p.Var[c], float64(n.Var[c]*n.count)/(n.count-1))
		}
	}
}

func move(running float32, batch float64) float32 {
	return float32(float64((1-Momentum)*float64(running)) + float64(Momentum*batch))
}

// BatchPart is a part of a batch: the lane groups of one workspace. Different parts may
// be used by different goroutines.
type BatchPart struct {
	Pixels bool // Backward also leaves the gradient at the pixels, Workspace.Gradient(0)

	b    *BatchStatistics
	w    *Workspace
	from int
}

// Part returns that of all lane groups of w, the first being group from of the batch.
func (b *BatchStatistics) Part(w *Workspace, from int) *BatchPart {
	if w.layout != LaneGroups || from+w.room > b.groups() {
		panic("net: a part outside of its batch")
	}
	return &BatchPart{b: b, w: w, from: from}
}

// Forward is a segment of Workspace.Forward of x, which the first one reads. After the
// last one the workspace has the logits.
func (p *BatchPart) Forward(x []float32, segment int) {
	w, b := p.w, p.b
	if segment == 0 {
		w.blocks = w.room
		w.normalize(x)
	}
	w.normalizer = p
	w.runNodes(b.start(segment), b.start(segment+1))
	w.normalizer = nil
	if segment == len(b.norms) {
		w.finish()
		return
	}
	n := &b.norms[segment]
	p.sum(n, w.act(n.src), w.act(n.src))
}

// Backward is a segment of Workspace.BackwardToWeights or, with Pixels, of
// Workspace.Backward; segments go down to 0.
func (p *BatchPart) Backward(segment int) {
	w, b := p.w, p.b
	first, last, least := 0, len(w.net.nodes)-1, 1
	if p.Pixels {
		least = 0
	}
	if segment > 0 {
		first = b.norms[segment-1].node + 1
	}
	if segment < len(b.norms) {
		last = b.norms[segment].node
	} else {
		w.startBack()
	}
	w.normalizer = p
	for i := last; i >= first; i-- {
		w.net.nodes[i].Op.backward(w, i, w.grads[i+1], least)
	}
	w.normalizer = nil
	if segment == 0 && p.Pixels {
		w.scaleGradient()
	}
	if segment > 0 {
		n := &b.norms[segment-1]
		p.sum(n, w.grads[n.node+1], w.act(n.src))
	}
}

// sum writes the sums of a and of a·b for each lane group of the part.
func (p *BatchPart) sum(n *BatchNorm, a, b []float32) {
	channels, size := len(n.Mean), n.op.Sliding.In()*kernels.Lanes
	for g := range p.w.room {
		s := n.sums[(p.from+g)*2*channels:][:2*channels]
		clear(s)
		channelSums(s[:channels], s[channels:], a[g*size:(g+1)*size], b[g*size:(g+1)*size], p.lanes(g))
	}
}

// lanes returns the images of the part's lane group g.
func (p *BatchPart) lanes(g int) int {
	return min(kernels.Lanes, p.b.images-(p.from+g)/p.b.copies*kernels.Lanes)
}

// channelSums adds, for each channel, the values of a and the products of a and b, both
// [H][W][C][8], in the first lanes lanes. The products are exact, so that it does not
// matter whether a machine fuses them with their sum.
func channelSums(sums, products []float64, a, b []float32, lanes int) {
	b = b[:len(a)]
	for c, i := 0, 0; i+kernels.Lanes <= len(a); i += kernels.Lanes {
		x, y := *(*[kernels.Lanes]float32)(a[i:]), (*[kernels.Lanes]float32)(b[i:])
		if lanes < kernels.Lanes {
			clear(x[lanes:])
		}
		x0, x1, x2, x3 := float64(x[0]), float64(x[1]), float64(x[2]), float64(x[3])
		x4, x5, x6, x7 := float64(x[4]), float64(x[5]), float64(x[6]), float64(x[7])
		sums[c] += ((x0 + x1) + (x2 + x3)) + ((x4 + x5) + (x6 + x7))
		x0, x1, x2, x3 = x0*float64(y[0]), x1*float64(y[1]), x2*float64(y[2]), x3*float64(y[3])
		x4, x5, x6, x7 = x4*float64(y[4]), x5*float64(y[5]), x6*float64(y[6]), x7*float64(y[7])
		products[c] += ((x0 + x1) + (x2 + x3)) + ((x4 + x5) + (x6 + x7))
		if c++; c == len(sums) {
			c = 0
		}
	}
}

func (p *BatchPart) forward(w *Workspace, d *Depthwise, dst, src []float32, e kernels.Epilogue) {
	p.b.norms[d.norm].ahead.Apply(&w.sc[0], dst, src, w.blocks, int(w.layout), e, nil)
}

func (p *BatchPart) backward(w *Workspace, d *Depthwise, dst, dout, src []float32) {
	n, size := &p.b.norms[d.norm], d.Sliding.In()*kernels.Lanes
	way := p.b.room[p.from*size : (p.from+w.blocks)*size]
	n.back.Apply(&w.sc[0], dst, dout, w.blocks, int(w.layout), kernels.None, nil)
	n.way.Apply(&w.sc[0], way, src, w.blocks, int(w.layout), kernels.None, nil)
	w.net.isa.Add(dst[:len(way)], way, kernels.None, nil)
	for g := range w.blocks {
		if lanes := p.lanes(g); lanes < kernels.Lanes { // no image, no gradient
			for i := g * size; i < (g+1)*size; i += kernels.Lanes {
				clear(dst[i+lanes : i+kernels.Lanes])
			}
		}
	}
}
