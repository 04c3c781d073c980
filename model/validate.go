package model

import (
	"fmt"
	"math"
	"unicode"
	"unicode/utf8"
)

// smallestStd is the smallest normal float32: its reciprocal is still finite.
const smallestStd = 0x1p-126

// walked is what one pass over the layers finds out.
type walked struct {
	shapes       []Shape
	macs, params int64
	work         int64 // macs and what pools add or compare
	inputs       int   // of all concats
	slopes       int   // of all leakyrelus
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
	for i := range a.Layers {
		if err := a.checkInputs(i); err != nil {
			return nil, err
		}
	}
	readers := a.Readers()
	w := &walked{shapes: make([]Shape, 1, len(a.Layers)+1)}
	w.shapes[0] = a.Input
	for i := range a.Layers {
		l := &a.Layers[i]
		if err := a.checkPlace(i, readers); err != nil {
			return nil, err
		}
		if err := l.checkUnset(i); err != nil {
			return nil, err
		}
		in := a.InputShape(i, w.shapes)
		out, err := l.output(i, in)
		if err == nil && (l.Kind == Add || l.Kind == Concat) {
			out, err = a.join(i, w.shapes)
		}
		if err == nil {
			err = w.count(i, l, out)
		}
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
		w.params += weights + int64(out.C)
		macs := weights * int64(out.H) * int64(out.W)
		w.macs += macs
		if err := w.add(i, "out", macs); err != nil {
			return nil, err
		}
	}
	if len(a.Layers) == 1 && a.Layers[0].Kind == Normalize {
		return nil, layerErr(0, "type", "got %q as the last layer, expected another kind", Normalize)
	}
	return w, nil
}

// count adds up what no single layer limits: the work of pools, and the numbers
// that an architecture's JSON lists.
func (w *walked) count(i int, l *Layer, out Shape) error {
	w.slopes += len(l.Slope)
	if w.slopes > maxSlopes {
		return layerErr(i, "slope", "got %d values up to here, expected at most %d", w.slopes, maxSlopes)
	}
	switch l.Kind {
	case Concat:
		if w.inputs += len(l.Inputs); w.inputs > maxInputs {
			return layerErr(i, "inputs", "got %d inputs of %q up to here, expected at most %d", w.inputs, Concat, maxInputs)
		}
	case MaxPool, AvgPool:
		return w.add(i, "kernel", int64(out.Size())*int64(l.Kernel[0])*int64(l.Kernel[1]))
	}
	return nil
}

func (w *walked) add(i int, field string, work int64) error {
	if w.work += work; w.work > maxMACs {
		return layerErr(i, field, "got %d multiply-accumulates up to here, expected at most %d", w.work, int64(maxMACs))
	}
	return nil
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

// checkInputs checks the number and the range of layer i's inputs.
func (a *Architecture) checkInputs(i int) error {
	l := &a.Layers[i]
	n := len(l.Inputs)
	good, want := n <= 1, "at most 1"
	switch l.Kind {
	case Normalize:
		good, want = n == 0, "none"
	case Add:
		good, want = n == 2, "2"
	case Concat:
		good, want = n >= 2 && n <= maxLayers, "2 to 1024"
	}
	if !good {
		return layerErr(i, "inputs", "got %d, expected %s for %q", n, want, l.Kind)
	}
	for _, k := range l.Inputs {
		if k < NetInput || k >= i {
			return layerErr(i, "inputs", "got %d, expected a layer before, 0 to %d, or %d, the network's input",
				k, i-1, NetInput)
		}
		if k == NetInput && a.Layers[0].Kind == Normalize {
			return layerErr(i, "inputs", "got %d, the network's input, expected 0, the same normalized", k)
		}
	}
	return nil
}

// checkPlace checks layer i's kind, its place, and that its output is read.
// Layers before i have been checked.
func (a *Architecture) checkPlace(i int, readers []int) error {
	kind := a.Layers[i].Kind
	if kind.keys() == nil {
		return unknownKind(i, kind)
	}
	if kind == Normalize && i > 0 {
		return layerErr(i, "type", "got %q, expected it only as the first layer", kind)
	}
	if i < len(a.Layers)-1 && readers[i+1] == 0 {
		return fieldErr(fmt.Sprintf("layers[%d]", i), "got an output that no layer reads, expected that of the last layer alone")
	}
	return nil
}

// join returns the shape of layer i's output, an add or a concat, whose inputs'
// shapes are known.
func (a *Architecture) join(i int, shapes []Shape) (Shape, error) {
	l := &a.Layers[i]
	out := shapes[l.Inputs[0]+1]
	for _, k := range l.Inputs[1:] {
		s := shapes[k+1]
		switch {
		case l.Kind == Add && s != out:
			return out, layerErr(i, "inputs", "got outputs of %v and %v, expected two of one shape", out, s)
		case l.Kind == Concat && (s.H != out.H || s.W != out.W):
			return out, layerErr(i, "inputs", "got outputs of %v and %v, expected one height and one width", out, s)
		case l.Kind == Concat:
			out.C += s.C
			if _, ok := product(maxActivation, out.C, out.H, out.W); !ok {
				return out, layerErr(i, "inputs", "got an output of %v, expected at most %d elements", out, maxActivation)
			}
		}
	}
	return out, nil
}

// checkUnset refuses fields that mean nothing for the layer's kind: two
// architectures that do the same have the same hash.
func (l *Layer) checkUnset(i int) error {
	k := l.Kind.keys()
	zero := [2]int{}
	for bit, set := range [...]bool{
		len(l.Mean) > 0, len(l.Std) > 0, l.Out != 0, l.Kernel != zero, l.Stride != zero, l.Padding != zero, l.Dilation != zero,
		l.Groups != 0, l.CountPadding, len(l.Slope) > 0, l.Min != 0, l.Max != 0, l.Eps != 0,
	} {
		key := keySet(1) << bit
		if set && ((k.required|k.optional)&key == 0 || key == keyCountPadding && l.Padding == zero) {
			return layerErr(i, key.String(), "got a value, expected none for %q", l.Kind)
		}
	}
	return nil
}

func (l *Layer) output(i int, in Shape) (Shape, error) {
	switch l.Kind {
	case Normalize:
		return in, l.checkNormalize(i, in.C)
	case LeakyReLU:
		return in, l.checkSlope(i, in.C)
	case Clip:
		if !finite(l.Min) || !finite(l.Max) || !(l.Min < l.Max) {
			return Shape{}, layerErr(i, "min", "got %v and max %v, expected finite numbers, min < max", l.Min, l.Max)
		}
		return in, nil
	case BatchNorm:
		if !finite(l.Eps) || l.Eps < 0 {
			return Shape{}, layerErr(i, "eps", "got %v, expected a finite number ≥ 0", l.Eps)
		}
		return in, nil
	case MaxPool, AvgPool:
		return l.windows(i, in, in.C)
	case ReLU, Sigmoid, Tanh, Add, Concat: // of two, see join
		return in, nil
	}
	if l.Out < 1 || l.Out > maxActivation {
		return Shape{}, layerErr(i, "out", "got %d, expected 1 to %d", l.Out, maxActivation)
	}
	if l.Kind == FC {
		return Shape{l.Out, 1, 1}, nil
	}
	if g := l.Groups; g < 0 || g == 1 || g > 1 && (in.C%g != 0 || l.Out%g != 0) {
		return Shape{}, layerErr(i, "groups", "got %d, expected a common divisor of the channels %d and %d, 0 for one group", g, in.C, l.Out)
	}
	return l.windows(i, in, l.Out)
}

// windows returns the shape of a conv's or a pool's output.
func (l *Layer) windows(i int, in Shape, channels int) (Shape, error) {
	if e := l.Dilation; e != [2]int{} && (min(e[0], e[1]) < 1 || max(e[0], e[1]) > maxSide || e == [2]int{1, 1}) {
		return Shape{}, layerErr(i, "dilation", "got %v, expected each 1 to %d, or zeros for both 1", e, maxSide)
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
		if k = (k-1)*l.Dilations()[d] + 1; k > maxSide {
			return Shape{}, layerErr(i, "dilation", "got %v, which spreads the kernel %v over %d, expected at most %d",
				l.Dilation, l.Kernel, k, maxSide)
		}
		if p < 0 || p >= k {
			return Shape{}, layerErr(i, "padding", "got %v, expected each at least 0 and less than the kernel, here %d",
				l.Padding, k)
		}
		if k > n+2*p {
			return Shape{}, layerErr(i, "kernel", "got %v, expected each at most the padded input, here %d",
				l.Kernel, n+2*p)
		}
		side[d] = (n+2*p-k)/s + 1
	}
	out := Shape{channels, side[0], side[1]}
	if _, ok := product(maxActivation, out.C, out.H, out.W); !ok {
		return Shape{}, layerErr(i, "out", "got an output of %v, expected at most %d elements", out, maxActivation)
	}
	return out, nil
}

func (l *Layer) checkNormalize(i, channels int) error {
	err := checkValues(i, keyMean, l.Mean, channels)
	if err == nil {
		err = checkValues(i, keyStd, l.Std, channels)
	}
	return err
}

func (l *Layer) checkSlope(i, channels int) error {
	if len(l.Slope) == 1 {
		channels = 1 // for all
	}
	return checkValues(i, keySlope, l.Slope, channels)
}

// checkValues checks a list of one number for each channel.
func checkValues(i int, key keySet, v []float32, channels int) error {
	if len(v) != channels {
		more := ""
		if key == keySlope {
			more = ", or 1"
		}
		return layerErr(i, key.String(), "got %d values, expected %d, one for each channel%s", len(v), channels, more)
	}
	for c, x := range v {
		if !finite(x) || key == keyStd && x < smallestStd {
			want := "number"
			if key == keyStd {
				want = "number > 0, not subnormal"
			}
			return layerErr(i, fmt.Sprintf("%s[%d]", key, c), "got %v, expected a finite %s", x, want)
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
