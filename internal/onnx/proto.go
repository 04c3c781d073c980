package onnx

import (
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/epsball/epsball/model"
)

// Limits on what a file may hold: each entry takes more memory than file.
const (
	maxNodes   = 1 << 14
	maxTensors = 1 << 16 // initializers, and inputs, which may list them again
	maxAttrs   = 1 << 17 // of all nodes
	maxNames   = 1 << 19 // inputs and outputs of all nodes
	maxInts    = 1 << 12 // of one list of dimensions or attribute
	maxDims    = 8
	maxText    = 1<<20 + 1<<12 // bytes of all metadata
)

// graph is what is read of a ModelProto; names follow onnx.proto.
type graph struct {
	irVersion         int64
	producer, version string
	opset             int64
	metadata          [][2]string

	name            string
	nodes           []*node
	initializers    []*tensor
	inputs, outputs []valueInfo
	attrs, names    int // of all nodes: attributes, inputs and outputs
	text            int // bytes of metadata
}

type node struct {
	name, op, domain string
	inputs, outputs  []string
	attrs            []*attribute
	used             map[string]bool // attributes that a conversion has looked at
}

// Types of attributes that are read.
const (
	attrFloat  = 1
	attrInt    = 2
	attrString = 3
	attrTensor = 4
	attrFloats = 6
	attrInts   = 7
)

type attribute struct {
	name   string
	kind   int64 // 0: not stated
	ref    string
	f      float32
	i      int64
	s      []byte
	t      *tensor
	floats []float32
	ints   []int64
}

type tensor struct {
	name     string
	dims     []int64
	dtype    int64
	raw      []byte
	hasRaw   bool
	floats   []float32
	doubles  []float64
	varints  []byte // int32_data or int64_data as it is in the file
	external bool   // the values are in another file
	entries  [][2]string
}

type valueInfo struct {
	name     string
	dtype    int64
	dims     []int64 // -1: symbolic or unknown
	hasShape bool
}

// field is one field of a message.
type field struct {
	num protowire.Number
	typ protowire.Type
	u   uint64 // varint and fixed
	b   []byte // bytes
}

func malformed(what, format string, args ...any) error {
	return &model.FormatError{Field: what, Msg: fmt.Sprintf(format, args...)}
}

// eachField calls f for the fields of a message.
func eachField(what string, b []byte, f func(v field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed(what, "got bytes that are no protocol buffer, expected an ONNX model")
		}
		b = b[n:]
		v := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			v.u, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var u uint32
			u, n = protowire.ConsumeFixed32(b)
			v.u = uint64(u)
		case protowire.Fixed64Type:
			v.u, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			v.b, n = protowire.ConsumeBytes(b)
		default: // groups, which ONNX does not use
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return malformed(what, "got field %d cut short, expected a complete ONNX model", num)
		}
		b = b[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

// need checks the field's wire type.
func (v *field) need(what string, typ protowire.Type) error {
	if v.typ != typ {
		return malformed(what, "got field %d with wire type %d, expected %d as in onnx.proto", v.num, v.typ, typ)
	}
	return nil
}

func (v *field) integer(what string, to *int64) error {
	*to = int64(v.u)
	return v.need(what, protowire.VarintType)
}

func (v *field) text(what string, to *string) error {
	if !utf8.Valid(v.b) {
		return malformed(what, "got field %d in invalid UTF-8, expected text", v.num)
	}
	*to = string(v.b)
	return v.need(what, protowire.BytesType)
}

// eachNumber calls f for the numbers of a repeated field, packed or not.
func (v *field) eachNumber(what string, typ protowire.Type, f func(u uint64)) error {
	if v.typ == typ {
		f(v.u)
		return nil
	}
	if err := v.need(what, protowire.BytesType); err != nil {
		return err
	}
	for b := v.b; len(b) > 0; {
		var u uint64
		var n int
		switch typ {
		case protowire.Fixed32Type:
			var u32 uint32
			u32, n = protowire.ConsumeFixed32(b)
			u = uint64(u32)
		case protowire.Fixed64Type:
			u, n = protowire.ConsumeFixed64(b)
		default:
			u, n = protowire.ConsumeVarint(b)
		}
		if n < 0 {
			return malformed(what, "got field %d with numbers cut short", v.num)
		}
		f(u)
		b = b[n:]
	}
	return nil
}

func (v *field) floats(what string, to *[]float32) error {
	return v.eachNumber(what, protowire.Fixed32Type, func(u uint64) {
		*to = append(*to, math.Float32frombits(uint32(u)))
	})
}

// integers reads a short list, of dimensions or in an attribute.
func (v *field) integers(what string, to *[]int64) error {
	if len(*to)+len(v.b) > maxInts {
		return malformed(what, "got more than %d bytes of integers, expected at most that", maxInts)
	}
	return v.eachNumber(what, protowire.VarintType, func(u uint64) { *to = append(*to, int64(u)) })
}

// varints keeps the numbers of a repeated field as they are.
func (v *field) varints(what string, to *[]byte) error {
	switch {
	case v.typ == protowire.VarintType:
		*to = protowire.AppendVarint(*to, v.u)
	case *to == nil:
		*to = v.b[:len(v.b):len(v.b)]
	default:
		*to = append(*to, v.b...)
	}
	if v.typ != protowire.VarintType {
		return v.need(what, protowire.BytesType)
	}
	return nil
}

// message parses a nested message.
func (v *field) message(what string, f func(v field) error) error {
	if err := v.need(what, protowire.BytesType); err != nil {
		return err
	}
	return eachField(what, v.b, f)
}

func parseModel(data []byte) (*graph, error) {
	g := &graph{}
	graphs := 0
	err := eachField("model", data, func(v field) error {
		switch v.num {
		case 1:
			return v.integer("ir_version", &g.irVersion)
		case 2:
			return v.text("producer_name", &g.producer)
		case 3:
			return v.text("producer_version", &g.version)
		case 7:
			graphs++
			return v.message("graph", g.parseGraph)
		case 8:
			return g.parseOpset(v)
		case 14:
			return g.parseMetadata(v)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case graphs != 1:
		return nil, malformed("model", "got %d graphs, expected 1: is this an ONNX model?", graphs)
	}
	return g, nil
}

func (g *graph) parseOpset(v field) error {
	var domain string
	var version int64
	err := v.message("opset_import", func(v field) error {
		switch v.num {
		case 1:
			return v.text("opset_import.domain", &domain)
		case 2:
			return v.integer("opset_import.version", &version)
		}
		return nil
	})
	if isStandard(domain) {
		g.opset = version
	}
	return err
}

// isStandard reports whether a domain is that of ONNX's own operators.
func isStandard(domain string) bool { return domain == "" || domain == "ai.onnx" }

// pair reads a key and its value.
func (v *field) pair(what string) (pair [2]string, err error) {
	err = v.message(what, func(v field) error {
		if v.num == 1 || v.num == 2 {
			return v.text(what, &pair[v.num-1])
		}
		return nil
	})
	return pair, err
}

func (g *graph) parseMetadata(v field) error {
	pair, err := v.pair("metadata_props")
	g.text += len(pair[0]) + len(pair[1]) + 1
	if err == nil && g.text > maxText {
		err = malformed("metadata_props", "got more than %d bytes, expected at most that", maxText)
	}
	g.metadata = append(g.metadata, pair)
	return err
}

func (g *graph) parseGraph(v field) error {
	switch v.num {
	case 1:
		if len(g.nodes) == maxNodes {
			return malformed("graph", "got more than %d nodes, expected at most that", maxNodes)
		}
		n := &node{used: map[string]bool{}}
		g.nodes = append(g.nodes, n)
		return v.message("node", func(v field) error { return n.parse(g, v) })
	case 2:
		return v.text("graph.name", &g.name)
	case 5:
		if len(g.initializers) == maxTensors {
			return malformed("graph", "got more than %d initializers, expected at most that", maxTensors)
		}
		t := &tensor{}
		g.initializers = append(g.initializers, t)
		return v.message("initializer", t.parse)
	case 15:
		return malformed("graph", "got a sparse initializer, expected dense ones")
	case 11, 12:
		list := &g.inputs
		if v.num == 12 {
			list = &g.outputs
		}
		if len(*list) == maxTensors {
			return malformed("graph", "got more than %d inputs or outputs, expected at most that", maxTensors)
		}
		info, err := parseValueInfo(v)
		*list = append(*list, info)
		return err
	}
	return nil
}
