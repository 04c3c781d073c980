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

// Batches says for which batch sizes a network packs weights. Each of the two paths
// keeps its own copy of the weights; both give the same bits.
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
	nodes   []Node
	layers  []Affine // of the nodes
	norms   int      // batchnorms
	parts   []reloadPart

	// See schedule.
	hands       [][]hand // of each node and input
	acts, grads []int    // buffers of activations and gradients that need not all stay alive
	sums        int      // elements of the largest gradient that is added to another; 0: none
	spares      int      // elements of the room that Grouped needs
}

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
	if err := n.build(&m.Arch, shapes); err != nil {
		return nil, err
	}
	for i := range n.nodes {
		op, ok := n.nodes[i].Op.(weighted)
		if !ok {
			continue
		}
		for p := range op.parts() {
			n.parts = append(n.parts, reloadPart{op, p})
			n.Reload(len(n.parts) - 1)
		}
	}
	return n, nil
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

// HasLanes reports whether the network was compiled for large batches.
func (n *Network) HasLanes() bool { return n.options.Batches != SmallBatches }

// HasSmall reports whether the network was compiled for batches of a few images.
func (n *Network) HasSmall() bool { return n.options.Batches != LargeBatches }

// HasWinograd reports whether any layer runs by Winograd's algorithm. If so, what holds
// for direct sums does not hold for the network as executed.
func (n *Network) HasWinograd() bool {
	return slices.ContainsFunc(n.layers, func(l Affine) bool { return l.winograd != nil })
}

// HasBackward reports whether the network was compiled with backward passes.
func (n *Network) HasBackward() bool { return n.options.Backward }

// Nodes returns the operations in an order in which they can be computed. Activation 0
// is the input after normalize, and activation i+1 the output of node i. The list must
// not be changed.
func (n *Network) Nodes() []Node { return n.nodes }

// shape and size are those of activation k of one image.
func (n *Network) shape(k int) model.Shape {
	if k == 0 {
		return n.input
	}
	return n.nodes[k-1].Shape
}

func (n *Network) size(k int) int { return n.shape(k).Size() }

// Layers returns those nodes that are dense convolutions or fully connected layers, in
// order.
func (n *Network) Layers() []Affine { return n.layers }

// Normalization returns the mean and the standard deviation of each channel, or nil.
func (n *Network) Normalization() (mean, std []float32) {
	if len(n.norm) == 0 {
		return nil, nil
	}
	return n.norm[0].Mean, n.norm[0].Std
}

// MACs returns the multiply-adds of one image's forward pass, without those on zero
// padding.
func (n *Network) MACs() int64 {
	var s int64
	for i := range n.nodes {
		s += n.nodes[i].MACs()
	}
	return s
}

// MACs returns the multiply-adds of one image, those with zero padding left out, and 0
// for what only adds, compares or applies a function.
func (n *Node) MACs() int64 {
	switch op := n.Op.(type) {
	case *Affine:
		return op.macs
	case *Depthwise:
		return op.macs
	case *Grouped:
		return op.macs
	}
	return 0
}
