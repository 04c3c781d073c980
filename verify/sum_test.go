package verify

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestPlantedUnsoundSum is the same for the rounding of adds. It shows where the
// input is added: elsewhere, step 3 has widened the summands before.
func TestPlantedUnsoundSum(t *testing.T) {
	a := &model.Architecture{Name: "sum", Input: model.Shape{C: 3, H: 1, W: 1}, Layers: []model.Layer{fc(3), add(-1, 0)}}
	r := rand.New(rand.NewPCG(8, 8))
	keep := sumConstants
	defer func() { sumConstants = keep }()
	found := 0
	for round := range 40 {
		m, err := model.Random(a, uint64(round))
		require.NoError(t, err)
		// x_k + 1024·x_0: all rounding is that of the add, and margins are small.
		copy(m.Params[0].W, []float32{1024, 0, 0, 1024, 0, 0, 1024, 0, 0})
		clear(m.Params[0].B)
		v := newIBP(t, m, 1)
		x := randomImage(3, r)
		ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0")}
		sumConstants = keep
		require.Nil(t, search(t, v, m, ball, x, 0, r, 8))
		sumConstants = kernels.IntervalConstants{MulR: 1}
		v.intervals.feeds[0].delta = 0 // forget the rounding of products, which is larger
		maps := &v.intervals.steps[0].interval.(*affineInterval).maps
		maps.e = maps.small.PadBias(make([]float32, 3))
		if search(t, v, m, ball, x, 0, r, 8) != nil {
			found++
		}
	}
	require.Greater(t, found, 5, "of 40 planted bounds without rounding")
}

// TestRandomGraphs: what holds for the networks above holds for any wiring.
func TestRandomGraphs(t *testing.T) {
	rounds := 250
	if testing.Short() {
		rounds = 40
	}
	r := rand.New(rand.NewPCG(5, 5))
	for round := 0; round < rounds; {
		a := plain.RandomGraph(r)
		m, err := model.Random(a, uint64(round))
		if err != nil || a.Classes() < 2 {
			continue
		}
		round++
		twist(m, r)
		v := newIBP(t, m, 1)
		x := randomImage(a.Input.Size(), r)
		ball := net.Ball{Norm: net.Norm(r.IntN(2)), Eps: net.MustEpsilon(epsilons[r.IntN(len(epsilons))])}
		bad := search(t, v, m, ball, x, r.IntN(a.Classes()), r, 16)
		require.Nil(t, bad, "%s, %v", a.CanonicalJSON(), ball)
	}
}
