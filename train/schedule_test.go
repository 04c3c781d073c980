package train

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/net"
)

func TestSchedule(t *testing.T) {
	c := DefaultConfig(IBP)
	c.Epochs, c.WarmupEpochs, c.RampEpochs, c.KappaFinal = 10, 1, 4, 0.5
	c.LR, c.LRFinal, c.TrainEps = 1, 0.5, net.MustEpsilon("0.2")
	for _, w := range []struct {
		epoch float64
		point
	}{
		{0, point{lr: 1, eps: 0, kappa: 1}},
		{1, point{lr: 1, eps: 0, kappa: 1}},
		{3, point{lr: 1, eps: 0.1, kappa: 0.75}},
		{5, point{lr: 1, eps: 0.2, kappa: 0.5}},
		{7.5, point{lr: 0.75, eps: 0.2, kappa: 0.5}},
		{10, point{lr: 0.5, eps: 0.2, kappa: 0.5}},
	} {
		p := c.at(int(w.epoch*100), 100)
		assert.InDelta(t, w.lr, p.lr, 1e-12, "%v", w.epoch)
		assert.InDelta(t, w.eps, p.eps, 1e-12, "%v", w.epoch)
		assert.InDelta(t, w.kappa, p.kappa, 1e-12, "%v", w.epoch)
	}
	c.KappaStart, c.KappaFinal = 0, 0.5
	assert.Zero(t, c.at(0, 100).kappa)
	assert.Equal(t, 0.25, c.at(300, 100).kappa)
	assert.Equal(t, 0.5, c.at(900, 100).kappa)
}

// TestRates: the learning rate of each schedule at steps of half an epoch.
func TestRates(t *testing.T) {
	c := DefaultConfig(Standard)
	c.Epochs, c.LR, c.LRFinal = 5, 1, 0.1
	for name, want := range map[string][]float64{
		"constant":  {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		"step":      {1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25}, // at 2 and 4
		"one-cycle": {0.2, 0.4, 0.6, 0.8, 1, 0.82, 0.64, 0.46, 0.28, 0.1},
		"cosine": {
			1, 0.55 + 0.45*math.Cos(math.Pi/10), 0.55 + 0.45*math.Cos(math.Pi/5), 0.55 + 0.45*math.Cos(math.Pi*0.3), 0.55 + 0.45*math.Cos(math.Pi*0.4),
			0.55, 0.55 - 0.45*math.Cos(math.Pi*0.4), 0.55 - 0.45*math.Cos(math.Pi*0.3), 0.55 - 0.45*math.Cos(math.Pi/5), 0.55 - 0.45*math.Cos(math.Pi/10),
		},
	} {
		c := c
		c.Schedule = name
		switch name {
		case "step":
			c.Milestones, c.LRDecay = []float64{0.4, 0.8}, 0.5
		case "one-cycle":
			c.CyclePeak = 0.5
		}
		require.NoError(t, c.validate())
		for step, w := range want {
			assert.InDelta(t, w, c.at(step, 2).lr, 1e-14, "%s, step %d", name, step)
		}
	}
	c.Schedule = "step" // its defaults
	assert.InDeltaSlice(t, []float64{1, 0.2, 0.04}, []float64{c.at(69, 20).lr, c.at(70, 20).lr, c.at(85, 20).lr}, 1e-15)
	c.Schedule = "one-cycle"
	assert.Equal(t, 1., c.at(39, 20).lr)

	// Cosine begins when the radius is reached.
	c = DefaultConfig(PGD)
	c.Epochs, c.WarmupEpochs, c.RampEpochs, c.Schedule, c.LR, c.LRFinal = 10, 1, 5, "cosine", 1, 0
	assert.Equal(t, 1., c.at(6, 1).lr)
	assert.InDelta(t, 0.5, c.at(8, 1).lr, 1e-15)
}

// TestSmoothRamp: the ramp of auto_LiRPA's SmoothedScheduler, with its formula.
func TestSmoothRamp(t *testing.T) {
	const mid, beta, height = 0.25, 4., 0.3
	c := DefaultConfig(PGD)
	c.Epochs, c.WarmupEpochs, c.RampEpochs, c.RampShape, c.TrainEps = 20, 3, 8, "smooth", net.MustEpsilon("0.3")
	const start, end = 300, 1100
	middle := start + mid*(end-start)
	k := math.Pow(middle-start, beta-1)
	alpha := height / ((end-middle)*beta*k + (middle-start)*k)
	last := 0.
	for step := 0; step <= 2000; step++ {
		s, want := float64(step), height
		switch high := alpha * math.Pow(middle-start, beta); {
		case s <= start:
			want = 0
		case s < middle:
			want = alpha * math.Pow(s-start, beta)
		case s < end:
			want = high + (height-high)*(s-middle)/(end-middle)
		}
		got := c.at(step, 100).eps
		require.InDelta(t, want, got, 1e-14, "step %d", step)
		require.GreaterOrEqual(t, got, last)
		last = got
	}
}

func TestCosine(t *testing.T) {
	for i := range 1001 {
		x := float64(i) / 1000
		require.InDelta(t, math.Cos(math.Pi*x), cosine(x), 1e-14)
	}
}
