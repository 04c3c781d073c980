package model

import (
	"fmt"
	"math"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Kind names what a layer computes.
type Kind string

// The kinds of layers.
const (
	Normalize Kind = "normalize" // y = (x-mean)/std for each input channel
	Conv      Kind = "conv"      // cross-correlation with zero padding, plus bias
	FC        Kind = "fc"        // y = W·x + b over the flattened input
	ReLU      Kind = "relu"      // y = max(x, 0)
)

// Limits on every architecture. They keep every product of sizes within an
// int, also where int has 32 bits.
const (
	maxLayers     = 1024
	maxSide       = 4096    // an input dimension, a kernel or a stride
	maxActivation = 1 << 28 // elements
	maxWeight     = 1 << 30 // elements
	maxMACs       = 1 << 56 // of the whole network
	maxName       = 256     // bytes
)

// smallestStd is the smallest normal float32: its reciprocal is still finite.
const smallestStd = 0x1p-126

// Shape of an activation: channels, height, width; channels are outermost.
type Shape struct{ C, H, W int }

// Size returns the number of elements, C·H·W.
func (s Shape) Size() int { return s.C * s.H * s.W }

// String returns, say, "1x28x28".
func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.C, s.H, s.W) }

// Layer describes one layer. Fields that do not belong to its kind are zero.
type Layer struct {
	Kind Kind

	// Mean and Std hold one value for each input channel (normalize): finite,
	// Std > 0.
	Mean, Std []float32

	// Out is the number of output channels (conv) or features (fc).
	Out int

	// Kernel, Stride and Padding are {height, width} (conv). Padding zeros are
	// added on both sides.
	Kernel, Stride, Padding [2]int
}

// HasParams reports whether the layer has a weight and a bias.
func (l *Layer) HasParams() bool { return l.Kind == Conv || l.Kind == FC }

// WeightShape returns the dimensions of the layer's weight for an input of
// shape in: {Out, C, KH, KW} for conv, {Out, C·H·W} for fc, nil for the rest.
func (l *Layer) WeightShape(in Shape) []int {
	switch l.Kind {
	case Conv:
		return []int{l.Out, in.C, l.Kernel[0], l.Kernel[1]}
	case FC:
		return []int{l.Out, in.Size()}
	}
	return nil
}

// Architecture is a network without its weights: layers applied in order to an
// input of one shape. The last layer's features are the classes' logits.
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

// Classes returns the number of logits, or 0 if the last layer is not fc.
func (a *Architecture) Classes() int {
	if n := len(a.Layers); n > 0 && a.Layers[n-1].Kind == FC {
		return a.Layers[n-1].Out
	}
	return 0
}

// MACs returns the multiply-accumulate operations of one forward pass of one
// image: those of conv and fc, with padding counted as if it were data. It is 0
// if the architecture is not valid.
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
		c.Layers[i].Mean = slices.Clone(c.Layers[i].Mean)
		c.Layers[i].Std = slices.Clone(c.Layers[i].Std)
	}
	return &c
}

// walked is what one pass over the layers finds out.
type walked struct {
	shapes       []Shape
	macs, params int64
}

// walk checks every rule and adds up the sizes on the way, so that no size is
// ever computed from unchecked numbers.
func (a *Architecture) walk() (*walked, error) {
	if err := checkName(a.Name); err != nil {
		return nil, err
	}
	for i, d := range [3]int{a.Input.C, a.Input.H, a.Input.W} {
		if d < 1 || d > maxSide {
			return nil, fieldErr(fmt.Sprintf("input[%d]", i), "got %d, expected 1 to %d", d, maxSide)
		}
	}
	if _, ok := product(maxActivation, a.Input.C, a.Input.H, a.Input.W); !ok {
		return nil, fieldErr("input", "got %v, expected at most %d elements", a.Input, maxActivation)
	}
	if n := len(a.Layers); n < 1 || n > maxLayers {
		return nil, fieldErr("layers", "got %d layers, expected 1 to %d", n, maxLayers)
	}
	w := &walked{shapes: make([]Shape, 1, len(a.Layers)+1)}
	w.shapes[0] = a.Input
	for i := range a.Layers {
		l, in := &a.Layers[i], w.shapes[i]
		if err := a.checkPlace(i); err != nil {
			return nil, err
		}
		if err := l.checkUnset(i); err != nil {
			return nil, err
		}
		out, err := l.output(i, in)
		if err != nil {
			return nil, err
		}
		w.shapes = append(w.shapes, out)
		if !l.HasParams() {
			continue
		}
		weights, ok := product(maxWeight, l.WeightShape(in)...)
		if !ok {
			return nil, layerErr(i, "out", "got a weight of shape %v, expected at most %d elements",
				l.WeightShape(in), maxWeight)
		}
		w.params += weights + int64(l.Out)
		w.macs += weights * int64(out.H) * int64(out.W)
		if w.macs > maxMACs {
			return nil, layerErr(i, "out", "got %d multiply-accumulates up to here, expected at most %d",
				w.macs, int64(maxMACs))
		}
	}
	last := len(a.Layers) - 1
	if l := &a.Layers[last]; l.Kind != FC {
		return nil, layerErr(last, "type", "got %q as the last layer, expected %q", l.Kind, FC)
	} else if l.Out < 2 {
		return nil, layerErr(last, "out", "got %d classes, expected at least 2", l.Out)
	}
	return w, nil
}

func checkName(name string) error {
	if len(name) > maxName {
		return fieldErr("name", "got %d bytes, expected at most %d", len(name), maxName)
	}
	if !utf8.ValidString(name) {
		return fieldErr("name", "got %s, expected valid UTF-8", quote(name))
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fieldErr("name", "got %s, expected no control characters", quote(name))
		}
	}
	return nil
}

// checkPlace checks layer i's kind against the layer before it. Layers before i
// have been checked.
func (a *Architecture) checkPlace(i int) error {
	var before Kind // of the layer before; empty for the first
	if i > 0 {
		before = a.Layers[i-1].Kind
	}
	switch kind := a.Layers[i].Kind; kind {
	case Normalize:
		if i > 0 {
			return layerErr(i, "type", "got %q, expected it only as the first layer", kind)
		}
	case Conv:
		if slices.ContainsFunc(a.Layers[:i], func(l Layer) bool { return l.Kind == FC }) {
			return layerErr(i, "type", "got %q after %q, expected no %q any more", kind, FC, kind)
		}
	case FC:
	case ReLU:
		if before != Conv && before != FC {
			return layerErr(i, "type", "got %q, expected it only directly after %q or %q", kind, Conv, FC)
		}
	default:
		return layerErr(i, "type", "got %s, expected %q, %q, %q or %q",
			quote(string(kind)), Normalize, Conv, FC, ReLU)
	}
	return nil
}

// checkUnset refuses fields that mean nothing for the layer's kind: two
// architectures that compute the same are then equal as data.
func (l *Layer) checkUnset(i int) error {
	var zero [2]int
	if l.Kind != Normalize {
		if len(l.Mean) > 0 {
			return layerErr(i, "mean", "got %d values, expected none for %q", len(l.Mean), l.Kind)
		}
		if len(l.Std) > 0 {
			return layerErr(i, "std", "got %d values, expected none for %q", len(l.Std), l.Kind)
		}
	}
	if !l.HasParams() && l.Out != 0 {
		return layerErr(i, "out", "got %d, expected 0 for %q", l.Out, l.Kind)
	}
	if l.Kind == Conv {
		return nil
	}
	if l.Kernel != zero {
		return layerErr(i, "kernel", "got %v, expected zeros for %q", l.Kernel, l.Kind)
	}
	if l.Stride != zero {
		return layerErr(i, "stride", "got %v, expected zeros for %q", l.Stride, l.Kind)
	}
	if l.Padding != zero {
		return layerErr(i, "padding", "got %v, expected zeros for %q", l.Padding, l.Kind)
	}
	return nil
}

// output checks layer i's own numbers and returns the shape of its output.
func (l *Layer) output(i int, in Shape) (Shape, error) {
	switch l.Kind {
	case Normalize:
		return in, l.checkNormalize(i, in.C)
	case ReLU:
		return in, nil
	}
	if l.Out < 1 || l.Out > maxActivation {
		return Shape{}, layerErr(i, "out", "got %d, expected 1 to %d", l.Out, maxActivation)
	}
	if l.Kind == FC {
		return Shape{l.Out, 1, 1}, nil
	}
	var side [2]int
	for d, n := range [2]int{in.H, in.W} {
		k, s, p := l.Kernel[d], l.Stride[d], l.Padding[d]
		if k < 1 || k > maxSide {
			return Shape{}, layerErr(i, "kernel", "got %v, expected each 1 to %d", l.Kernel, maxSide)
		}
		if s < 1 || s > maxSide {
			return Shape{}, layerErr(i, "stride", "got %v, expected each 1 to %d", l.Stride, maxSide)
		}
		if p < 0 || p >= k {
			return Shape{}, layerErr(i, "padding", "got %v, expected each at least 0 and less than the kernel %v",
				l.Padding, l.Kernel)
		}
		if k > n+2*p {
			return Shape{}, layerErr(i, "kernel", "got %v, expected each at most the padded input, here %d",
				l.Kernel, n+2*p)
		}
		side[d] = (n+2*p-k)/s + 1
	}
	out := Shape{l.Out, side[0], side[1]}
	if _, ok := product(maxActivation, out.C, out.H, out.W); !ok {
		return Shape{}, layerErr(i, "out", "got an output of %v, expected at most %d elements", out, maxActivation)
	}
	return out, nil
}

func (l *Layer) checkNormalize(i, channels int) error {
	if len(l.Mean) != channels {
		return layerErr(i, "mean", "got %d values, expected %d, one for each input channel", len(l.Mean), channels)
	}
	if len(l.Std) != channels {
		return layerErr(i, "std", "got %d values, expected %d, one for each input channel", len(l.Std), channels)
	}
	for c, v := range l.Mean {
		if !finite(v) {
			return layerErr(i, fmt.Sprintf("mean[%d]", c), "got %v, expected a finite number", v)
		}
	}
	for c, v := range l.Std {
		if !finite(v) || v < smallestStd {
			return layerErr(i, fmt.Sprintf("std[%d]", c),
				"got %v, expected a finite number > 0, not subnormal", v)
		}
	}
	return nil
}

// product multiplies dims, each 1 to 2³¹-1, and reports whether the result is
// at most limit ≤ 2³¹. It stops at the limit, so it never overflows.
func product(limit int64, dims ...int) (int64, bool) {
	p := int64(1)
	for _, d := range dims {
		p *= int64(d)
		if p > limit {
			return 0, false
		}
	}
	return p, true
}

func finite(v float32) bool {
	const exponent = 0x7f800000
	return math.Float32bits(v)&exponent != exponent
}
