package model

import (
	"fmt"
	"slices"
)

// Kind names what a layer computes.
type Kind string

// The kinds of layers.
const (
	Normalize Kind = "normalize" // y = (x-mean)/std for each input channel
	Conv      Kind = "conv"      // cross-correlation with zero padding, plus bias
	FC        Kind = "fc"        // y = W·x + b over the flattened input
	BatchNorm Kind = "batchnorm" // y = (x-mean)/√(var+eps)·W + B for each channel
	ReLU      Kind = "relu"      // y = max(x, 0)
	LeakyReLU Kind = "leakyrelu" // y = x where x > 0, else slope·x
	Sigmoid   Kind = "sigmoid"   // y = 1/(1+exp(-x))
	Tanh      Kind = "tanh"      // y = tanh(x)
	Clip      Kind = "clip"      // y = min(max(x, min), max)
	MaxPool   Kind = "maxpool"   // the largest element of a window of one channel
	AvgPool   Kind = "avgpool"   // the mean of a window of one channel
	Add       Kind = "add"       // y = a + b, element by element
	Concat    Kind = "concat"    // the channels of its inputs, one input after another
)

// Limits on every architecture. They keep every product of sizes within an
// int, also where int has 32 bits.
const (
	maxLayers     = 1024
	maxSide       = 4096    // an input dimension, a kernel or a stride
	maxActivation = 1 << 28 // elements
	maxWeight     = 1 << 30 // elements
	maxMACs       = 1 << 56 // of the whole network, with what pools add or compare
	maxSlopes     = 1 << 18 // of the whole network, so that a file's header stays small
	maxInputs     = 1 << 16 // of all concats, likewise
	maxName       = 256     // bytes
)

// Shape of an activation: channels, height, width; channels are outermost.
type Shape struct{ C, H, W int }

// Size returns the number of elements, C·H·W.
func (s Shape) Size() int { return s.C * s.H * s.W }

// String returns, say, "1x28x28".
func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.C, s.H, s.W) }

// Layer describes one layer. Fields that do not belong to its kind are zero.
type Layer struct {
	Kind Kind

	// Inputs are the indices of the layers whose outputs this one reads, NetInput
	// for the network's input: two for add, two or more for concat, at most one for
	// the others; nil: the layer before. They point backwards.
	Inputs []int

	// Mean and Std hold one value for each input channel (normalize): finite,
	// Std > 0.
	Mean, Std []float32

	// Out is the number of output channels (conv) or features (fc).
	Out int

	// Kernel, Stride and Padding are {height, width} (conv, maxpool, avgpool).
	// Padding is added on both sides: zeros for conv, nothing that counts for the
	// pools, but see CountPadding.
	Kernel, Stride, Padding [2]int

	// Dilation is the distance of a kernel's taps, {height, width} (conv); zero
	// means 1.
	Dilation [2]int

	// Groups splits the channels, of input and output, into as many parts that see
	// nothing of each other (conv); 0 means 1.
	Groups int

	// CountPadding divides by the whole window also where a part of it lies on
	// padding (avgpool).
	CountPadding bool

	// Slope is the factor of negative values: one, or one for each channel
	// (leakyrelu).
	Slope []float32

	Min, Max float32 // clip: finite, Min < Max
	Eps      float32 // batchnorm: added to the variance; finite, ≥ 0
}

// HasParams reports whether the layer has parameters: a weight and a bias.
func (l *Layer) HasParams() bool { return l.HasMatrix() || l.Kind == BatchNorm }

// HasMatrix reports whether the layer is a conv or an fc.
func (l *Layer) HasMatrix() bool { return l.Kind == Conv || l.Kind == FC }

// GroupCount returns the number of groups of a conv, 1 for other kinds.
func (l *Layer) GroupCount() int { return max(1, l.Groups) }

// Dilations returns the distances of a kernel's taps, {height, width}.
func (l *Layer) Dilations() [2]int { return [2]int{max(1, l.Dilation[0]), max(1, l.Dilation[1])} }

// WeightShape returns the dimensions of the layer's weight for an input of shape in:
// {Out, C/Groups, KH, KW} for conv, {Out, C·H·W} for fc, {C} for batchnorm, nil for
// the rest.
func (l *Layer) WeightShape(in Shape) []int {
	switch l.Kind {
	case Conv:
		return []int{l.Out, in.C / l.GroupCount(), l.Kernel[0], l.Kernel[1]}
	case FC:
		return []int{l.Out, in.Size()}
	case BatchNorm:
		return []int{in.C}
	}
	return nil
}

// NetInput stands for the network's input in Layer.Inputs.
const NetInput = -1

// Architecture is a network without its weights: layers in an order in which each can
// be computed from earlier ones. The elements of the last layer's output, channels
// first, are the network's outputs; in a classifier they are the logits of the classes.
type Architecture struct {
	Name   string // free text without control characters, at most 256 bytes
	Input  Shape
	Layers []Layer
}

// Validate returns nil or a *FormatError for the first rule that is broken.
// The rules are listed in docs/model-format.md.
func (a *Architecture) Validate() error {
	_, err := a.walk()
	return err
}

// Shapes returns the shape of every activation: Shapes()[0] is the input and
// Shapes()[i+1] the output of layer i. The output of fc is {Out, 1, 1}. The
// error is Validate's.
func (a *Architecture) Shapes() ([]Shape, error) {
	w, err := a.walk()
	if err != nil {
		return nil, err
	}
	return w.shapes, nil
}

// Classes returns the number of outputs, which are a classifier's logits, or 0
// if the architecture is not valid.
func (a *Architecture) Classes() int {
	w, err := a.walk()
	if err != nil {
		return 0
	}
	return w.shapes[len(w.shapes)-1].Size()
}

// InputsOf returns the inputs of layer i as indices of layers, NetInput for the
// network's: Layer.Inputs, or the layer before.
func (a *Architecture) InputsOf(i int) []int {
	if in := a.Layers[i].Inputs; len(in) > 0 {
		return in
	}
	return []int{i - 1}
}

// source returns the first input of layer i.
func (a *Architecture) source(i int) int {
	if in := a.Layers[i].Inputs; len(in) > 0 {
		return in[0]
	}
	return i - 1
}

// InputShape returns the shape of the first input of layer i, given Shapes.
func (a *Architecture) InputShape(i int, shapes []Shape) Shape { return shapes[a.source(i)+1] }

// Residual splits the inputs of layer i, an add, into a branch and a skip. The branch
// is a conv or fc layer that nothing else reads, so that passes can add within its
// sums; the skip is the other input, which may be NetInput. If both inputs are such
// layers, the later one is the branch. If neither is, ok is false: the add is an
// operation of its own.
func (a *Architecture) Residual(i int) (branch, skip int, ok bool) {
	p, q := a.Layers[i].Inputs[0], a.Layers[i].Inputs[1]
	if p > q {
		p, q = q, p
	}
	readers := a.Readers()
	if a.branch(q, readers) {
		return q, p, true
	}
	return p, q, a.branch(p, readers)
}

// branch reports whether an add may take layer k as its Residual branch.
func (a *Architecture) branch(k int, readers []int) bool {
	return k >= 0 && a.Layers[k].HasMatrix() && readers[k+1] == 1
}

// Readers returns how many inputs of layers each activation is, in the order of
// Shapes. The inputs must be in range.
func (a *Architecture) Readers() []int {
	n := make([]int, len(a.Layers)+1)
	for i := range a.Layers {
		for _, k := range a.InputsOf(i) {
			n[k+1]++
		}
	}
	return n
}

// Sequential reports whether every layer reads only the layer before it.
func (a *Architecture) Sequential() bool {
	for i := range a.Layers {
		if in := a.InputsOf(i); len(in) != 1 || in[0] != i-1 {
			return false
		}
	}
	return true
}

// MACs returns the multiply-accumulate operations of one forward pass of one image:
// those of conv, fc and batchnorm, counting padding as if it were data. It is 0 if the
// architecture is not valid.
func (a *Architecture) MACs() int64 {
	w, err := a.walk()
	if err != nil {
		return 0
	}
	return w.macs
}

// Parameters returns the number of weights and biases, or 0 if the
// architecture is not valid.
func (a *Architecture) Parameters() int64 {
	w, err := a.walk()
	if err != nil {
		return 0
	}
	return w.params
}

// Clone returns a deep copy.
func (a *Architecture) Clone() *Architecture {
	c := *a
	c.Layers = slices.Clone(a.Layers)
	for i := range c.Layers {
		c.Layers[i].Inputs = slices.Clone(c.Layers[i].Inputs)
		c.Layers[i].Mean = slices.Clone(c.Layers[i].Mean)
		c.Layers[i].Std = slices.Clone(c.Layers[i].Std)
		c.Layers[i].Slope = slices.Clone(c.Layers[i].Slope)
	}
	return &c
}
