package verify

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// radiiOf returns the radii of some images by alpha-crown, and the worker that came last.
func radiiOf(t *testing.T, n *net.Network, threads int, o Options, norm net.Norm, x []float32, y []int, prepare func(v *Verifier)) ([]int, *Verifier) {
	t.Helper()
	pool := kernels.NewPool(threads)
	defer pool.Close()
	v, err := New(n, pool)
	require.NoError(t, err)
	if prepare != nil {
		prepare(v)
	}
	var res RadiusResult
	require.NoError(t, v.Radius(context.Background(), o, norm, net.MustEpsilon("0.002"), net.MustEpsilon("0.5"), Batch{x, y}, &res))
	return res.Steps, v
}

// TestKeepSlopes: radii with kept slopes are those of CROWN or larger, nearly those without,
// the same for any threads and order of the images, and each is proved by some slopes.
func TestKeepSlopes(t *testing.T) {
	archs := deeper()
	archs = append([]*model.Architecture{archs[5], archs[11]}, layerArchitectures()...)
	archs = archs[:testsize.Of(len(archs), 5)]
	more, less, bytes := 0, 0, 0
	for k, a := range archs {
		m := newLayers(t, a, 8, rand.New(rand.NewPCG(4, uint64(k))))
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		size := a.Input.Size()
		x := randomImage(3*size, rand.New(rand.NewPCG(2, uint64(k))))
		y := labels(t, n, x, 3)
		o, norm := Options{Method: MethodAlphaCROWN, Ladder: true, Iterations: 8}, net.Norm(k%3)
		crown, _ := radiiOf(t, n, 1, Options{Method: MethodCROWN, Ladder: true}, norm, x, y, nil)
		cold, _ := radiiOf(t, n, 1, o, norm, x, y, nil)
		kept, v := radiiOf(t, n, 1, o, norm, x, y, (*Verifier).KeepSlopes)
		assert.Equal(t, cold, func() []int { r, _ := radiiOf(t, n, 1, o, norm, x, y, noRoom); return r }(), "%s: without room", a.Name)
		for i := range y {
			assert.GreaterOrEqual(t, kept[i], crown[i], a.Name)
			alone, _ := radiiOf(t, n, 1, o, norm, x[i*size:(i+1)*size], y[i:i+1], (*Verifier).KeepSlopes)
			assert.Equal(t, kept[i], alone[0], "%s: image %d alone", a.Name, i)
			more, less = more+max(0, kept[i]-cold[i]), less+max(0, cold[i]-kept[i])
		}
		several, _ := radiiOf(t, n, 3, o, norm, x, y, (*Verifier).KeepSlopes)
		assert.Equal(t, kept, several, "%s: threads", a.Name)
		bytes += accounted(t, v)
	}
	t.Logf("in steps of the radius: %d more, %d less than without", more, less)
	assert.Less(t, less, 10)
	assert.Positive(t, bytes)
}

// TestKeptSlopesFit: taken up again at the same radius, slopes give what they gave, in fewer
// steps; those of other neurons would not.
func TestKeptSlopesFit(t *testing.T) {
	archs := append(deeper(), layerArchitectures()...)
	gained := 0.0
	for k, a := range archs {
		m := newLayers(t, a, 8, rand.New(rand.NewPCG(4, uint64(k))))
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		pool := kernels.NewPool(1)
		defer pool.Close()
		v, err := New(n, pool)
		require.NoError(t, err)
		require.NoError(t, v.linear())
		v.KeepSlopes()
		w, o := v.workers[0], Options{Method: MethodAlphaCROWN, Iterations: 12}
		x := randomImage(a.Input.Size(), rand.New(rand.NewPCG(2, uint64(k))))
		y := labels(t, n, x, 1)[0]
		try := func(m Method, kept keeper) float64 {
			t := newAttempt(context.Background(), &o, m, goal{y: y})
			t.warm = kept
			return float64(w.try(&t, &area{norm: net.Linf, box: net.Ball{Eps: net.MustEpsilon("0.02")}.Box(), centre: x}))
		}
		kept := keepWarm(w)
		crown, first, again := try(MethodCROWN, nil), try(MethodAlphaCROWN, kept), try(MethodAlphaCROWN, kept)
		assert.GreaterOrEqual(t, again, first-0.05*(first-crown), a.Name)
		gained += first - crown
	}
	assert.Positive(t, gained)
}

// noRoom keeps slopes, but has no room for any.
func noRoom(v *Verifier) {
	v.keeps = func(w *linearWorker) keeper {
		s := newWarm(w.g)
		s.run, s.budget = 1, 0
		return s
	}
}

// labels returns the classes of images, so that radii are not −1.
func labels(t testing.TB, n *net.Network, x []float32, images int) []int {
	t.Helper()
	classes := n.Output().Size()
	z, y := make([]float32, images*classes), make([]int, images)
	require.NoError(t, n.NewRunner(kernels.NewPool(1)).Logits(context.Background(), z, x, images))
	for i := range y {
		for j, v := range z[i*classes : (i+1)*classes] {
			if v > z[i*classes+y[i]] {
				y[i] = j
			}
		}
	}
	return y
}

// accounted returns the room that is taken: that of the slots.
func accounted(t *testing.T, v *Verifier) int {
	t.Helper()
	s, ok := v.workers[0].keeper.(*warm)
	if !ok { // radii that need none
		return 0
	}
	taken := 0
	for _, n := range s.nodes {
		for _, slot := range n.slots {
			taken += len(slot.alpha)
		}
	}
	assert.Equal(t, taken, s.bytes)
	return taken
}
