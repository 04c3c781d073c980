package audit

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// small is a random network with images, labelled as it says but for every tenth.
type small struct {
	model *model.Model
	net   *net.Network
	pool  *kernels.Pool
	x     []float32
	y     []int
}

func newSmall(t *testing.T, n int) *small {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}}, {Kind: model.ReLU}, {Kind: model.FC, Out: 10},
	}}, 1)
	require.NoError(t, err)
	s := &small{model: m, pool: kernels.NewPool(2), x: make([]float32, n*36)}
	t.Cleanup(s.pool.Close)
	s.net, err = net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	random := kernels.NewStream(7, 0, 0)
	for i := range s.x {
		s.x[i] = random.Float32()
	}
	s.y, err = Predict(context.Background(), s.net, s.pool, s.x, n)
	require.NoError(t, err)
	for i := 3; i < n; i += 10 {
		s.y[i] = (s.y[i] + 1) % 10
	}
	return s
}
