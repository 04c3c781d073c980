package train

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

// TestAverage holds both means, of running statistics too, against their definitions.
func TestAverage(t *testing.T) {
	at := func(step int) float32 { return float32(math.Sin(float64(step))) }
	run := func(c Config) (*average, []model.Param) {
		w := []model.Param{{W: []float32{0, 1}, B: []float32{0}, Mean: []float32{0}, Var: []float32{0}}}
		c.Epochs = 10
		a := newAverage(&c, w, 5)
		for step := 1; step <= 50; step++ {
			w[0].W[0], w[0].B[0], w[0].Mean[0], w[0].Var[0] = at(step), 2*at(step), 3*at(step), 4*at(step)
			a.step(step)
		}
		return a, w
	}
	check := func(want float64, a *average) {
		require.NotNil(t, a.mean)
		p := a.mean[0]
		assert.InDelta(t, want, p.W[0], 1e-6)
		assert.Equal(t, float32(1), p.W[1])
		assert.InDelta(t, 2*want, p.B[0], 2e-6)
		assert.InDelta(t, 3*want, p.Mean[0], 3e-6)
		assert.InDelta(t, 4*want, p.Var[0], 4e-6)
	}
	a, _ := run(Config{Average: "swa"}) // the ends of the last quarter
	assert.Equal(t, 3, a.count)
	check(float64(at(40)+at(45)+at(50))/3, a)
	a, _ = run(Config{Average: "swa", AverageStart: 0.5})
	assert.Equal(t, 6, a.count)

	for decay, set := range map[float64]float64{0.9: 0.9, 0.999: 0} {
		for from, start := range map[int]float64{1: 0, 20: 0.4} {
			a, _ = run(Config{Average: "ema", AverageDecay: set, AverageStart: start})
			want := float64(at(from))
			for n, step := 2, from+1; step <= 50; n, step = n+1, step+1 {
				d := min(decay, float64(n)/float64(n+9))
				want = d*want + (1-d)*float64(at(step))
			}
			check(want, a)
		}
	}
	a, w := run(Config{Average: "none"})
	assert.Nil(t, a)
	assert.Equal(t, at(50), w[0].W[0])
}

// TestAverageIsTheModel: what Run returns has the mean, Model the weights being trained.
func TestAverageIsTheModel(t *testing.T) {
	m := allLayers(t)
	c := quick(Standard)
	c.Average = "ema"
	tr, err := New(m, noise(m, 64), c)
	require.NoError(t, err)
	got, _, err := tr.Run(t.Context())
	require.NoError(t, err)
	require.NoError(t, got.Validate())
	assert.NotEqual(t, tr.Model().Hash(), got.Hash())
	assert.Equal(t, tr.average.mean[2].W, got.Params[2].W)
	c.Average = ""
	plain, _ := train(t, m, noise(m, 64), c)
	assert.Equal(t, plain.Hash(), tr.Model().Hash(), "the mean does not change training")
}
