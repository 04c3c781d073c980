package onnx

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/epsball/epsball/model"
)

// What is written: IR 8 and operator set 13 are read by every runtime since 2021.
const (
	producer    = "epsball"
	writeIR     = 8
	writeOpset  = 13
	maxEncoded  = math.MaxInt32 // bytes of a protocol buffer
	inputName   = "input"
	outputName  = "logits"
	batchSymbol = "N"
)

// Encode returns a model as an ONNX file: operator set 13, a symbolic batch, each
// weight bit for bit, the card as metadata but for what it says of another file's graph. The same model always gives the same
// bytes, and Decode gives the same model back. The error is a *model.FormatError
// for a model that is not valid or larger than the 2 GiB that the format allows.
func Encode(m *model.Model) ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if n := 4*m.Arch.Parameters() + maxText; n > maxEncoded-(64<<20) {
		return nil, malformed("parameters", "got %d bytes, expected less than the 2 GiB of an ONNX file", n)
	}
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	e := &encoder{m: m, shapes: shapes}
	e.layers()
	b := varint(nil, 1, writeIR)
	b = text(b, 2, producer)
	b = message(b, 7, e.graph())
	b = message(b, 8, varint(nil, 2, writeOpset))
	for _, k := range slices.Sorted(maps.Keys(m.Card)) {
		if slices.Contains(graphKeys, k) { // of the file that the model came from
			continue
		}
		b = message(b, 14, text(text(nil, 1, k), 2, m.Card[k]))
	}
	return b, nil
}

// encoder collects the nodes and initializers of a graph.
type encoder struct {
	m      *model.Model
	shapes []model.Shape
	nodes  []byte
	inits  []byte

	// names and flat are those of each activation, in the order of shapes: flat
	// ones are [N, features], others [N, C, H, W].
	names []string
	flat  []bool
}

func (e *encoder) layers() {
	e.names, e.flat = []string{inputName}, []bool{false}
	for i := range e.m.Arch.Layers {
		l, in := &e.m.Arch.Layers[i], e.m.Arch.InputsOf(i)
		name := fmt.Sprintf("layers.%d", i)
		x, flat := e.names[in[0]+1], e.flat[in[0]+1]
		switch s := e.shapes[i+1]; l.Kind {
		case model.Normalize:
			channels := []int{1, s.C, 1, 1}
			e.init(name+".mean", channels, l.Mean)
			e.init(name+".std", channels, l.Std)
			e.node("Sub", name+".centred", nil, x, name+".mean")
			e.node("Div", name, nil, name+".centred", name+".std")
		case model.Conv:
			x, flat = e.shaped(in[0], name+".in", false), false
			e.param(i, name)
			d := l.Dilations()
			a := integer(ints(nil, "dilations", d[:]...), "group", l.GroupCount())
			e.node("Conv", name, windows(a, l), x, name+".weight", name+".bias")
		case model.FC:
			x, flat = e.shaped(in[0], name+".in", true), true
			e.param(i, name)
			e.node("Gemm", name, integer(nil, "transB", 1), x, name+".weight", name+".bias")
		case model.Add:
			e.node("Add", name, nil, x, e.shaped(in[1], name+".b.in", flat))
		case model.Concat:
			parts := []string{x}
			for k, from := range in[1:] {
				parts = append(parts, e.shaped(from, fmt.Sprintf("%s.in.%d", name, k+1), flat))
			}
			e.node("Concat", name, integer(nil, "axis", 1), parts...)
		case model.BatchNorm:
			p, channels := &e.m.Params[i], []int{s.C}
			e.init(name+".weight", channels, p.W)
			e.init(name+".bias", channels, p.B)
			e.init(name+".running_mean", channels, p.Mean)
			e.init(name+".running_var", channels, p.Var)
			e.node("BatchNormalization", name, float(nil, "epsilon", l.Eps),
				x, name+".weight", name+".bias", name+".running_mean", name+".running_var")
		case model.MaxPool:
			x, flat = e.shaped(in[0], name+".in", false), false
			e.node("MaxPool", name, windows(nil, l), x)
		case model.AvgPool:
			x, flat = e.shaped(in[0], name+".in", false), false
			count := 0
			if l.CountPadding {
				count = 1
			}
			e.node("AveragePool", name, windows(integer(nil, "count_include_pad", count), l), x)
		default:
			e.element(l, name, x, s, flat)
		}
		e.names, e.flat = append(e.names, name), append(e.flat, flat)
	}
	if last := len(e.m.Arch.Layers) - 1; e.flat[last+1] {
		e.node("Identity", outputName, nil, e.names[last+1])
	} else {
		e.node("Flatten", outputName, nil, e.names[last+1])
	}
}

// element writes a function of each element.
func (e *encoder) element(l *model.Layer, name, x string, s model.Shape, flat bool) {
	switch l.Kind {
	case model.ReLU:
		e.node("Relu", name, nil, x)
	case model.Sigmoid:
		e.node("Sigmoid", name, nil, x)
	case model.Tanh:
		e.node("Tanh", name, nil, x)
	case model.LeakyReLU:
		if len(l.Slope) == 1 {
			e.node("LeakyRelu", name, float(nil, "alpha", l.Slope[0]), x)
			return
		}
		channels := []int{s.C, 1, 1}
		if flat {
			channels = channels[:1]
		}
		e.init(name+".slope", channels, l.Slope)
		e.node("PRelu", name, nil, x, name+".slope")
	case model.Clip:
		e.init(name+".min", nil, []float32{l.Min})
		e.init(name+".max", nil, []float32{l.Max})
		e.node("Clip", name, nil, x, name+".min", name+".max")
	}
}

// windows appends the attributes of a convolution or a pool.
func windows(b []byte, l *model.Layer) []byte {
	b = ints(b, "kernel_shape", l.Kernel[:]...)
	b = ints(b, "pads", l.Padding[0], l.Padding[1], l.Padding[0], l.Padding[1])
	return ints(b, "strides", l.Stride[:]...)
}

// shaped returns the name of an activation as vectors or as images, which is name if
// it has to be made.
func (e *encoder) shaped(layer int, name string, flat bool) string {
	x := e.names[layer+1]
	if e.flat[layer+1] == flat {
		return x
	}
	if flat {
		e.node("Flatten", name, nil, x)
		return name
	}
	s := e.shapes[layer+1]
	var raw []byte
	for _, d := range []int{0, s.C, s.H, s.W} { // 0: the batch as it is
		raw = binary.LittleEndian.AppendUint64(raw, uint64(d))
	}
	e.tensor(name+".shape", []int{4}, typeInt64, raw)
	e.node("Reshape", name, nil, x, name+".shape")
	return name
}

// param writes the weight and the bias of layer i.
func (e *encoder) param(i int, name string) {
	l := &e.m.Arch.Layers[i]
	e.init(name+".weight", l.WeightShape(e.m.Arch.InputShape(i, e.shapes)), e.m.Params[i].Rows())
	e.init(name+".bias", []int{l.Out}, e.m.Params[i].B)
}

func (e *encoder) init(name string, dims []int, v []float32) {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	e.tensor(name, dims, typeFloat, raw)
}

func (e *encoder) tensor(name string, dims []int, dtype int, raw []byte) {
	t := varint(packed(nil, 1, dims), 2, dtype)
	t = text(t, 8, name)
	t = protowire.AppendBytes(protowire.AppendTag(t, 9, protowire.BytesType), raw)
	e.inits = message(e.inits, 5, t)
}

// node writes a node, named like its output, with attributes already encoded.
func (e *encoder) node(op, out string, attrs []byte, in ...string) {
	var n []byte
	for _, x := range in {
		n = text(n, 1, x)
	}
	n = text(text(text(n, 2, out), 3, out), 4, op)
	e.nodes = message(e.nodes, 1, append(n, attrs...))
}

func (e *encoder) graph() []byte {
	s := e.m.Arch.Input
	g := text(e.nodes, 2, e.m.Arch.Name)
	g = append(g, e.inits...)
	g = message(g, 11, info(inputName, s.C, s.H, s.W))
	return message(g, 12, info(outputName, e.shapes[len(e.shapes)-1].Size()))
}

// info describes a float tensor of a batch.
func info(name string, dims ...int) []byte {
	shape := message(nil, 1, text(nil, 2, batchSymbol))
	for _, d := range dims {
		shape = message(shape, 1, varint(nil, 1, d))
	}
	t := message(varint(nil, 1, typeFloat), 2, shape)
	return message(text(nil, 1, name), 2, message(nil, 1, t))
}

func varint(b []byte, num protowire.Number, v int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
}

func text(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func message(b []byte, num protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), m)
}

func packed(b []byte, num protowire.Number, v []int) []byte {
	var p []byte
	for _, x := range v {
		p = protowire.AppendVarint(p, uint64(x))
	}
	return message(b, num, p)
}

// integer appends an attribute that is a number.
func integer(b []byte, name string, v int) []byte {
	return message(b, 5, varint(varint(text(nil, 1, name), 3, v), 20, attrInt))
}

func float(b []byte, name string, v float32) []byte {
	a := protowire.AppendTag(text(nil, 1, name), 2, protowire.Fixed32Type)
	return message(b, 5, varint(protowire.AppendFixed32(a, math.Float32bits(v)), 20, attrFloat))
}

// ints appends an attribute that is a list.
func ints(b []byte, name string, v ...int) []byte {
	return message(b, 5, varint(packed(text(nil, 1, name), 8, v), 20, attrInts))
}
