package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Pool takes the maximum or the mean of each window of each channel.
type Pool struct {
	Sliding kernels.Sliding
	Mean    bool

	// CountPadding divides a mean by all taps of its window, including those on padding.
	CountPadding bool

	kernel *kernels.Pooling
}

func (n *Network) newPool(l *model.Layer, in model.Shape) *Pool {
	p := &Pool{Sliding: sliding(l, in), Mean: l.Kind == model.AvgPool, CountPadding: l.CountPadding}
	if p.Mean {
		p.kernel = kernels.NewAvgPool(n.isa, p.Sliding, p.CountPadding)
	} else {
		p.kernel = kernels.NewMaxPool(n.isa, p.Sliding)
	}
	return p
}

// sliding returns the kernels' view of a pool or a depthwise conv with input in.
func sliding(l *model.Layer, in model.Shape) kernels.Sliding {
	return kernels.Sliding{
		C: in.C, InH: in.H, InW: in.W, KH: l.Kernel[0], KW: l.Kernel[1], StrideH: l.Stride[0], StrideW: l.Stride[1],
		PadH: l.Padding[0], PadW: l.Padding[1], DilH: l.Dilation[0], DilW: l.Dilation[1],
	}
}

// Kernel returns the pool's kernel.
func (p *Pool) Kernel() *kernels.Pooling { return p.kernel }

func (p *Pool) forward(w *Workspace, n *Node, dst []float32) {
	p.kernel.Apply(&w.sc[0], dst, w.act(n.In[0]), w.blocks, int(w.layout))
}

func (p *Pool) backward(w *Workspace, i int, dout []float32, least int) {
	k := w.net.nodes[i].In[0]
	if k < least {
		return
	}
	w.handNew(w.net.hands[i][0], k, func(dst []float32) {
		p.kernel.Gradient(&w.sc[0], dst, dout, w.act(k), w.act(i+1), w.blocks, int(w.layout))
	})
}
