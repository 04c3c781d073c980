package epsball_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/zoo"
)

// TestMap: a mapped model classifies, attacks and certifies as a loaded one, and
// holds little memory of its own.
func TestMap(t *testing.T) {
	m, err := zoo.Load("mnist-small-ibp-0.1")
	require.NoError(t, err)
	ctx := context.Background()
	c, h, w := 1, 28, 28
	x := epsball.Batch{X: make([]float32, 2*c*h*w)}
	for i := range x.X {
		x.X[i] = float32(i%29) / 29
	}
	for _, s := range []model.Storage{{}, {Type: model.F32, Tiles: true}, {Type: model.BF16, Tiles: true}, {Type: model.F16}} {
		stored, err := m.Store(func(int) model.Storage { return s })
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "m.safetensors")
		require.NoError(t, stored.Save(path))
		loaded, err := epsball.Load(path, epsball.Threads(1))
		require.NoError(t, err)
		mapped, err := epsball.Map(path, epsball.Threads(1), epsball.FewImages())
		require.NoError(t, err)
		require.Equal(t, loaded.Hash(), mapped.Hash())
		if info, err := os.Stat(path); mapped.MappedBytes() > 0 {
			require.NoError(t, err)
			require.EqualValues(t, info.Size(), mapped.MappedBytes())
			if s == (model.Storage{Type: model.F32, Tiles: true}) {
				require.Less(t, mapped.Bytes(), mapped.MappedBytes()/10, "biases and plans")
			}
		}
		require.Zero(t, loaded.MappedBytes())
		want, err := loaded.Classify(ctx, x)
		require.NoError(t, err)
		have, err := mapped.Classify(ctx, x)
		require.NoError(t, err)
		require.Equal(t, want, have)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			if mapped.ClassifyInto(ctx, x, have) != nil {
				t.Fatal("failed")
			}
		}))
		ball := epsball.Linf(0.01)
		a, err := loaded.Attack(ctx, x.With(want.Label), ball, epsball.PGD{Steps: 3})
		require.NoError(t, err)
		b, err := mapped.Attack(ctx, x.With(want.Label), ball, epsball.PGD{Steps: 3})
		require.NoError(t, err)
		require.Equal(t, a.Adv, b.Adv)
		for _, how := range []epsball.Bound{epsball.IBP, epsball.CROWN} {
			p, err := loaded.Certify(ctx, x.With(want.Label), ball, how)
			require.NoError(t, err)
			q, err := mapped.Certify(ctx, x.With(want.Label), ball, how)
			require.NoError(t, err)
			require.Equal(t, p, q)
		}
		loaded.Close()
		mapped.Close()
	}
	_, err = epsball.Map(filepath.Join(t.TempDir(), "none.safetensors"))
	require.ErrorIs(t, err, os.ErrNotExist)
	bad := filepath.Join(t.TempDir(), "bad.safetensors")
	require.NoError(t, os.WriteFile(bad, []byte("no model"), 0o644))
	_, err = epsball.Map(bad)
	require.ErrorContains(t, err, bad)
	_, err = epsball.Map(filepath.Join("testdata", "none.onnx"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
