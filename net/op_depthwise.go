package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Depthwise is a convolution of each channel by itself. With one tap it is a factor and
// a summand for each channel, which is what a batch normalization computes.
type Depthwise struct {
	Sliding kernels.Sliding

	norm          int // its place among the network's batchnorms, −1: a convolution
	layer         *model.Layer
	param         *model.Param
	macs          int64
	weights, bias []float32
	ahead, back   *kernels.Depthwise // back: nil without Backward
}

func (n *Network) newDepthwise(i int, in model.Shape) *Depthwise {
	l := &n.model.Arch.Layers[i]
	d := &Depthwise{norm: -1, layer: l, param: &n.model.Params[i]}
	if l.Kind == model.BatchNorm {
		d.norm = n.norms
		n.norms++
		d.weights, d.bias = make([]float32, in.C), make([]float32, in.C)
		d.Sliding = kernels.Sliding{C: in.C, InH: in.H, InW: in.W, KH: 1, KW: 1, StrideH: 1, StrideW: 1}
	} else {
		d.Sliding = sliding(l, in)
	}
	d.macs = d.Sliding.MACs()
	d.ahead = kernels.NewDepthwise(n.isa, d.Sliding)
	if n.options.Backward {
		d.back = kernels.NewDepthwiseAdjoint(n.isa, d.Sliding)
	}
	return d
}

// Weights and Bias return W, [C][KH][KW], and b, [C], as the float32 values that the
// passes use. They must not be changed.
func (d *Depthwise) Weights() []float32 { return d.weights }
func (d *Depthwise) Bias() []float32    { return d.bias }

// Kernel returns W·x + b, without the node's ReLU, and Adjoint Wᵀ·dy; the second is nil
// without Backward.
func (d *Depthwise) Kernel() *kernels.Depthwise  { return d.ahead }
func (d *Depthwise) Adjoint() *kernels.Depthwise { return d.back }

func (d *Depthwise) parts() int { return 1 }

func (d *Depthwise) pack(int) {
	if d.norm >= 0 {
		d.param.AffineInto(d.weights, d.bias, d.layer.Eps)
	} else {
		d.weights, d.bias = d.param.Rows(), d.param.B
	}
	d.ahead.Pack(d.weights, false)
	d.ahead.SetBias(d.bias)
	if d.back != nil {
		d.back.Pack(d.weights, false)
	}
}

func (d *Depthwise) bytes() int {
	n := d.ahead.Bytes()
	if d.back != nil {
		n += d.back.Bytes()
	}
	return n
}

func (d *Depthwise) forward(w *Workspace, n *Node, dst []float32) {
	if src, e := w.act(n.In[0]), epilogue(n.ReLU); w.normalizer != nil && d.norm >= 0 {
		w.normalizer.forward(w, d, dst, src, e)
	} else {
		d.ahead.Apply(&w.sc[0], dst, src, w.blocks, int(w.layout), e, nil)
	}
}

func (d *Depthwise) backward(w *Workspace, i int, dout []float32, least int) {
	k := w.net.nodes[i].In[0]
	if k < least {
		return
	}
	w.handNew(w.net.hands[i][0], k, func(dst []float32) {
		if w.normalizer != nil && d.norm >= 0 {
			w.normalizer.backward(w, d, dst, dout, w.act(k))
		} else {
			d.back.Apply(&w.sc[0], dst, dout, w.blocks, int(w.layout), kernels.None, nil)
		}
	})
}
