package verify

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

func (v *CROWN) compiled() *net.Network { return v.g.net }

func newCROWN(t testing.TB, m *model.Model, threads int, c Config) *CROWN {
	t.Helper()
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	pool := kernels.NewPool(threads)
	t.Cleanup(pool.Close)
	v, err := NewCROWN(n, pool, c)
	require.NoError(t, err)
	return v
}

func deeper() []*model.Architecture {
	return append(architectures()[:11:11],
		&model.Architecture{Name: "padded", Input: model.Shape{C: 2, H: 6, W: 7}, Layers: []model.Layer{
			conv(3, 3, 1, 1), relu, conv(4, 3, 2, 1), relu, conv(3, 2, 1, 1), relu, fc(5), relu, fc(3)}},
		&model.Architecture{Name: "strided", Input: model.Shape{C: 1, H: 9, W: 8}, Layers: []model.Layer{
			conv(4, 3, 2, 2), relu, conv(5, 4, 3, 1), conv(3, 1, 1, 0), relu, fc(3)}})
}

// TestRelaxedSoundness looks for points outside the bounds of every method.
func TestRelaxedSoundness(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 8
	}
	for _, a := range deeper() {
		t.Run(a.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(17, 7))
			for round := range rounds {
				m, err := model.Random(a, uint64(round))
				require.NoError(t, err)
				twist(m, r)
				v := newCROWN(t, m, 1, Config{Method: Method(1 + round%3), Iterations: 3})
				x := randomImage(a.Input.Size(), r)
				ball := net.Ball{Norm: net.Norm(r.IntN(3)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}
				bad := search(t, v, m, ball, x, r.IntN(a.Classes()), r, 24)
				require.Nil(t, bad, "round %d, %v, %v", round, ball, v.cfg.Method)
			}
		})
	}
}

func TestCROWNSmoke(t *testing.T) {
	m, err := model.Random(deeper()[11], 1)
	require.NoError(t, err)
	x := randomImage(m.Arch.Input.Size(), rand.New(rand.NewPCG(1, 1)))
	for method := range Methods() {
		v := newCROWN(t, m, 1, Config{Method: Method(method)})
		var res Result
		require.NoError(t, v.Certify(context.Background(), net.Ball{Eps: net.MustEpsilon("0.03")}, Batch{x, []int{1}}, &res))
		t.Log(Method(method), res.Margin)
	}
}
