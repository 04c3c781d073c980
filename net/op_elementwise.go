package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Elementwise applies a function to each element: LeakyReLU, Clip, Sigmoid, Tanh, or a
// ReLU that is not part of another node.
type Elementwise struct {
	Kind     model.Kind
	Slope    []float32 // of LeakyReLU: one, or one for each channel
	Min, Max float32   // of Clip

	leaky *kernels.LeakyReLU
}

func (n *Network) newElementwise(l *model.Layer, in model.Shape) *Elementwise {
	e := &Elementwise{Kind: l.Kind, Slope: l.Slope, Min: l.Min, Max: l.Max}
	if l.Kind == model.LeakyReLU {
		e.leaky = kernels.NewLeakyReLU(n.isa, l.Slope, in.C)
	}
	return e
}

func (e *Elementwise) forward(w *Workspace, n *Node, dst []float32) {
	size, isa := w.used(n.Shape.Size()), w.net.isa
	dst, src := dst[:size], w.act(n.In[0])[:size]
	switch e.Kind {
	case model.ReLU:
		isa.ReLU(dst, src)
	case model.LeakyReLU:
		e.leaky.Apply(dst, src, int(w.layout))
	case model.Clip:
		isa.Clip(dst, src, e.Min, e.Max)
	case model.Sigmoid:
		isa.Sigmoid(dst, src)
	case model.Tanh:
		isa.Tanh(dst, src)
	}
}

func (e *Elementwise) backward(w *Workspace, i int, dout []float32, least int) {
	k, isa := w.net.nodes[i].In[0], w.net.isa
	if k < least {
		return
	}
	size := w.used(w.net.size(k))
	dout, x, y := dout[:size], w.act(k)[:size], w.act(i + 1)[:size]
	w.handNew(w.net.hands[i][0], k, func(dst []float32) {
		switch dst = dst[:size]; e.Kind {
		case model.ReLU:
			isa.ReLUGrad(dst, dout, y)
		case model.LeakyReLU:
			e.leaky.Gradient(dst, dout, x, int(w.layout))
		case model.Clip:
			isa.ClipGrad(dst, dout, x, e.Min, e.Max)
		case model.Sigmoid:
			isa.SigmoidGrad(dst, dout, y)
		case model.Tanh:
			isa.TanhGrad(dst, dout, y)
		}
	})
}
