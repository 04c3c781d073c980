package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestInitIBP: normal weights of the paper's deviation, the last layer's and biases as
// ever, and the same bits on every machine.
func TestInitIBP(t *testing.T) {
	a, err := Preset("mnist-small")
	require.NoError(t, err)
	m, err := InitIBP.Random(a, 1)
	require.NoError(t, err)
	require.NoError(t, m.Validate())
	he, err := Random(a, 1)
	require.NoError(t, err)
	assert.Equal(t, he.Params[6].W, m.Params[6].W)
	assert.Len(t, m.Params[0].B, len(he.Params[0].B))
	for i, fanIn := range map[int]float64{2: 16 * 16, 4: 32 * 10 * 10} {
		checkNormal(t, m.Params[i].W, math.Sqrt(2*math.Pi)/fanIn)
	}
	var got []uint32
	for _, v := range []float32{m.Params[0].W[0], m.Params[0].W[255], m.Params[2].W[1], m.Params[4].W[319999], m.Params[4].B[9]} {
		got = append(got, math.Float32bits(v))
	}
	assert.Equal(t, []uint32{0xbe2438f5, 0xbbeb0922, 0x3c0378ed, 0x3a0eabbe, 0x3c79e727}, got)
}

// checkNormal holds moments and shares of v against those of a normal distribution.
func checkNormal(t *testing.T, v []float32, deviation float64) {
	n := float64(len(v))
	var sum, squares, fourth float64
	within := [4]float64{}
	for _, x := range v {
		z := float64(x) / deviation
		sum += z
		squares += z * z
		fourth += z * z * z * z
		for k := range within {
			if math.Abs(z) < float64(k+1)/2 {
				within[k]++
			}
		}
	}
	assert.InDelta(t, 0, sum/n, 4/math.Sqrt(n))
	assert.InDelta(t, 1, squares/n, 4*math.Sqrt(2/n))
	assert.InDelta(t, 3, fourth/n, 4*math.Sqrt(96/n))
	for k, share := range within {
		p := math.Erf(float64(k+1) / 2 / math.Sqrt2)
		assert.InDelta(t, p, share/n, 4*math.Sqrt(p*(1-p)/n), "within %v", float64(k+1)/2)
	}
}

// TestInitIBPBehindAdd: a layer that reads a sum has half the deviation.
func TestInitIBPBehindAdd(t *testing.T) {
	square := func(in ...int) Layer {
		return Layer{Kind: Conv, Inputs: in, Out: 16, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}}
	}
	a := &Architecture{Input: Shape{16, 4, 4}, Layers: []Layer{
		square(), {Kind: ReLU}, square(), {Kind: Add, Inputs: []int{2, 1}}, {Kind: ReLU}, square(), {Kind: FC, Out: 2},
	}}
	m, err := InitIBP.Random(a, 2)
	require.NoError(t, err)
	for i, deviation := range map[int]float64{0: 1, 2: 1, 5: 0.5} {
		checkNormal(t, m.Params[i].W, deviation*math.Sqrt(2*math.Pi)/(16*9))
	}
	_, err = Init("warm").Random(a, 1)
	assert.EqualError(t, err, `init: got "warm", want one of [he ibp]`)
}
