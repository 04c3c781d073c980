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

	layers []gradLayer
	tasks  []gradTask
}

type gradLayer struct {
	grad *kernels.WeightGrad
	cols model.Shape // of a row of weights
}

type gradTask struct{ layer, part int }

// NewWeightGradient returns a zero gradient.
func (n *Network) NewWeightGradient() *WeightGradient {
	g := &WeightGradient{Params: make([]model.Param, len(n.model.Params))}
	for i := range n.layers {
		l := &n.layers[i]
		g.Params[l.Index] = model.Param{W: make([]float32, l.Shape.Weights()), B: make([]float32, len(l.B))}
		cols := model.Shape{C: l.Shape.InC, H: l.Shape.KH, W: l.Shape.KW}
		if l.permuted() {
			cols = l.in
		}
		gl := gradLayer{grad: kernels.NewWeightGrad(n.isa, l.Shape), cols: cols}
		g.layers = append(g.layers, gl)
		for p := range gl.grad.Tasks() {
			g.tasks = append(g.tasks, gradTask{i, p})
		}
	}
	return g
}

// Tasks returns the number of parts.
func (g *WeightGradient) Tasks() int { return len(g.tasks) }

// Apply computes one part from the first groups lane groups of a workspace
// made with keep, after Forward and Backward (or BackwardToWeights).
func (g *WeightGradient) Apply(sc *kernels.Scratch, w *Workspace, groups, task int) {
	t := g.tasks[task]
	gl, l := &g.layers[t.layer], &w.net.layers[t.layer]
	p := g.Params[l.Index]
	row := gl.cols.Size()
	from, to := gl.grad.Channels(t.part)
	pw := p.W[from*row : to*row]
	dw := pw
	if !sameColumns(gl.cols) {
		dw = sc.Room(len(pw))
	}
	gl.grad.Apply(sc, dw, p.B[from:to], w.grads[t.layer+1], w.acts[l.Src], groups, t.part)
	if !sameColumns(gl.cols) {
		UnmapColumns(w.net.isa, pw, dw, gl.cols)
	}
}
