package jobs

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/smooth"
)

// TestSmoothWinograd: what is smoothed is the network that runs by Winograd's algorithm, and
// files say so. A network without layers for it is refused.
func TestSmoothWinograd(t *testing.T) {
	conv := model.Layer{Kind: model.Conv, Out: 16, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}}
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 4, W: 4}, Layers: []model.Layer{
		conv, {Kind: model.ReLU}, conv, {Kind: model.ReLU}, {Kind: model.FC, Out: 5},
	}}, 1)
	require.NoError(t, err)
	const images = 4
	s := kernels.NewStream(3, 0, 0)
	x, y := make([]float32, images*m.Arch.Input.Size()), make([]int, images)
	for i := range x {
		x[i] = float32(s.Intn(256)) / 255
	}
	pool := kernels.NewPool(2)
	defer pool.Close()
	direct, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	fast, err := net.Compile(m, net.Options{Winograd: true})
	require.NoError(t, err)
	task := &Smooth{Sigma: "0.25", Samples: 500, Select: 20, Alpha: 0.01, Seed: 3, Winograd: true}
	require.NoError(t, task.Validate())
	assert.Equal(t, "certify, sigma 0.25, samples 500, alpha 0.01, seed 3, select 20, winograd", task.RunText())

	subject := &Subject{Net: direct, Pool: pool, X: x, Y: y}
	w, err := task.NewWork(subject)
	require.NoError(t, err)
	require.NoError(t, w.Draw(context.Background()))
	o, err := task.Options()
	require.NoError(t, err)
	certifier, err := smooth.New(fast, pool, o)
	require.NoError(t, err)
	want, err := certifier.Certify(context.Background(), smooth.Batch{X: x})
	require.NoError(t, err)
	assert.Equal(t, want, w.Log.Results)
	n, err := task.network(direct)
	require.NoError(t, err)
	assert.True(t, n.HasWinograd())

	b := newBench(t, 1)
	_, err = task.NewWork(b.subject(b.manifest(t, task, 1), -1))
	assert.ErrorContains(t, err, "winograd: the network has no layer for it")
}
