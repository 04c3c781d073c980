package onnx

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
)

// TestRandomRoundTrip: models of all kinds of layers survive a file, whatever stands
// beside what.
func TestRandomRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for range 500 {
		roundTrip(t, plain.Random(plain.RandomLayers(r), r))
	}
}

// TestOddRoundTrip: what an import of other files would simplify.
func TestOddRoundTrip(t *testing.T) {
	one, two := [2]int{1, 1}, [2]int{2, 2}
	big := float32(math.MaxFloat32)
	for _, layers := range [][]model.Layer{
		{{Kind: model.ReLU}, {Kind: model.ReLU}},
		{{Kind: model.Add, Inputs: []int{-1, -1}}},
		{{Kind: model.Clip, Min: 0, Max: big}, {Kind: model.Clip, Min: -big, Max: big}, {Kind: model.Clip, Min: -big}},
		{{Kind: model.AvgPool, Kernel: one, Stride: one}, {Kind: model.MaxPool, Kernel: one, Stride: two}},
		{{Kind: model.Conv, Out: 2, Kernel: one, Stride: one, Dilation: two}},
		{{Kind: model.BatchNorm}, {Kind: model.BatchNorm, Eps: 1}},
		{{Kind: model.FC, Out: 4}, {Kind: model.BatchNorm, Eps: 1}, {Kind: model.MaxPool, Kernel: one, Stride: one}, {Kind: model.Concat, Inputs: []int{0, 2}}},
		{{Kind: model.FC, Out: 3}, {Kind: model.LeakyReLU, Slope: []float32{1, 2, 3}}, {Kind: model.Concat, Inputs: []int{1, 1, 0}}},
		{{Kind: model.Concat, Inputs: []int{-1, -1}}, {Kind: model.LeakyReLU, Slope: []float32{1, 2, 3, 4}}},
	} {
		m, err := model.Random(&model.Architecture{Input: model.Shape{C: 2, H: 3, W: 3}, Layers: layers}, 1)
		require.NoError(t, err)
		roundTrip(t, m)
	}
}

// TestClipBounds: all ways to say a bound.
func TestClipBounds(t *testing.T) {
	inf, big := float32(math.Inf(1)), float32(math.MaxFloat32)
	for _, c := range []struct {
		low, high []float32 // nil: none
		want      []model.Layer
	}{
		{nil, nil, nil},
		{[]float32{-inf}, []float32{inf}, nil},
		{[]float32{0}, nil, []model.Layer{{Kind: model.ReLU}}},
		{[]float32{0}, []float32{inf}, []model.Layer{{Kind: model.ReLU}}},
		{[]float32{0}, []float32{6}, []model.Layer{{Kind: model.Clip, Max: 6}}},
		{[]float32{-1}, nil, []model.Layer{{Kind: model.Clip, Min: -1, Max: big}}},
		{nil, []float32{2}, []model.Layer{{Kind: model.Clip, Min: -big, Max: 2}}},
		{[]float32{-inf}, []float32{2}, []model.Layer{{Kind: model.Clip, Min: -big, Max: 2}}},
	} {
		e := &encoder{}
		in := []string{"x", "", ""}
		if c.low != nil {
			in[1] = "low"
			e.init("low", nil, c.low)
		}
		if c.high != nil {
			in[2] = "high"
			e.init("high", []int{1}, c.high)
		}
		e.node("Clip", "v", nil, in...)
		e.init("w", []int{2, 2, 1, 1}, []float32{1, 2, 3, 4})
		e.node("Conv", "y", nil, "v", "w")
		m, err := Decode(file(e.nodes, e.inits, 2, 3, 3), "f.onnx")
		require.NoError(t, err)
		require.Len(t, m.Arch.Layers, len(c.want)+1)
		for i, l := range c.want {
			require.Equal(t, l, m.Arch.Layers[i])
		}
	}
	// An infinite number is a bound and nothing else.
	e := &encoder{}
	e.init("c", nil, []float32{inf})
	e.node("Mul", "v", nil, "x", "c")
	e.init("w", []int{2, 2, 1, 1}, []float32{1, 2, 3, 4})
	e.node("Conv", "y", nil, "v", "w")
	_, err := Decode(file(e.nodes, e.inits, 2, 3, 3), "f.onnx")
	require.ErrorContains(t, err, "input 1: got +Inf, expected a finite number")
}

// TestSoftmaxEnd: a softmax over all outputs is dropped wherever nothing is computed
// after it.
func TestSoftmaxEnd(t *testing.T) {
	network := func(op string, axis int, dims ...int) []byte {
		e := &encoder{}
		e.init("w", []int{2, 3, 2, 2}, make([]float32, 24))
		e.node("Conv", "c", nil, "x", "w")
		shape := e.shapeOf("s", dims)
		e.node("Reshape", "r", nil, "c", shape)
		e.node(op, "p", integer(nil, "axis", axis), "r")
		e.node("Flatten", "q", nil, "p")
		e.node("Identity", "y", nil, "q")
		return file(e.nodes, e.inits, 3, 3, 3)
	}
	for _, op := range []string{"Softmax", "LogSoftmax"} {
		m, err := Decode(network(op, 1, 1, 8), "f.onnx")
		require.NoError(t, err)
		require.Equal(t, 8, m.Arch.Classes())
		require.Equal(t, op+` "p" dropped: the outputs are the logits before it`, m.Card[CardNotes])
		require.Equal(t, op, m.Card[CardEnd])
	}
	_, err := Decode(network("Softmax", 3, 1, 1, 1, 8), "f.onnx")
	require.NoError(t, err)
	_, err = Decode(network("Softmax", 1, 1, 2, 4), "f.onnx")
	require.ErrorContains(t, err, "expected all outputs of an image")
}

// shapeOf writes a list of integers.
func (e *encoder) shapeOf(name string, dims []int) string {
	raw := make([]byte, 8*len(dims))
	for i, d := range dims {
		raw[8*i] = byte(d)
	}
	e.tensor(name, []int{len(dims)}, typeInt64, raw)
	return name
}
