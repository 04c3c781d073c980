package onnx

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

func (n *node) parse(g *graph, v field) error {
	var s string
	if v.num == 1 || v.num == 2 {
		if g.names++; g.names > maxNames {
			return malformed("graph", "got more than %d inputs and outputs of nodes, expected at most that", maxNames)
		}
	}
	switch v.num {
	case 1:
		err := v.text("node.input", &s)
		n.inputs = append(n.inputs, s)
		return err
	case 2:
		err := v.text("node.output", &s)
		n.outputs = append(n.outputs, s)
		return err
	case 3:
		return v.text("node.name", &n.name)
	case 4:
		return v.text("node.op_type", &n.op)
	case 7:
		return v.text("node.domain", &n.domain)
	case 5:
		if g.attrs++; g.attrs > maxAttrs {
			return malformed("graph", "got more than %d attributes, expected at most that", maxAttrs)
		}
		a := &attribute{}
		n.attrs = append(n.attrs, a)
		return v.message("node.attribute", a.parse)
	}
	return nil
}

func (a *attribute) parse(v field) error {
	const what = "node.attribute"
	switch v.num {
	case 1:
		return v.text(what, &a.name)
	case 2:
		a.f = math.Float32frombits(uint32(v.u))
		return v.need(what, protowire.Fixed32Type)
	case 3:
		return v.integer(what, &a.i)
	case 4:
		a.s = v.b
		return v.need(what, protowire.BytesType)
	case 5:
		if a.t == nil {
			a.t = &tensor{}
		}
		return v.message(what, a.t.parse)
	case 7:
		return v.floats(what, &a.floats)
	case 8:
		return v.integers(what, &a.ints)
	case 20:
		return v.integer(what, &a.kind)
	case 21:
		return v.text(what, &a.ref)
	}
	return nil
}

func (t *tensor) parse(v field) error {
	const what = "tensor"
	switch v.num {
	case 1:
		if err := v.integers(what, &t.dims); err != nil {
			return err
		}
		if len(t.dims) > maxDims {
			return malformed(what, "got more than %d dimensions, expected at most that", maxDims)
		}
	case 2:
		return v.integer(what, &t.dtype)
	case 3:
		return malformed(what, "got a segment of a tensor, expected it whole")
	case 4:
		return v.floats(what, &t.floats)
	case 5, 7:
		return v.varints(what, &t.varints)
	case 8:
		return v.text(what, &t.name)
	case 9:
		t.raw, t.hasRaw = v.b, true
		return v.need(what, protowire.BytesType)
	case 10:
		return v.eachNumber(what, protowire.Fixed64Type, func(u uint64) {
			t.doubles = append(t.doubles, math.Float64frombits(u))
		})
	case 13:
		if len(t.entries) == maxEntries {
			return malformed(what, "got more than %d entries of external data, expected at most that", maxEntries)
		}
		pair, err := v.pair("external_data")
		t.external, t.entries = true, append(t.entries, pair)
		return err
	case 14:
		if v.u > 1 {
			return malformed(what, "got data location %d, expected 0 (in the model) or 1 (external)", v.u)
		}
		t.external = t.external || v.u == 1
		return v.need(what, protowire.VarintType)
	}
	return nil
}

func parseValueInfo(v field) (valueInfo, error) {
	const what = "value_info"
	var info valueInfo
	dim := func(v field) error {
		if v.num != 1 { // a dimension
			return nil
		}
		if len(info.dims) == maxDims {
			return malformed(what, "got more than %d dimensions, expected at most that", maxDims)
		}
		size := int64(-1)
		err := v.message(what, func(v field) error {
			if v.num == 1 {
				return v.integer(what, &size)
			}
			return nil
		})
		if size <= 0 { // some exporters write 0 for unknown
			size = -1
		}
		info.dims = append(info.dims, size)
		return err
	}
	err := v.message(what, func(v field) error {
		switch v.num {
		case 1:
			return v.text(what, &info.name)
		case 2:
			return v.message(what, func(v field) error {
				if v.num != 1 { // not a tensor
					return nil
				}
				return v.message(what, func(v field) error {
					switch v.num {
					case 1:
						return v.integer(what, &info.dtype)
					case 2:
						info.hasShape = true
						return v.message(what, dim)
					}
					return nil
				})
			})
		}
		return nil
	})
	return info, err
}
