package train

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/net"
)

func TestBadConfig(t *testing.T) {
	m := tinyNet(t)
	for _, w := range []struct {
		field  string
		method Method
		change func(c *Config)
	}{
		{"method", Standard, func(c *Config) { c.Method = "none" }},
		{"epochs", Standard, func(c *Config) { c.Epochs = 0 }},
		{"batchSize", Standard, func(c *Config) { c.BatchSize = 0 }},
		{"batchSize", Standard, func(c *Config) { c.BatchSize = 65 }},
		{"lr", Standard, func(c *Config) { c.LR = 0 }},
		{"lr", Standard, func(c *Config) { c.LR = math.NaN() }},
		{"lrFinal", Standard, func(c *Config) { c.LRFinal = 1 }},
		{"threads", Standard, func(c *Config) { c.Threads = -1 }},
		{"trainEps", IBP, func(c *Config) { c.TrainEps = net.MustEpsilon("1.5") }},
		{"warmupEpochs", IBP, func(c *Config) { c.WarmupEpochs = -1 }},
		{"rampEpochs", PGD, func(c *Config) { c.RampEpochs = math.Inf(1) }},
		{"pgdSteps", PGD, func(c *Config) { c.PGDSteps = 0 }},
		{"pgdStepSize", PGD, func(c *Config) { c.PGDStepSize = 0 }},
		{"kappaFinal", IBP, func(c *Config) { c.KappaFinal = 1.1 }},
		{"betaFinal", CROWNIBP, func(c *Config) { c.BetaFinal = 1.5 }},
		{"tightness", IBP, func(c *Config) { c.Tightness = -0.5 }},
		{"beta", TRADES, func(c *Config) { c.Beta = -1 }},
		{"beta", TRADES, func(c *Config) { c.Beta = math.NaN() }},
		{"beta", MART, func(c *Config) { c.Beta = 1001 }},
		{"beta", InputGradient, func(c *Config) { c.Beta = -1 }},
		{"beta", Jacobian, func(c *Config) { c.Beta = math.Inf(1) }},
		{"beta", LogitPairing, func(c *Config) { c.Beta = math.NaN() }},
		{"probe", InputGradient, func(c *Config) { c.Probe = 0 }},
		{"probe", Jacobian, func(c *Config) { c.Probe = 11 }},
		{"sigma", SmoothAdv, func(c *Config) { c.Sigma = 0 }},
		{"draws", SmoothAdv, func(c *Config) { c.Draws = 0 }},
		{"draws", SmoothAdv, func(c *Config) { c.Draws = 65 }},
		{"trainEps", SmoothAdv, func(c *Config) { c.TrainEps = net.MustEpsilon("7") }},
		{"awp", PGD, func(c *Config) { c.AWP = -0.1 }},
		{"awp", TRADES, func(c *Config) { c.AWP = 1.1 }},
		{"awp", MART, func(c *Config) { c.AWP = math.NaN() }},
		{"awpWarmup", PGD, func(c *Config) { c.AWPWarmup = -1 }},
		{"labelSmoothing", Standard, func(c *Config) { c.LabelSmoothing = 1.5 }},
		{"labelSmoothing", PGD, func(c *Config) { c.LabelSmoothing = math.NaN() }},
		{"pgdSteps", TRADES, func(c *Config) { c.PGDSteps = 0 }},
		{"trainEps", TRADES, func(c *Config) { c.TrainEps = net.MustEpsilon("1.5") }},
		{"subbox", SABR, func(c *Config) { c.Subbox = 0 }},
		{"subbox", SABR, func(c *Config) { c.Subbox = 1.01 }},
		{"kappaFinal", SABR, func(c *Config) { c.KappaFinal = math.NaN() }},
		{"pgdSteps", SABR, func(c *Config) { c.PGDSteps = 0 }},
		{"sigma", Gaussian, func(c *Config) { c.Sigma = 0 }},
		{"sigma", Gaussian, func(c *Config) { c.Sigma = math.Inf(1) }},
		{"alpha", MTLIBP, func(c *Config) { c.Alpha = 1.01 }},
		{"alpha", MTLIBP, func(c *Config) { c.Alpha = math.NaN() }},
		{"attackScale", MTLIBP, func(c *Config) { c.AttackScale = 0 }},
		{"pgdStepSize", MTLIBP, func(c *Config) { c.PGDStepSize = 0 }},
		{"rampShape", PGD, func(c *Config) { c.RampShape = "quick" }},
		{"kappaStart", IBP, func(c *Config) { c.KappaStart = 2 }},
		{"optimizer", Standard, func(c *Config) { c.Optimizer = "lion" }},
		{"momentum", Standard, func(c *Config) { c.Momentum = 0.9 }},
		{"momentum", Standard, func(c *Config) { c.Optimizer, c.Momentum = "sgd", 1 }},
		{"nesterov", Standard, func(c *Config) { c.Nesterov = true }},
		{"nesterov", Standard, func(c *Config) { c.Optimizer, c.Nesterov = "sgd", true }},
		{"weightDecay", Standard, func(c *Config) { c.WeightDecay = math.NaN() }},
		{"l1", Standard, func(c *Config) { c.L1 = -1 }},
		{"clip", Standard, func(c *Config) { c.Clip = math.Inf(1) }},
		{"average", Standard, func(c *Config) { c.Average = "mean" }},
		{"averageDecay", Standard, func(c *Config) { c.Average, c.AverageDecay = "swa", 0.9 }},
		{"averageStart", Standard, func(c *Config) { c.AverageStart = 0.5 }},
		{"schedule", Standard, func(c *Config) { c.Schedule = "linear" }},
		{"milestones", Standard, func(c *Config) { c.Milestones = []float64{0.5} }},
		{"milestones", Standard, func(c *Config) { c.Schedule, c.Milestones = "step", []float64{0.5, 1.5} }},
		{"milestones", Standard, func(c *Config) { c.Schedule, c.Milestones = "step", []float64{0.5, 0.4} }},
		{"lrDecay", Standard, func(c *Config) { c.Schedule, c.LRDecay = "cosine", 0.5 }},
		{"cyclePeak", Standard, func(c *Config) { c.Schedule, c.CyclePeak = "one-cycle", 1 }},
		{"shift", Standard, func(c *Config) { c.Shift = 4 }},
		{"validation", Standard, func(c *Config) { c.Validation = 1 }},
		{"validation", Standard, func(c *Config) { c.Validation = 1e-3 }},
		{"batchSize", Standard, func(c *Config) { c.Validation = 0.8 }},
		{"validationEps", Standard, func(c *Config) { c.ValidationEps = net.MustEpsilon("2") }},
		{"keep", Standard, func(c *Config) { c.Keep = "best" }},
		{"patience", Standard, func(c *Config) { c.Patience = 1 }},
	} {
		c := quick(w.method)
		w.change(&c)
		_, err := New(m, noise(m, 64), c)
		wantField(t, err, w.field)
	}
}

func TestBadData(t *testing.T) {
	m := tinyNet(t)
	for _, w := range []struct {
		field  string
		change func(d *dataset.Set)
	}{
		{"data", func(d *dataset.Set) { *d = *d.Slice(0, 0) }},
		{"data", func(d *dataset.Set) { d.H, d.W = d.W, d.H }},
		{"data.label[7]", func(d *dataset.Set) { d.Y[7] = dataset.Unknown }},
		{"data.label[3]", func(d *dataset.Set) { d.Y[3], d.Classes = 4, 5 }},
	} {
		d := noise(m, 64)
		w.change(d)
		_, err := New(m, d, quick(Standard))
		wantField(t, err, w.field)
	}
	_, err := New(m, nil, quick(Standard))
	wantField(t, err, "data")
	_, err = New(nil, noise(m, 64), quick(Standard))
	wantField(t, err, "model")
	d := noise(m, 64)
	d.X[5] = float32(math.NaN())
	_, err = New(m, d, quick(Standard))
	require.ErrorAs(t, err, new(*dataset.Error))
}

func wantField(t *testing.T, err error, field string) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, field, e.Field)
	assert.NotEmpty(t, e.Got)
	assert.Contains(t, err.Error(), field)
}

func TestCheckpointErrors(t *testing.T) {
	d := noise(tinyNet(t), 64)
	c := quick(IBP)
	c.Checkpoint = filepath.Join(t.TempDir(), "checkpoint")
	tr, err := New(tinyNet(t), d, c)
	require.NoError(t, err)
	_, _, err = tr.Run(context.Background())
	require.NoError(t, err)
	good, err := tr.encode()
	require.NoError(t, err)

	t.Run("cut or damaged", func(t *testing.T) {
		for n := 0; n < len(good); n += 97 {
			_, err := decode(good[:n], d, Host{})
			require.ErrorAs(t, err, new(*Error))
			bad := append([]byte(nil), good...)
			bad[n] ^= 4
			_, err = decode(bad, d, Host{})
			require.ErrorAs(t, err, new(*Error))
		}
	})
	t.Run("fields", func(t *testing.T) {
		for _, w := range []struct {
			field  string
			change func(h *header)
		}{
			{"epochs", func(h *header) { h.Config.Epochs = -1 }},
			{"header.trainEps", func(h *header) { h.TrainEps = "a tenth" }},
			{"header.validationEps", func(h *header) { h.ValidationEps = "" }},
			{"header.history[1].epoch", func(h *header) { h.History[1].Epoch = 3 }},
			{"header.best", func(h *header) { h.Best = 1 }},
			{"header.averaged", func(h *header) { h.Averaged = 1 }},
			{"header.averaged", func(h *header) { h.Config.Average, h.Averaged = "ema", -1 }},
			{"state", func(h *header) { h.Config.Average, h.Averaged = "ema", 1 }},
			{"state", func(h *header) { h.Config.Optimizer = "sgd" }},
			{"header.step", func(h *header) { h.Step = 1000 }},
			{"header.step", func(h *header) { h.Step = -1 }},
			{"header.history", func(h *header) { h.History = nil }},
			{"header.model", func(h *header) { h.Model = -1 }},
			{"header.model", func(h *header) { h.Model = 1 << 30 }},
			{"model", func(h *header) { h.Model -= 4 }},
			{"data", func(h *header) { h.Data = "" }},
		} {
			_, err := decode(rewrite(t, good, w.change), d, Host{})
			wantField(t, err, w.field)
		}
	})
	t.Run("state", func(t *testing.T) {
		_, err := decode(seal(good[:len(good)-40]), d, Host{})
		wantField(t, err, "state")
	})
	t.Run("not finite", func(t *testing.T) {
		bad := bytes.Clone(good[:len(good)-sha256.Size])
		copy(bad[len(bad)-4:], []byte{0, 0, 0xc0, 0x7f})
		_, err := decode(seal(bad), d, Host{})
		require.ErrorContains(t, err, "got NaN, want a finite number")

		before, err := os.ReadFile(c.Checkpoint)
		require.NoError(t, err)
		tr.s.opt.state[0][1].W[0] = float32(math.Inf(1))
		require.ErrorIs(t, tr.save(), ErrDiverged)
		after, err := os.ReadFile(c.Checkpoint)
		require.NoError(t, err)
		require.Equal(t, before, after, "the last good one stays")
	})
	t.Run("earlier version", func(t *testing.T) {
		_, err := decode(seal(append([]byte("EPSTRN1\n"), good[len(magic):len(good)-sha256.Size]...)), d, Host{})
		wantField(t, err, "magic")
	})
	t.Run("other data", func(t *testing.T) {
		other := noise(tinyNet(t), 64)
		other.X[0] = 0.5
		_, err := Resume(c.Checkpoint, other, Host{})
		wantField(t, err, "data")
		assert.Contains(t, err.Error(), c.Checkpoint)
	})
	t.Run("no file", func(t *testing.T) {
		_, err := Resume(filepath.Join(t.TempDir(), "none"), d, Host{})
		require.Error(t, err)
		assert.False(t, errors.As(err, new(*Error)))
	})
	t.Run("cannot be written", func(t *testing.T) {
		c := c
		c.Checkpoint = filepath.Join(t.TempDir(), "none", "checkpoint")
		tr, err := New(tinyNet(t), d, c)
		require.NoError(t, err)
		_, history, err := tr.Run(context.Background())
		require.ErrorContains(t, err, c.Checkpoint)
		assert.Len(t, history, 1)
	})
}
