package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// WeightGradient computes and holds the gradient of a loss, summed over a
// batch, to all weights of a network, in the model's order. Its parts are
// independent; the result does not depend on how they are spread over
// goroutines.
type WeightGradient struct {
	Params []model.Param // one per layer of the architecture, as in model.Model

	tasks []gradTask
}

// paramGradient computes the gradient of the parameters of one node.
type paramGradient interface {
	// apply computes a part from the first groups lane groups of w.
	apply(sc *kernels.Scratch, w *Workspace, p *model.Param, groups, part int)
}

type gradTask struct {
	grad  paramGradient
	param *model.Param
	part  int
}

// NewWeightGradient returns a zero gradient.
func (n *Network) NewWeightGradient() *WeightGradient {
	g := &WeightGradient{Params: make([]model.Param, len(n.model.Params))}
	for i := range n.nodes {
		node := &n.nodes[i]
		var grad paramGradient
		parts := 0
		switch op := node.Op.(type) {
		case *Affine:
			grad, parts = newAffineGradient(n, op)
		case *Depthwise:
			grad, parts = newDepthwiseGradient(n, i, op)
		case *Grouped:
			grad, parts = newGroupedGradient(n, i, op)
		default:
			continue
		}
		p := &g.Params[node.Index]
		*p = model.Param{W: make([]float32, n.model.Params[node.Index].Count()), B: make([]float32, len(n.model.Params[node.Index].B))}
		for k := range parts {
			g.tasks = append(g.tasks, gradTask{grad, p, k})
		}
	}
	return g
}

// Tasks returns the number of parts.
func (g *WeightGradient) Tasks() int { return len(g.tasks) }

// TasksOf returns the range of parts that layer i of the architecture has.
func (g *WeightGradient) TasksOf(layer int) (from, to int) {
	p := &g.Params[layer]
	for from < len(g.tasks) && g.tasks[from].param != p {
		from++
	}
	for to = from; to < len(g.tasks) && g.tasks[to].param == p; to++ {
	}
	return from, to
}

// Apply computes one part from the first groups lane groups of a workspace
// made with keep, after Forward and Backward (or BackwardToWeights).
func (g *WeightGradient) Apply(sc *kernels.Scratch, w *Workspace, groups, task int) {
	t := &g.tasks[task]
	t.grad.apply(sc, w, t.param, groups, t.part)
}

// affineGradient is that of a conv or fc.
type affineGradient struct {
	affine *Affine
	grad   *kernels.WeightGrad
	cols   model.Shape // of a row of weights
}

func newAffineGradient(n *Network, a *Affine) (paramGradient, int) {
	g := &affineGradient{a, kernels.NewWeightGrad(n.isa, a.Shape), a.Columns()}
	return g, g.grad.Tasks()
}

func columns(s kernels.Shape) model.Shape { return model.Shape{C: s.InC, H: s.KH, W: s.KW} }

func (g *affineGradient) apply(sc *kernels.Scratch, w *Workspace, p *model.Param, groups, part int) {
	from, to := g.grad.Channels(part)
	row := g.cols.Size()
	pw := p.W[from*row : to*row]
	dw := pw
	if !sameColumns(g.cols) {
		dw = sc.Room(len(pw))
	}
	g.grad.Apply(sc, dw, p.B[from:to], w.grads[g.affine.Node+1], w.acts[g.affine.Src], groups, part)
	if !sameColumns(g.cols) {
		UnmapColumns(w.net.isa, pw, dw, g.cols)
	}
}

// depthwiseGradient is that of a depthwise conv or, through its factor and summand, of
// a batchnorm whose statistics are constants.
type depthwiseGradient struct {
	node  int
	op    *Depthwise
	grad  *kernels.DepthwiseGrad
	batch []*BatchStatistics // see UseBatch
}

// UseBatch makes g take the gradients of batchnorms from the statistics of the traces in
// its workspace, of which they are the sum.
func (g *WeightGradient) UseBatch(traces ...*BatchStatistics) {
	for _, t := range g.tasks {
		if d, ok := t.grad.(*depthwiseGradient); ok && d.op.norm >= 0 {
			d.batch = traces
		}
	}
}

func newDepthwiseGradient(n *Network, i int, op *Depthwise) (paramGradient, int) {
	g := &depthwiseGradient{node: i, op: op, grad: kernels.NewDepthwiseGrad(n.isa, op.Sliding)}
	return g, g.grad.Tasks()
}

func (g *depthwiseGradient) apply(sc *kernels.Scratch, w *Workspace, p *model.Param, groups, part int) {
	from, to := g.grad.Channels(part)
	taps := g.op.Sliding.Taps()
	dw, db := p.W[from*taps:to*taps], p.B[from:to]
	if g.batch != nil {
		for c := range dw {
			sumW, sumB := 0.0, 0.0
			for _, b := range g.batch {
				n := &b.norms[g.op.norm]
				sumW += n.dW[from+c]
				sumB += n.dB[from+c]
			}
			dw[c], db[c] = float32(sumW), float32(sumB)
		}
		return
	}
	g.grad.Apply(sc, dw, db, w.grads[g.node+1], w.acts[w.net.nodes[g.node].In[0]], groups, part)
	if g.op.norm < 0 {
		return
	}
	var running *BatchNorm
	for c := range dw {
		dw[c] = running.WeightGradient(dw[c], db[c], g.op.param, from+c, g.op.layer.Eps)
	}
}

// groupedGradient is that of a grouped conv, a part of it the channels of one group.
type groupedGradient struct {
	node int
	op   *Grouped
	grad *kernels.WeightGrad
	cols model.Shape
}

func newGroupedGradient(n *Network, i int, op *Grouped) (paramGradient, int) {
	return &groupedGradient{i, op, kernels.NewWeightGrad(n.isa, op.Shape), columns(op.taps)}, op.Groups
}

func (g *groupedGradient) apply(sc *kernels.Scratch, w *Workspace, p *model.Param, groups, k int) {
	s := g.op.Shape
	in, out, row := groups*s.In()*kernels.Lanes, groups*s.Out()*kernels.Lanes, g.cols.Size()
	room := sc.Room(in + out + s.Weights() + g.op.taps.Weights())
	x, dy, dw, undilated := room[:in], room[in:in+out], room[in+out:][:s.Weights()], room[in+out+s.Weights():]
	kernels.SelectChannels(x, w.acts[w.net.nodes[g.node].In[0]], groups*s.InH*s.InW, s.InC*g.op.Groups, k*s.InC, s.InC, kernels.Lanes)
	kernels.SelectChannels(dy, w.grads[g.node+1], groups*s.OutH()*s.OutW(), s.OutC*g.op.Groups, k*s.OutC, s.OutC, kernels.Lanes)
	for part := range g.grad.Tasks() {
		from, to := g.grad.Channels(part)
		at := k * s.OutC
		d := dw[:(to-from)*s.FanIn()]
		g.grad.Apply(sc, d, p.B[at+from:at+to], dy, x, groups, part)
		if g.op.dilated() {
			kernels.UndilateGrad(undilated[:(to-from)*row], d, g.op.taps, g.op.dilation[0], g.op.dilation[1])
			d = undilated[:(to-from)*row]
		}
		UnmapColumns(w.net.isa, p.W[(at+from)*row:(at+to)*row], d, g.cols)
	}
}
