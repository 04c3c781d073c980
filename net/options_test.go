package net

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

func conv3(out, pad int) model.Layer {
	return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Padding: [2]int{pad, pad}}
}

// wide has 3×3 layers with enough channels for Winograd, padded and not.
func wide(t *testing.T) *model.Model {
	relu := model.Layer{Kind: model.ReLU}
	m, err := model.Random(&model.Architecture{Name: "wide", Input: model.Shape{C: 3, H: 11, W: 9}, Layers: []model.Layer{
		conv3(16, 1), relu, conv3(18, 1), relu, conv3(16, 0), relu, {Kind: model.FC, Out: 10},
	}}, 3)
	require.NoError(t, err)
	return m
}

func logitsOf(t *testing.T, n *Network, x []float32, count int) []float32 {
	pool := kernels.NewPool(2)
	defer pool.Close()
	z := make([]float32, count*n.Classes())
	require.NoError(t, n.NewRunner(pool).Logits(context.Background(), z, x, count))
	return z
}

func ramp(n int) []float32 {
	x := make([]float32, n)
	s := kernels.NewStream(5, 0, 0)
	for i := range x {
		x[i] = s.Float32()
	}
	return x
}

// TestBatchesOptions: whatever is packed, the bits are the same; less is packed
// when less is asked for.
func TestBatchesOptions(t *testing.T) {
	m := wide(t)
	const count = 20
	x := ramp(count * m.Arch.Input.Size())
	var want []float32
	bytes := map[Batches]int{}
	for _, b := range []Batches{AllBatches, SmallBatches, LargeBatches} {
		n, err := Compile(m, Options{Batches: b})
		require.NoError(t, err)
		bytes[b] = n.Bytes()
		require.Equal(t, b != SmallBatches, n.HasLanes())
		for _, k := range []int{1, 3, 7, count} {
			z := logitsOf(t, n, x[:k*m.Arch.Input.Size()], k)
			if len(want) == 0 {
				want = logitsOf(t, n, x, count)
			}
			require.Equal(t, want[:len(z)], z)
		}
	}
	require.Less(t, bytes[SmallBatches], bytes[AllBatches])
	require.Less(t, bytes[LargeBatches], bytes[AllBatches])
	for _, o := range []Options{{Batches: 7}, {Batches: -1}, {Batches: SmallBatches, Winograd: true}} {
		_, err := Compile(m, o)
		require.Error(t, err)
	}
	small, err := Compile(m, Options{Batches: SmallBatches})
	require.NoError(t, err)
	require.Panics(t, func() { small.NewWorkspace(1, false) })
}

// TestWinograd: close to the direct network, deterministic for any batch,
// threads and kernel set, in both directions.
func TestWinograd(t *testing.T) {
	residual := &model.Architecture{Name: "residual", Input: model.Shape{C: 2, H: 9, W: 7}, Layers: []model.Layer{
		conv(16, 3, 3, 1, 1, 1, 1), relu, conv(16, 3, 3, 1, 1, 1, 1), add(2, 1), relu,
		conv(16, 3, 3, 1, 1, 1, 1), add(4, 5), fc(3),
	}}
	for _, m := range []*model.Model{wide(t), randomModel(t, residual, 2)} {
		testWinograd(t, m)
	}
}

func testWinograd(t *testing.T, m *model.Model) {
	const count = 13
	size := m.Arch.Input.Size()
	x := ramp(count * size)
	direct, err := Compile(m, Options{Backward: true})
	require.NoError(t, err)
	require.False(t, direct.HasWinograd())
	want := logitsOf(t, direct, x, count)
	var first, firstGrad []float32
	for _, isa := range kernels.Available() {
		n, err := Compile(m, Options{Backward: true, Winograd: true, ISA: isa.Name()})
		require.NoError(t, err)
		require.True(t, n.HasWinograd())
		z := logitsOf(t, n, x, count)
		requireNear(t, want, z, 1e-4)
		require.Equal(t, z[:n.Classes()], logitsOf(t, n, x[:size], 1))
		grad := inputGradient(n, x[:size])
		requireNear(t, inputGradient(direct, x[:size]), grad, 1e-4)
		if first == nil {
			first, firstGrad = z, grad
		}
		require.Equal(t, first, z, isa.Name())
		require.Equal(t, firstGrad, grad, isa.Name())
	}
}

func inputGradient(n *Network, img []float32) []float32 {
	ws := n.NewWorkspace(1, false)
	lanes := make([]float32, len(img)*kernels.Lanes)
	PackLanes(lanes, img, n.Input(), 1)
	z := ws.Forward(lanes, 1)
	zi, dz := make([]float32, n.Classes()), make([]float32, n.Classes())
	LaneGroups.Gather(zi, z, 0)
	CrossEntropy.Gradient(dz, zi, 1, Untargeted)
	clear(ws.LogitGradient())
	LaneGroups.Scatter(ws.LogitGradient(), dz, 0)
	out := make([]float32, len(img))
	LaneGroups.Unpack(out, ws.Backward(1), n.Input(), 0)
	return out
}

func requireNear(t *testing.T, want, have []float32, tolerance float64) {
	t.Helper()
	top, worst := 0.0, 0.0
	for i := range want {
		top = math.Max(top, math.Abs(float64(want[i])))
		worst = math.Max(worst, math.Abs(float64(want[i])-float64(have[i])))
	}
	require.LessOrEqual(t, worst, tolerance*top)
}
