package train

import (
	"context"
	"errors"
	"math"
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
		{"tightness", IBP, func(c *Config) { c.Tightness = -0.5 }},
		{"beta", TRADES, func(c *Config) { c.Beta = -1 }},
		{"beta", TRADES, func(c *Config) { c.Beta = math.NaN() }},
		{"pgdSteps", TRADES, func(c *Config) { c.PGDSteps = 0 }},
		{"trainEps", TRADES, func(c *Config) { c.TrainEps = net.MustEpsilon("1.5") }},
		{"subbox", SABR, func(c *Config) { c.Subbox = 0 }},
		{"subbox", SABR, func(c *Config) { c.Subbox = 1.01 }},
		{"kappaFinal", SABR, func(c *Config) { c.KappaFinal = math.NaN() }},
		{"pgdSteps", SABR, func(c *Config) { c.PGDSteps = 0 }},
		{"alpha", MTLIBP, func(c *Config) { c.Alpha = 1.01 }},
		{"alpha", MTLIBP, func(c *Config) { c.Alpha = math.NaN() }},
		{"attackScale", MTLIBP, func(c *Config) { c.AttackScale = 0 }},
		{"pgdStepSize", MTLIBP, func(c *Config) { c.PGDStepSize = 0 }},
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
