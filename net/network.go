package net

import (
	"errors"
	"fmt"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Options say how a model is compiled. The zero value gives a network for
// inference on the best kernel set.
type Options struct {
	ISA      string // kernel set; empty: EPSBALL_ISA, or the best available
	Backward bool   // pack what the backward passes need
	Batches  Batches

	// Winograd runs 3×3 convolutions of stride 1 with enough channels by
	// Winograd's algorithm: about twice as fast, with rounding that certificates
	// do not cover. A network compiled so serves attacks and inference alone. It
	// implies LargeBatches, so that all batch sizes give the same bits.
	Winograd bool
}

// winogradChannels is the number of channels, in and out, from which Winograd's
// transforms pay.
const winogradChannels = 16

// Batches says which batch sizes a network packs weights for. Each of the two
// paths keeps a copy of the weights of its own; both give the same bits.
type Batches int

const (
	AllBatches   Batches = iota
	SmallBatches         // one image or a few at a time: all passes but training, half the memory
	LargeBatches         // lanes of eight images: all passes, slow for a single image
)

// Network is a compiled model.
type Network struct {
	model   *model.Model
	isa     *kernels.ISA
	input   model.Shape
	output  model.Shape
	norm    []model.Layer // the normalize layer, if any
	options Options
	layers  []Affine
	parts   []reloadPart

	// See schedule.
	steps       []step
	acts, grads []int // buffers of activations and gradients that need not all stay alive
	sums        int   // elements of the largest gradient that is added to another; 0: none
}

// Affine is a convolution or a fully connected layer as compiled, with the
// addition and the ReLU after it, if any: ReLU(fl(W·x + b) + s). Activation 0 is
// the network's input after normalize, activation i+1 the output of Layers()[i].
// Its slices are not to be changed.
type Affine struct {
	Index   int // in the architecture's list of layers: of the conv or fc
	Add     int // the same of the add that follows, −1: none
	Src     int // the activation x that it reads: i of Layers()[i] in a plain list
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
	forward *kernels.Linear // nil for SmallBatches
	adjoint *kernels.Linear // nil without Backward
	small   *kernels.Small  // nil for LargeBatches

	smallBack              *kernels.Small    // nil for LargeBatches and without Backward
	winograd, winogradBack *kernels.Winograd // nil unless chosen; then forward and adjoint are not used
}

// Lanes returns the layer's W·x + b on lanes, without its ReLU; nil for
// SmallBatches, or if Winograd's algorithm takes its place.
func (a *Affine) Lanes() *kernels.Linear { return a.forward }

// Compile checks the model and packs it. The model must not change afterwards.
func Compile(m *model.Model, o Options) (*Network, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	isa, err := kernels.Choose(o.ISA)
	if err != nil {
		return nil, err
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	if err := supported(&m.Arch); err != nil {
		return nil, err
	}
	if o.Batches < AllBatches || o.Batches > LargeBatches {
		return nil, fmt.Errorf("batches %d: want AllBatches, SmallBatches or LargeBatches", int(o.Batches))
	}
	if o.Winograd && o.Batches == SmallBatches {
		return nil, errors.New("winograd: runs large batches alone, want LargeBatches")
	}
	if o.Winograd {
		o.Batches = LargeBatches
	}
	n := &Network{options: o, model: m, isa: isa, input: m.Arch.Input}
	n.build(&m.Arch, shapes, func(i int) Affine {
		l, in := m.Arch.Layers[i], m.Arch.InputShape(i, shapes)
		a := Affine{Index: i, Name: fmt.Sprintf("%s%d", l.Kind, i), Shape: Geometry(l, in), in: in, isa: isa, param: &m.Params[i]}
		a.B = a.param.B
		switch {
		case a.param.Stored != nil:
		case !a.permuted():
			a.rows = a.param.W
		case o.Batches == LargeBatches: // as a trainer has it
			a.rows = make([]float32, len(a.param.W))
		}
		a.macs = a.Shape.MACs()
		a.prepare(isa, o)
		return a
	})
	for i := range n.layers {
		parts := 1
		if a := &n.layers[i]; a.parted() {
			parts = a.Shape.PackParts()
		}
		for p := range parts {
			n.parts = append(n.parts, reloadPart{i, p})
			n.Reload(len(n.parts) - 1)
		}
	}
	return n, nil
}

// Winograd tells whether Options.Winograd concerns the layer.
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
	a.forward = kernels.NewForward(isa, s)
	if o.Backward {
		a.adjoint = kernels.NewAdjoint(isa, s)
	}
}

// epilogue is what ends the layer.
func (a *Affine) epilogue() kernels.Epilogue {
	if a.ReLU {
		return kernels.ReLU
	}
	return kernels.None
}

// run computes the layer's sums and, unless there is something to add first, its
// ReLU on lanes.
func (a *Affine) run(sc *kernels.Scratch, dst, src []float32, groups int) {
	e := a.epilogue()
	if a.Skip >= 0 {
		e = kernels.None
	}
	if a.winograd != nil {
		a.winograd.Apply(sc, dst, src, groups, e, nil)
		return
	}
	a.forward.Apply(sc, dst, src, groups, e, nil)
}

// back carries a gradient from the layer's output to its input, through the
// gate if there is one.
func (a *Affine) back(sc *kernels.Scratch, dst, src []float32, groups int, e kernels.Epilogue, gate []float32) {
	if a.winogradBack != nil {
		a.winogradBack.Apply(sc, dst, src, groups, e, gate)
		return
	}
	a.adjoint.Apply(sc, dst, src, groups, e, gate)
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

// Model returns the model the network was compiled from.
func (n *Network) Model() *model.Model { return n.model }

// ISA returns the kernel set in use.
func (n *Network) ISA() *kernels.ISA { return n.isa }

// Input returns the shape of one image, channels first.
func (n *Network) Input() model.Shape { return n.input }

// Classes returns the number of outputs: a classifier's logits.
func (n *Network) Classes() int { return n.output.Size() }

// Output returns the shape of the last activation. The outputs are its elements,
// channels first.
func (n *Network) Output() model.Shape { return n.output }

// HasLanes tells whether the network was compiled for large batches.
func (n *Network) HasLanes() bool { return n.options.Batches != SmallBatches }

// HasSmall tells whether the network was compiled for batches of a few images.
func (n *Network) HasSmall() bool { return n.options.Batches != LargeBatches }

// HasWinograd tells whether any layer runs by Winograd's algorithm; what holds
// for direct sums then does not hold for the network as executed.
func (n *Network) HasWinograd() bool {
	return slices.ContainsFunc(n.layers, func(l Affine) bool { return l.winograd != nil })
}

// HasBackward tells whether the network was compiled with backward passes.
func (n *Network) HasBackward() bool { return n.options.Backward }

// Layers returns the affine layers in an order in which they can be computed.
func (n *Network) Layers() []Affine { return n.layers }

// Normalization returns mean and standard deviation per channel, or nil.
func (n *Network) Normalization() (mean, std []float32) {
	if len(n.norm) == 0 {
		return nil, nil
	}
	return n.norm[0].Mean, n.norm[0].Std
}

// MACs returns the multiply-adds of one image's forward pass, those with zero
// padding left out.
func (n *Network) MACs() int64 {
	var s int64
	for _, l := range n.layers {
		s += l.macs
	}
	return s
}

// supported refuses layers that passes do not compute.
func supported(a *model.Architecture) error {
	for i := range a.Layers {
		l := &a.Layers[i]
		switch l.Kind {
		case model.Normalize, model.FC:
		case model.Conv:
			if l.GroupCount() > 1 || l.Dilations() != [2]int{1, 1} {
				return fmt.Errorf("layers[%d]: groups and dilation of %q are not computed yet", i, l.Kind)
			}
		case model.Add:
			if _, _, ok := a.Residual(i); !ok {
				return fmt.Errorf("layers[%d]: %q of two layers that are not conv or fc is not computed yet", i, l.Kind)
			}
		case model.ReLU:
			k := a.InputsOf(i)[0]
			if k < 0 || k != i-1 || !a.Layers[k].HasMatrix() && a.Layers[k].Kind != model.Add {
				return fmt.Errorf("layers[%d]: %q away from conv, fc or add is not computed yet", i, l.Kind)
			}
		default:
			return fmt.Errorf("layers[%d]: %q is not computed yet", i, l.Kind)
		}
	}
	return nil
}
