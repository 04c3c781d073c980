package onnx

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCastOfShapes: TensorFlow computes with shapes in INT32, which changes nothing
// as long as they fit.
func TestCastOfShapes(t *testing.T) {
	to := func(dtype int) []byte {
		return message(nil, 5, varint(varint(text(nil, 1, "to"), 3, dtype), 20, attrInt))
	}
	network := func(shape ...int64) []byte {
		e := &encoder{}
		from := "dims"
		if shape == nil {
			e.node("Shape", "dims", nil, "x")
		} else {
			var raw []byte
			for _, v := range shape {
				raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
			}
			e.tensor("dims", []int{len(shape)}, typeInt64, raw)
		}
		e.node("Cast", "narrow", to(typeInt32), from)
		e.node("Cast", "wide", to(typeInt64), "narrow")
		e.node("Reshape", "same", nil, "x", "wide")
		e.node("Flatten", "flat", nil, "same")
		e.init("w", []int{4, 2}, make([]float32, 8))
		e.node("MatMul", "y", nil, "flat", "w")
		return file(e.nodes, e.inits, 1, 2, 2)
	}
	for _, shape := range [][]int64{nil, {1, 1, 2, 2}, {-1, 4}} {
		m, err := Decode(network(shape...), "net.onnx")
		require.NoError(t, err, shape)
		assert.Equal(t, 2, m.Arch.Classes())
	}
	_, err := Decode(network(1, 1<<32), "net.onnx")
	assert.ErrorContains(t, err, `attribute "to": got INT32`)
}
