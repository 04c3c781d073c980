package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWithNormalize: what read the input reads the normalize layer, and so on.
func TestWithNormalize(t *testing.T) {
	conv := func(in ...int) Layer {
		return Layer{Kind: Conv, Out: 2, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Inputs: in}
	}
	m, err := Random(&Architecture{Input: Shape{2, 3, 3}, Layers: []Layer{
		conv(), {Kind: Add, Inputs: []int{0, NetInput}}, {Kind: ReLU}, conv(), {Kind: Add, Inputs: []int{3, 2}}, {Kind: FC, Out: 3},
	}}, 1)
	require.NoError(t, err)
	n, err := m.WithNormalize([]float32{0.1, 0.2}, []float32{0.5, 0.25})
	require.NoError(t, err)
	require.Len(t, n.Arch.Layers, 7)
	require.Equal(t, []int{1, 0}, n.Arch.Layers[2].Inputs)
	require.Equal(t, []int{4, 3}, n.Arch.Layers[5].Inputs)
	require.Equal(t, []int{0, NetInput}, m.Arch.Layers[1].Inputs, "m stays as it was")
	require.Equal(t, m.Params[0], n.Params[1])

	_, err = n.WithNormalize([]float32{0, 0}, []float32{1, 1})
	require.ErrorContains(t, err, "normalizes already")
	_, err = m.WithNormalize([]float32{0}, []float32{1, 1})
	require.ErrorContains(t, err, "mean")
	_, err = m.WithNormalize([]float32{0, 0}, []float32{1, 0})
	require.ErrorContains(t, err, "std")
}
