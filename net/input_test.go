package net

import (
	"context"
	"math"
	"testing"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/stretchr/testify/require"
)

func inputNet(t *testing.T) *Network {
	a := &model.Architecture{Name: "small", Input: model.Shape{C: 1, H: 2, W: 3}, Layers: []model.Layer{fc(3)}}
	return compile(t, randomModel(t, a, 1), "")
}

func TestCheckImages(t *testing.T) {
	n := inputNet(t)
	require.NoError(t, n.CheckImages(nil, 0))
	require.NoError(t, n.CheckImages([]float32{0, 1, 0x1p-149, 0.5, 1 - 0x1p-24, float32(math.Copysign(0, -1))}, 1))
	for _, c := range []struct{ length, count int }{{0, 1}, {6, 0}, {5, 1}, {7, 1}, {12, 1}, {6, 2}, {0, -1}, {6, -1}} {
		require.ErrorContains(t, n.CheckImages(make([]float32, c.length), c.count), "images of 1x2x3", "%v", c)
	}
	for _, bad := range []float32{float32(math.NaN()), -0.1, 1.1, float32(math.Inf(1)), float32(math.Inf(-1)), -0x1p-149, math.Nextafter32(1, 2), 255} {
		for at := range 12 {
			x := make([]float32, 12)
			x[at] = bad
			err := n.CheckImages(x, 2)
			require.ErrorContains(t, err, "want a value in [0, 1]")
			if at >= 6 {
				require.ErrorContains(t, err, "of image 1")
			}
			pool := kernels.NewPool(1)
			require.EqualError(t, n.NewRunner(pool).Logits(t.Context(), make([]float32, 6), x, 2), err.Error())
			pool.Close()
		}
	}
}

func TestCheckLabels(t *testing.T) {
	n := inputNet(t)
	require.NoError(t, n.CheckLabels(nil, 0))
	require.NoError(t, n.CheckLabels([]int{0, 1, 2}, 3))
	require.ErrorContains(t, n.CheckLabels([]int{0, 1, 2}, 2), "labels: 3")
	require.ErrorContains(t, n.CheckLabels(nil, 2), "labels: 0")
	require.ErrorContains(t, n.CheckLabels([]int{0, 3}, 2), "label of image 1 is 3, want 0 … 2")
	require.ErrorContains(t, n.CheckLabels([]int{-1, 0}, 2), "label of image 0 is -1")
}

func TestCompileRefuses(t *testing.T) {
	m := randomModel(t, smallNets()[0], 1)
	_, err := Compile(m, Options{ISA: "sse9"})
	require.ErrorContains(t, err, "sse9")
	require.ErrorContains(t, err, "generic")
	t.Setenv(kernels.EnvISA, "mmx")
	_, err = Compile(m, Options{})
	require.ErrorContains(t, err, kernels.EnvISA)
	_, err = Compile(m, Options{ISA: "generic"})
	require.NoError(t, err, "an option goes before the environment")
	t.Setenv(kernels.EnvISA, "generic")
	n, err := Compile(m, Options{})
	require.NoError(t, err)
	require.Equal(t, "generic", n.ISA().Name())

	for _, spoil := range []func(m *model.Model){
		func(m *model.Model) { m.Params[0].W[3] = float32(math.NaN()) },
		func(m *model.Model) { m.Params[0].B[0] = float32(math.Inf(1)) },
		func(m *model.Model) { m.Params[0].W = m.Params[0].W[1:] },
		func(m *model.Model) { m.Params = nil },
		func(m *model.Model) { m.Arch.Layers = nil },
		func(m *model.Model) { m.Arch.Layers[0].Kind = "pool" },
		func(m *model.Model) { m.Arch.Input.H = 0 },
	} {
		bad := m.Clone()
		spoil(bad)
		_, err := Compile(bad, Options{})
		var format *model.FormatError
		require.ErrorAs(t, err, &format)
	}
	_, err = Compile(&model.Model{}, Options{})
	require.Error(t, err)
}

func TestWithoutBackward(t *testing.T) {
	n, err := Compile(randomModel(t, smallNets()[3], 1), Options{})
	require.NoError(t, err)
	w := n.NewWorkspace(1, true)
	require.Panics(t, func() { w.Backward(1) })
	require.Panics(t, func() { w.Forward(make([]float32, 2*n.Input().Size()*kernels.Lanes), 2) }, "more groups than it holds")
}

func TestLogitsLengths(t *testing.T) {
	n := inputNet(t)
	pool := kernels.NewPool(2)
	defer pool.Close()
	r := n.NewRunner(pool)
	for _, have := range []int{0, 5, 7} {
		require.ErrorContains(t, r.Logits(t.Context(), make([]float32, have), make([]float32, 12), 2), "logits")
	}
	require.NoError(t, r.Logits(t.Context(), nil, nil, 0))
}

func TestLogitsCancelled(t *testing.T) {
	n := inputNet(t)
	for workers := 1; workers <= 2; workers++ {
		pool := kernels.NewPool(workers)
		defer pool.Close()
		r := n.NewRunner(pool)
		x, dst := make([]float32, 600), make([]float32, 300)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, r.Logits(ctx, dst, x, 100))
		cancel()
		clear(dst)
		require.Equal(t, context.Canceled, r.Logits(ctx, dst, x, 100))
		require.Equal(t, make([]float32, 300), dst, "it stops before the first chunk")
		expired, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		require.Equal(t, context.DeadlineExceeded, r.Logits(expired, dst, x, 100))
		require.NoError(t, r.Logits(t.Context(), dst, x, 100), "the runner survives")
	}
}

// TestNetworkFacts: what a network says about itself.
func TestNetworkFacts(t *testing.T) {
	m := randomModel(t, smallNets()[4], 1)
	forward, err := Compile(m, Options{})
	require.NoError(t, err)
	n := compile(t, m, "")
	require.Same(t, m, n.Model())
	require.Equal(t, []any{m.Arch.Input, 4, 3}, []any{n.Input(), n.Classes(), len(n.Layers())})
	require.Greater(t, n.Bytes(), forward.Bytes())
	mean, std := n.Normalization()
	require.Equal(t, m.Arch.Layers[0].Mean, mean)
	require.Equal(t, m.Arch.Layers[0].Std, std)
	var names []string
	for _, l := range n.Layers() {
		names = append(names, l.Name)
	}
	require.Equal(t, []string{"conv1", "conv3", "fc5"}, names)
	mean, _ = inputNet(t).Normalization()
	require.Nil(t, mean)
	small, err := Compile(randomModel(t, preset(t, "mnist-small"), 1), Options{})
	require.NoError(t, err)
	require.EqualValues(t, 13*13*16*16+10*10*32*16*16+3200*100+100*10, small.MACs())
}
