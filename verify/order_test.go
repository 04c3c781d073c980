package verify

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestOrder: the bound of an image is that of a verifier which has seen no other, whatever it
// has done before.
func TestOrder(t *testing.T) {
	ctx := context.Background()
	fc := func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{
		fc(8), {Kind: model.ReLU}, fc(8), {Kind: model.ReLU}, fc(4),
	}}, 1)
	require.NoError(t, err)
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	const images, size = 12, 9
	x, y := make([]float32, images*size), make([]int, images)
	s := kernels.NewStream(3, 0, 0)
	for i := range x {
		x[i] = s.Float32()
	}
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
		ball := net.Ball{Norm: norm, Eps: net.MustEpsilon("0.1")}
		for method := MethodIBP; method <= MethodAlphaCROWN; method++ {
			o := Options{Method: method, Ladder: true}
			used, err := New(n, pool)
			require.NoError(t, err)
			for i := range 2 * images {
				at := i * 5 % images
				b := Batch{X: x[at*size : (at+1)*size], Y: y[at : at+1]}
				fresh, err := New(n, pool)
				require.NoError(t, err)
				var want, got Result
				require.NoError(t, fresh.Certify(ctx, o, ball, b, &want))
				require.NoError(t, used.Certify(ctx, o, ball, b, &got))
				require.Equal(t, want.Margin, got.Margin, "%v %v image %d", norm, method, at)
			}
		}
	}
}
