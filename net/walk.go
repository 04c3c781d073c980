package net

import (
	"context"

	"github.com/epsball/epsball/kernels"
)

// run computes all activations from the normalized input. It stops between nodes when
// ctx ends.
func (w *Workspace) run(ctx context.Context) error {
	for i := range w.net.nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := &w.net.nodes[i]
		n.Op.forward(w, n, w.acts[i+1])
	}
	w.finish()
	return nil
}

// runNodes computes the activations of nodes [from, to).
func (w *Workspace) runNodes(from, to int) {
	for i := from; i < to; i++ {
		n := &w.net.nodes[i]
		n.Op.forward(w, n, w.acts[i+1])
	}
}

// finish gives the outputs once all activations are there.
func (w *Workspace) finish() {
	if w.net.mapped() {
		w.layout.orderOutputs(w.out, w.acts[len(w.acts)-1], w.net.output, w.blocks)
	}
}

// back carries the gradient in LogitGradient back to activation least. The gradients
// of an activation that several nodes read are added in the nodes' order, the last
// node first.
func (w *Workspace) back(least int) {
	w.startBack()
	for i := len(w.net.nodes) - 1; i >= 0; i-- {
		w.net.nodes[i].Op.backward(w, i, w.grads[i+1], least)
	}
}

// startBack gives the gradient at the last node's output before its ReLU.
func (w *Workspace) startBack() {
	if w.grads == nil {
		panic("net: the network was compiled without backward passes")
	}
	n, last := w.net, len(w.net.nodes)
	if n.mapped() {
		w.layout.disorderOutputs(w.grads[last], w.dout, n.output, w.blocks)
	}
	if n.nodes[last-1].ReLU {
		size := w.length(n.nodes[last-1].Shape.Size())
		n.isa.ReLUGrad(w.grads[last][:size], w.grads[last][:size], w.acts[last][:size])
	}
}

// ForwardNode computes node i alone from the activations of the last pass, and
// BackwardNode hands on what its gradient buffer holds: what benchmarks of single nodes
// time.
func (w *Workspace) ForwardNode(i, blocks int) {
	w.mustHold(blocks)
	w.blocks = blocks
	n := &w.net.nodes[i]
	n.Op.forward(w, n, w.acts[i+1])
}

func (w *Workspace) BackwardNode(i, blocks int) {
	w.mustHold(blocks)
	w.blocks = blocks
	w.net.nodes[i].Op.backward(w, i, w.grads[i+1], 0)
}

// hand gives src, a gradient, to activation k.
func (w *Workspace) hand(h hand, k int, src []float32) {
	size := w.length(w.net.size(k))
	dst, src, act := w.grads[k][:size], src[:size], w.act(k)[:size]
	switch {
	case h.add && h.gate:
		w.net.isa.Add(dst, src, kernels.Gate, act)
	case h.add:
		w.net.isa.Add(dst, src, kernels.None, nil)
	case h.gate:
		w.net.isa.ReLUGrad(dst, src, act)
	default:
		copy(dst, src)
	}
}

// handNew is hand for a gradient that write computes, in place where that is possible.
func (w *Workspace) handNew(h hand, k int, write func(dst []float32)) {
	size := w.length(w.net.size(k))
	if h.add {
		write(w.sum[:size])
		w.hand(h, k, w.sum)
		return
	}
	dst := w.grads[k][:size]
	write(dst)
	if h.gate {
		w.net.isa.ReLUGrad(dst, dst, w.act(k)[:size])
	}
}

func epilogue(relu bool) kernels.Epilogue {
	if relu {
		return kernels.ReLU
	}
	return kernels.None
}
