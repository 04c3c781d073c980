package train

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// TestSplit: what is held back is drawn by the seed, and is never trained on.
func TestSplit(t *testing.T) {
	m := tinyNet(t)
	c := quick(Standard)
	c.Validation = 0.25
	training, held := c.split(64)
	require.Len(t, training, 48)
	require.Len(t, held, 16)
	both := slices.Concat(training, held)
	slices.Sort(both)
	assert.Equal(t, inSequence(64), both)
	assert.NotEqual(t, inSequence(64)[48:], held)
	again, _ := c.split(64)
	assert.Equal(t, training, again)
	c.Seed++
	_, other := c.split(64)
	assert.NotEqual(t, held, other)

	// Other pixels there train the same weights.
	c = quick(PGD)
	c.Validation = 0.25
	_, held = c.split(64)
	d, changed := noise(m, 64), noise(m, 64)
	for _, i := range held {
		clear(changed.Image(int(i)))
	}
	a, _ := train(t, m, d, c)
	b, _ := train(t, m, changed, c)
	assert.Equal(t, a.Hash(), b.Hash())
	clear(changed.Image(int(other[0]))) // one trained on, unless held back too
	if !slices.Contains(held, other[0]) {
		b, _ = train(t, m, changed, c)
		assert.NotEqual(t, a.Hash(), b.Hash())
	}
}

// TestValidationFigures are those of attack and proof on the images held back, with the
// model of that epoch's end.
func TestValidationFigures(t *testing.T) {
	d := digits(t, 400)
	for _, method := range Methods() {
		c := quick(method)
		c.Validation, c.ValidationEps, c.Epochs = 0.25, net.MustEpsilon("0.02"), 4
		if method.Radius() {
			c.TrainEps = net.MustEpsilon("0.02")
		}
		tr, err := New(digitNet(t), d, c)
		require.NoError(t, err)
		m, history, err := tr.Run(t.Context())
		require.NoError(t, err)
		v := history[3].Validation
		require.Equal(t, 100, v.Images)
		_, held := c.split(400)
		var b attack.Batch
		for _, i := range held {
			b.X, b.Y = append(b.X, d.Image(int(i))...), append(b.Y, d.Y[i])
		}
		n, err := net.Compile(m, net.Options{Backward: true})
		require.NoError(t, err)
		pool := kernels.NewPool(2)
		ball := net.Ball{Norm: c.NormTrained(), Eps: c.ValidationEps}
		a, err := attack.New(n, attack.Config{Ball: ball, Method: attack.PGD{Steps: 10, Seed: 1}}, pool)
		require.NoError(t, err)
		var found attack.Result
		require.NoError(t, a.Run(t.Context(), b, &found))
		_, right, robust := found.Count()
		proofs, err := verify.New(n, pool)
		require.NoError(t, err)
		var proved verify.Result
		require.NoError(t, proofs.Certify(t.Context(), verify.Options{}, ball, verify.Batch{X: b.X, Y: b.Y}, &proved))
		_, certified := proved.Count()
		assert.Equal(t, Validation{100, float64(right) / 100, float64(robust) / 100, float64(certified) / 100, v.Noisy}, *v)
		assert.Equal(t, c.Sigma > 0, v.Noisy > 0.2, "%s: %v", method, v.Noisy)
		assert.Greater(t, v.Clean, 0.3)
		assert.LessOrEqual(t, v.Certified, v.PGD)
		assert.LessOrEqual(t, v.PGD, v.Clean)
		pool.Close()
	}
}

// TestValidationAtZero: without any radius, images are right or wrong.
func TestValidationAtZero(t *testing.T) {
	c := quick(Standard)
	c.Validation = 0.25
	_, history := train(t, digitNet(t), digits(t, 200), c)
	v := history[2].Validation
	assert.Equal(t, v.Clean, v.PGD)
	assert.InDelta(t, v.Clean, v.Certified, 0.02, "proofs are rounded outwards")
	assert.Equal(t, 50, v.Images)
}

// scored has epochs with these scores of PGD.
func scored(scores ...float64) (h []Epoch) {
	for i, s := range scores {
		h = append(h, Epoch{Epoch: i + 1, Validation: &Validation{Clean: 0.9, PGD: s, Certified: 1 - s}})
	}
	return h
}

func TestChoice(t *testing.T) {
	c := quick(PGD)
	c.WarmupEpochs, c.RampEpochs, c.Patience = 0.5, 1.5, 2
	for _, w := range []struct {
		h       []Epoch
		best    int
		stopped bool
	}{
		{nil, 0, false},
		{scored(0.1), 1, false},
		{scored(0.5, 0.4, 0.1), 1, false}, // two epochs on the ramp do not count
		{scored(0.5, 0.4, 0.1, 0.2), 1, false},
		{scored(0.5, 0.4, 0.3, 0.2), 1, false},
		{scored(0.5, 0.4, 0.3, 0.2, 0.3), 1, true}, // an equal is no better
		{scored(0.5, 0.4, 0.3, 0.2, 0.31), 1, false},
		{scored(0.1, 0.2, 0.6, 0.5), 3, false},
		{scored(0.1, 0.2, 0.6, 0.5, 0.6), 3, true},
	} {
		assert.Equal(t, w.best, c.lead(w.h, 0), "%v", w.h)
		assert.Equal(t, w.stopped, c.stopped(w.h), "%v", w.h)
	}
	h := scored(0.5, 0.5)
	h[1].Validation.Clean = 0.95
	assert.Equal(t, 2, c.lead(h, 0), "clean accuracy breaks ties")
	h[1].Validation.Clean, h[0].Validation.Certified = 0.9, 1
	assert.Equal(t, 1, c.lead(h, 0), "the first of equals")
	c = quick(IBP)
	assert.Equal(t, 2, c.lead(scored(0.5, 0.4), 0), "methods with bounds go by proofs")
	c = quick(Standard)
	h = scored(0.5, 0.6)
	h[0].Validation.Clean = 0.95
	assert.Equal(t, 1, c.lead(h, 0), "standard goes by clean accuracy")
}

// TestKeepBest: the model is that of the best epoch, as a run that ends there has it.
func TestKeepBest(t *testing.T) {
	m, d := digitNet(t), digits(t, 300)
	c := quick(PGD)
	c.Validation, c.Keep, c.Epochs, c.Schedule, c.LR, c.BatchSize = 0.2, "best", 12, "constant", 0.03, 20
	tr, err := New(m, d, c)
	require.NoError(t, err)
	got, history, err := tr.Run(t.Context())
	require.NoError(t, err)
	best := c.lead(history, 0)
	require.Equal(t, best, tr.Kept())
	require.Less(t, best, 12, "or nothing is tested")
	c.Keep, c.Epochs = "last", best
	want, _ := train(t, m, d, c)
	assert.Equal(t, want.Hash(), got.Hash())

	c.Keep, c.Epochs, c.Patience = "last", 12, 1
	tr, err = New(m, d, c)
	require.NoError(t, err)
	stopped, short, err := tr.Run(t.Context())
	require.NoError(t, err)
	require.Less(t, len(short), 12)
	require.True(t, c.stopped(short))
	require.False(t, c.stopped(short[:len(short)-1]))
	assert.Equal(t, len(short), tr.Kept())
	c.Patience, c.Epochs = 0, len(short)
	want, _ = train(t, m, d, c)
	assert.Equal(t, want.Hash(), stopped.Hash())
}

// TestVariantsResume stops after every other step, on the way through validation too, and
// goes on from the checkpoint to the same model.
func TestVariantsResume(t *testing.T) {
	for name, m := range trained(t) {
		for _, v := range variants() {
			t.Run(name+"/"+v.name, func(t *testing.T) {
				d, c := noise(m, 80), quick(PGD)
				v.set(&c)
				whole, err := New(m, d, c)
				require.NoError(t, err)
				want, wantHistory, err := whole.Run(t.Context())
				require.NoError(t, err)
				path := filepath.Join(t.TempDir(), "checkpoint")
				c.Checkpoint = path
				tr, err := New(m, d, c)
				require.NoError(t, err)
				var got *model.Model
				var history []Epoch
				stops := 0
				for {
					ctx, cancel := context.WithCancel(t.Context())
					left := 2
					tr.Observe(func(Progress) {
						if left--; left == 0 {
							cancel()
						}
					}, nil)
					got, history, err = tr.Run(ctx)
					cancel()
					if err == nil {
						break
					}
					require.ErrorIs(t, err, context.Canceled)
					stops++
					tr, err = Resume(path, d, Host{Threads: 1 + stops%2})
					require.NoError(t, err)
				}
				require.Greater(t, stops, 1)
				require.Equal(t, want.Hash(), got.Hash())
				require.Equal(t, untimed(wantHistory), untimed(history))
				require.Equal(t, whole.Kept(), tr.Kept())

				tr, err = Resume(path, d, Host{}) // nothing is left to do
				require.NoError(t, err)
				got, history, err = tr.Run(t.Context())
				require.NoError(t, err)
				require.Equal(t, want.Hash(), got.Hash())
				require.Len(t, history, len(wantHistory))
			})
		}
	}
}

// TestChoiceWithNoise: methods that train on noise choose by accuracy under noise.
func TestChoiceWithNoise(t *testing.T) {
	h := []Epoch{
		{Epoch: 1, Validation: &Validation{Clean: 0.99, PGD: 0.5, Certified: 0.1, Noisy: 0.7}},
		{Epoch: 2, Validation: &Validation{Clean: 0.9, PGD: 0.2, Noisy: 0.8}},
		{Epoch: 3, Validation: &Validation{Clean: 0.95, PGD: 0.4, Noisy: 0.75}},
	}
	for _, method := range []Method{Gaussian, SmoothAdv} {
		c := quick(method)
		require.Positive(t, c.Sigma)
		assert.Equal(t, 2, c.lead(h, 0), method)
	}
}
