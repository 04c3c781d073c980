package train

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// provoked overfits catastrophically in its third epoch: long steps, from the image itself.
func provoked(policy string) Config {
	c := DefaultConfig(FGSM)
	c.Epochs, c.BatchSize, c.LR, c.Schedule = 4, 10, 5e-3, ""
	c.TrainEps, c.WarmupEpochs, c.RampEpochs = net.MustEpsilon("0.2"), 1, 2
	c.Noise, c.PGDStepSize, c.Overfitting = 0, 2, policy
	return c
}

const provokedIn = 3

func images(t testing.TB) *dataset.Set { return digits(t, 800) }

// TestOverfittingSeen: the alarm goes off where it should, on what the network does and
// not on other attacks, and not where training is sound.
func TestOverfittingSeen(t *testing.T) {
	var alarms []int
	c := provoked("warn")
	c.Alarm = func(e Epoch) { alarms = append(alarms, e.Epoch) }
	warned, history := train(t, digitNet(t), images(t), c)
	assert.Equal(t, []int{3, 4}, alarms)
	assert.Nil(t, history[0].Overfitting, "the radius is 0")
	require.Empty(t, history[1].Overfitting.Action)
	o := history[2].Overfitting
	assert.Equal(t, "warn", o.Action)
	assert.Greater(t, o.OneStep-o.MultiStep, mostGap)
	assert.Less(t, o.MultiStep, 0.1)
	assert.Equal(t, 32, o.Images)

	c.Overfitting = "off"
	alarms = nil
	ignored, history := train(t, digitNet(t), images(t), c)
	assert.Equal(t, warned.Hash(), ignored.Hash(), "looking changes nothing")
	assert.Nil(t, history[3].Overfitting)
	assert.Empty(t, alarms)

	for _, method := range []Method{FGSM, NFGSM, Free, PGD} {
		c := DefaultConfig(method)
		c.Epochs, c.BatchSize, c.LR, c.Schedule = 4, 20, 3e-3, ""
		c.TrainEps, c.WarmupEpochs, c.RampEpochs = net.MustEpsilon("0.1"), 1, 1
		c.Alarm = func(e Epoch) { t.Errorf("%s: false alarm %+v", method, *e.Overfitting) }
		_, history := train(t, digitNet(t), images(t), c)
		if method == PGD {
			assert.Nil(t, history[3].Overfitting, "it takes seven steps")
			c.PGDSteps = 1
			c.PGDStepSize = 1
			_, history = train(t, digitNet(t), images(t), c)
		}
		require.NotNil(t, history[3].Overfitting)
		assert.Greater(t, history[3].Overfitting.MultiStep, 0.4)
	}
}

// TestAlarm: the signs that are taken for it, alone and together.
func TestAlarm(t *testing.T) {
	for _, w := range []struct {
		o    Overfitting
		want bool
	}{
		{Overfitting{OneStep: 0.9, MultiStep: 0.05}, true},
		{Overfitting{OneStep: 0.9, MultiStep: 0.8}, false},
		{Overfitting{OneStep: 0.4, MultiStep: 0.2}, false},
		{Overfitting{OneStep: 0.4, MultiStep: 0.2, Abnormal: 0.15}, true},
		{Overfitting{OneStep: 0.1, MultiStep: 0.1, Abnormal: 0.5}, false}, // chance
		{Overfitting{OneStep: 0.6, MultiStep: 0.9}, false},
	} {
		assert.Equal(t, w.want, w.o.alarmed(), "%+v", w.o)
	}

	// A longer attack is the objective's own where that can be longer.
	points := func(attack *inner) [][]float32 {
		m := tinyNet(t)
		d, c := noise(m, 20), quick(TRADES)
		c.BatchSize, c.PGDSteps, c.PGDStepSize = 20, 1, 1
		s := newTestStepper(t, m, d, &c)
		s.instead = attack
		require.NoError(t, s.losses(context.Background(), 0, point{lr: 1, eps: 0.2, kappa: 1}, inOrder(20)))
		return s.unpack(20)
	}
	own := points(trades.needs.attack.longer())
	assert.NotEqual(t, points(nil), own)
	assert.NotEqual(t, points(&pgdSeven), own)
	assert.Same(t, &pgdSeven, fgsm.needs.attack.longer())
	assert.Same(t, &pgdSeven, free.needs.attack.longer())
}

// TestAbnormal: points are abnormal where the loss at their end is below that at their
// start, and only there.
func TestAbnormal(t *testing.T) {
	m := tinyNet(t)
	d, c := noise(m, 64), DefaultConfig(FGSM)
	c.BatchSize, c.TrainEps, c.Noise, c.PGDStepSize = 64, net.MustEpsilon("0.6"), 0, 2
	s := newTestStepper(t, m, d, &c)
	require.NoError(t, s.losses(context.Background(), 0, point{lr: 1, eps: 0.6, kappa: 1}, inOrder(64)))
	f := newReference(m, 0, 1)
	abnormal := 0
	for i, x := range s.unpack(64) {
		require.InDelta(t, f.loss(d.Image(i), d.Y[i]), s.before[i], 1e-5)
		assert.Equal(t, f.loss(x, d.Y[i]) < f.loss(d.Image(i), d.Y[i]), s.abnormal[i])
		abnormal += count(s.abnormal[i])
	}
	assert.Positive(t, abnormal, "so long a step overshoots")
	assert.Less(t, abnormal, 32)
	assert.False(t, newTestStepper(t, allLayers(t), noise(allLayers(t), 64), &c).watched, "two modes of batch norms cannot be compared")
}

// TestOverfittingStops: with the weights of the epoch before, which no thread, kernel set
// or interruption changes.
func TestOverfittingStops(t *testing.T) {
	hashes := epochHashes(t, provoked("warn"))
	var before *model.Model
	for _, isa := range kernels.Available() {
		c := provoked("stop")
		c.ISA, c.Threads = isa.Name(), 2
		tr, err := New(digitNet(t), images(t), c)
		require.NoError(t, err)
		r, history, err := tr.Run(context.Background())
		require.NoError(t, err)
		require.Len(t, history, provokedIn-1)
		require.Equal(t, hashes[provokedIn-2], r.Hash())
		require.Equal(t, provokedIn, tr.Alarm().Epoch)
		require.Equal(t, "stop", tr.Alarm().Seen.Action)
		before = r
	}
	overfits(t, provoked("stop"))

	c := provoked("stop")
	c.WarmupEpochs, c.RampEpochs = 0, 0
	tr, err := New(before, images(t), c)
	require.NoError(t, err)
	_, history, err := tr.Run(context.Background())
	require.ErrorIs(t, err, ErrOverfitting)
	assert.Empty(t, history)
}

// TestOverfittingFallsBack: from the weights of the epoch before, PGD goes on.
func TestOverfittingFallsBack(t *testing.T) {
	c := provoked("fallback")
	done := []int{}
	c.EpochDone = func(e Epoch) { done = append(done, e.Epoch) }
	tr, err := New(digitNet(t), images(t), c)
	require.NoError(t, err)
	r, history, err := tr.Run(context.Background())
	require.NoError(t, err)
	require.Len(t, history, c.Epochs)
	assert.Equal(t, []int{1, 2, 3, 4}, done)
	require.Equal(t, provokedIn, tr.Alarm().Epoch)
	assert.Equal(t, "fallback", history[provokedIn-1].Overfitting.Action)
	assert.Nil(t, history[provokedIn].Overfitting, "nobody looks any more")
	bad, _ := train(t, digitNet(t), images(t), provoked("warn"))
	assert.Greater(t, underPGD(t, r, images(t).Slice(0, 400)), underPGD(t, bad, images(t).Slice(0, 400))+0.1)
	overfits(t, c)

	// The perturbations and replays of free end with it, its weights do not.
	c = provoked("fallback")
	c.Method, c.Replays, c.Average, c.Optimizer, c.Momentum, c.LR = Free, 3, "ema", "sgd", 0.9, 0.05
	c.Validation, c.Keep = 0.1, "best"
	tr, err = New(digitNet(t), images(t), c)
	require.NoError(t, err)
	var want string
	var mean []model.Param
	var counted, best int
	tr.c.EpochDone = func(e Epoch) {
		if e.Epoch == 2 {
			want, mean, counted, best = tr.model.Hash(), cloneParams(tr.average.mean), tr.average.count, tr.bestOf
		}
	}
	stopAfter(t, tr, tr.perEpoch*2+5)
	require.NotEqual(t, want, tr.model.Hash())
	require.NoError(t, tr.goBack())
	tr.heed(&Alarm{3, Overfitting{Action: "fallback"}})
	assert.Equal(t, want, tr.model.Hash())
	assert.Equal(t, mean, tr.average.mean)
	assert.Equal(t, counted, tr.average.count)
	assert.Equal(t, best, tr.bestOf)
	assert.Equal(t, 2*tr.perEpoch, tr.step)
	assert.Equal(t, 1, tr.s.replays())
	_, history, err = tr.Run(context.Background())
	require.NoError(t, err)
	assert.Len(t, history, c.Epochs)
}

// epochHashes trains and returns the weights' hash after each epoch.
func epochHashes(t *testing.T, c Config) (hashes []string) {
	var tr *Trainer
	c.EpochDone = func(Epoch) { hashes = append(hashes, tr.model.Hash()) }
	tr, err := New(digitNet(t), images(t), c)
	require.NoError(t, err)
	_, _, err = tr.Run(context.Background())
	require.NoError(t, err)
	return hashes
}

// overfits interrupts a training before, in and after the epoch of the alarm, and goes on
// from the checkpoint.
func overfits(t *testing.T, c Config) {
	c.Threads = 1
	tr, err := New(digitNet(t), images(t), c)
	require.NoError(t, err)
	want, wantHistory, err := tr.Run(context.Background())
	require.NoError(t, err)
	for _, stop := range []int{2 * tr.perEpoch, 2*tr.perEpoch + 30, 3*tr.perEpoch + 20} {
		c.Checkpoint = filepath.Join(t.TempDir(), "checkpoint")
		tr, err := New(digitNet(t), images(t), c)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		steps := 0
		tr.c.Progress = func(Progress) {
			if steps++; steps == stop {
				cancel()
			}
		}
		_, _, err = tr.Run(ctx)
		cancel()
		if stop < 3*tr.perEpoch {
			require.ErrorIs(t, err, context.Canceled)
		}
		tr, err = Resume(c.Checkpoint, images(t), Host{Threads: 2})
		require.NoError(t, err)
		got, history, err := tr.Run(context.Background())
		require.NoError(t, err)
		require.Equal(t, want.Hash(), got.Hash(), "after %d steps", stop)
		require.Equal(t, untimed(wantHistory), untimed(history))
		require.Equal(t, provokedIn, tr.Alarm().Epoch)
		tr, err = Resume(c.Checkpoint, images(t), Host{})
		require.NoError(t, err)
		got, _, err = tr.Run(context.Background())
		require.NoError(t, err)
		require.Equal(t, want.Hash(), got.Hash(), "nothing is left to do")
	}
}

// TestOverfittingCheckpoints: what cannot be is refused.
func TestOverfittingCheckpoints(t *testing.T) {
	m := tinyNet(t)
	d, c := noise(m, 64), quick(FGSM)
	c.Overfitting = "stop"
	tr, err := New(m, d, c)
	require.NoError(t, err)
	tr.dataHash = hashData(d)
	stopAfter(t, tr, 4)
	good, err := tr.encode()
	require.NoError(t, err)
	_, err = decode(good, d, Host{})
	require.NoError(t, err)
	for _, w := range []struct {
		field  string
		change func(h *header)
	}{
		{"header.kept", func(h *header) { h.Kept = 0 }},
		{"header.kept", func(h *header) { h.Kept = -1 }},
		{"header.kept", func(h *header) { h.Kept = 1 << 30 }},
		{"header.kept", func(h *header) { h.Config.Overfitting = "" }},
		{"kept", func(h *header) { h.Kept-- }},
		{"kept", func(h *header) { h.Step, h.History = 2, nil }},
		{"header.alarm", func(h *header) { h.Alarm = &Alarm{Epoch: 2, Seen: Overfitting{Action: "fallback"}} }},
		{"header.alarm", func(h *header) { h.Alarm = &Alarm{Epoch: 0, Seen: Overfitting{Action: "stop"}} }},
		{"header.alarm", func(h *header) {
			h.Config.Method, h.Config.PGDSteps = PGD, 7
			h.Alarm = &Alarm{Epoch: 2, Seen: Overfitting{Action: "stop"}}
		}},
	} {
		_, err := decode(rewrite(t, good, w.change), d, Host{})
		wantField(t, err, w.field)
	}
}
