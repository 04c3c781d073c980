package net

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Affine is a convolution or a fully connected layer as compiled, with the
// addition and the ReLU after it, if any: ReLU(fl(W·x + b) + s). Its slices are not to be
// changed.
type Affine struct {
	Index   int // in the architecture's list of layers: of the conv or fc
	Add     int // the same of the add that follows, −1: none
	Node    int // of Network.Nodes
	Src     int // the activation x that it reads: that of the node before in a plain list
	Skip    int // the activation s added to its sums, −1: none
	Name    string
	Shape   kernels.Shape
	ReLU    bool
	B       []float32   // [OutC]
	in      model.Shape // of the input before it is flattened for an FC layer
	isa     *kernels.ISA
	param   *model.Param
	rows    []float32 // Weights, where they are kept; nil: made when asked for
	macs    int64
	lanes   *kernels.Linear // nil for SmallBatches
	adjoint *kernels.Linear // nil without Backward
	small   *kernels.Small  // nil for LargeBatches

	smallBack              *kernels.Small    // nil for LargeBatches and without Backward
	winograd, winogradBack *kernels.Winograd // nil unless chosen; then lanes and adjoint are not used
}

// Lanes returns the layer's W·x + b on lanes, without its ReLU; nil for
// SmallBatches, or if Winograd's algorithm takes its place.
func (a *Affine) Lanes() *kernels.Linear { return a.lanes }

// Adjoint returns dx = Wᵀ·dy on lanes; nil where Lanes is, and without Backward.
func (a *Affine) Adjoint() *kernels.Linear { return a.adjoint }

// newAffine compiles layer i of the model, a conv or fc.
func (n *Network) newAffine(i int, in model.Shape) Affine {
	l := &n.model.Arch.Layers[i]
	a := Affine{Index: i, Name: nodeName(l.Kind, i), Shape: Geometry(*l, in), in: in, isa: n.isa, param: &n.model.Params[i]}
	a.B = a.param.B
	switch {
	case a.param.Stored != nil:
	case !a.permuted():
		a.rows = a.param.W
	case n.options.Batches == LargeBatches: // as a trainer has it
		a.rows = make([]float32, len(a.param.W))
	}
	a.macs = a.Shape.MACs()
	a.prepare(n.isa, n.options)
	return a
}

// Winograd reports whether Options.Winograd concerns the layer.
func (a *Affine) Winograd() bool {
	return kernels.CanWinograd(a.Shape) && min(a.Shape.InC, a.Shape.OutC) >= winogradChannels
}

// prepare makes room for the weights that the options ask for.
func (a *Affine) prepare(isa *kernels.ISA, o Options) {
	s := a.Shape
	if o.Batches != LargeBatches {
		w := a.packAs()
		a.small = a.inPlace(w)
		if a.small == nil {
			a.small = kernels.NewSmall16(isa, s, w)
		}
		if o.Backward {
			a.smallBack = kernels.NewSmallAdjoint16(isa, s, w)
		}
	}
	if o.Batches == SmallBatches {
		return
	}
	if o.Winograd && a.Winograd() {
		a.winograd = kernels.NewWinograd(isa, s, false)
		if o.Backward {
			a.winogradBack = kernels.NewWinograd(isa, s, true)
		}
		return
	}
	a.lanes = kernels.NewForward(isa, s)
	if o.Backward {
		a.adjoint = kernels.NewAdjoint(isa, s)
	}
}

// forward computes the layer's sums, adds what there is to add, and takes them
// through the ReLU.
func (a *Affine) forward(w *Workspace, n *Node, dst []float32) {
	e := epilogue(n.ReLU)
	if a.Skip < 0 {
		a.apply(w, false, dst, w.act(a.Src), e, nil)
		return
	}
	a.apply(w, false, dst, w.act(a.Src), kernels.None, nil)
	size := w.length(a.Shape.Out())
	w.net.isa.Add(dst[:size], w.act(a.Skip)[:size], e, nil)
}

// backward hands the gradient on to the source and to what was added.
func (a *Affine) backward(w *Workspace, i int, dout []float32, least int) {
	h := w.net.hands[i]
	if a.Src >= least {
		e := kernels.None
		if h[0].gate {
			e = kernels.Gate
		}
		if h[0].add {
			size := w.length(a.Shape.In())
			a.apply(w, true, w.sum, dout, kernels.None, nil)
			w.net.isa.Add(w.grads[a.Src][:size], w.sum[:size], e, w.act(a.Src)[:size])
		} else {
			a.apply(w, true, w.grads[a.Src], dout, e, w.act(a.Src))
		}
	}
	if a.Skip >= least {
		w.hand(h[1], a.Skip, dout)
	}
}

// apply computes W·src + b or, for the way back, Wᵀ·src on the blocks of the pass.
func (a *Affine) apply(w *Workspace, back bool, dst, src []float32, e kernels.Epilogue, gate []float32) {
	switch {
	case w.layout == Singles && back:
		w.applySmall(a, a.smallBack, dst, src, e, gate)
	case w.layout == Singles:
		w.applySmall(a, a.small, dst, src, e, gate)
	case back && a.winogradBack != nil:
		a.winogradBack.Apply(&w.sc[0], dst, src, w.blocks, e, gate)
	case back:
		a.adjoint.Apply(&w.sc[0], dst, src, w.blocks, e, gate)
	case a.winograd != nil:
		a.winograd.Apply(&w.sc[0], dst, src, w.blocks, e, gate)
	default:
		a.lanes.Apply(&w.sc[0], dst, src, w.blocks, e, gate)
	}
}

// Geometry returns the kernels' view of a conv or fc layer with input in. An
// FC layer sees its input, which lies [H][W][C] in memory, as one long pixel.
func Geometry(l model.Layer, in model.Shape) kernels.Shape {
	if l.Kind == model.FC {
		return kernels.FC(in.Size(), l.Out)
	}
	return kernels.Shape{
		InC: in.C, InH: in.H, InW: in.W, OutC: l.Out,
		KH: l.Kernel[0], KW: l.Kernel[1], StrideH: l.Stride[0], StrideW: l.Stride[1],
		PadH: l.Padding[0], PadW: l.Padding[1],
	}
}
