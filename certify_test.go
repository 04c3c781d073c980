package epsball_test

import (
	"context"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/zoo"
)

// TestRadius: the ball of each radius is proved and, by interval bounds, which know no
// luck, the next one is not; a tighter bound goes at least as far.
func TestRadius(t *testing.T) {
	test, err := mnist.Test()
	require.NoError(t, err)
	const n = 9
	images := test.Slice(300, 300+n)
	x, ctx := epsball.Batch{X: images.X}, context.Background()
	for _, opts := range [][]epsball.Option{{epsball.Threads(1), epsball.FewImages()}, {epsball.Threads(2)}} {
		m, err := epsball.LoadBytes(zoo.MNISTSmallIBP(), "embedded", opts...)
		require.NoError(t, err)
		defer m.Close()
		pred, err := m.Classify(ctx, x)
		require.NoError(t, err)
		for _, norm := range []string{"linf", "l2"} {
			step, err := epsball.ParseBall(norm, "1/255")
			require.NoError(t, err)
			ibp, err := m.Radius(ctx, x.With(pred.Label), step, 0, epsball.IBP)
			require.NoError(t, err)
			proved := 0
			for i, k := range ibp.Steps {
				one, y := epsball.Batch{X: test.Slice(300+i, 301+i).X}, pred.Label[i:i+1]
				if k >= 0 {
					proved++
					back, err := epsball.ParseBall(norm, ibp.Eps[i])
					require.NoError(t, err)
					require.Equal(t, step.Times(k).Eps(), back.Eps())
					cert, err := m.Certify(ctx, one.With(y), step.Times(k), epsball.IBP)
					require.NoError(t, err)
					require.True(t, cert.Robust[0])
					exact := big.NewRat(int64(k), 255)
					require.LessOrEqual(t, new(big.Rat).SetFloat64(ibp.Radius[i]).Cmp(exact), 0, "rounded down")
					require.InDelta(t, float64(k)/255, ibp.Radius[i], 1e-15)
				}
				cert, err := m.Certify(ctx, one.With(y), step.Times(k+1), epsball.IBP)
				require.NoError(t, err)
				require.False(t, cert.Robust[0], "image %d at %s", i, step.Times(k+1).Eps())
			}
			require.Greater(t, proved, n/2)
			crown, err := m.Radius(ctx, x.With(pred.Label), step, 0, epsball.CROWN)
			require.NoError(t, err)
			for i := range crown.Steps {
				require.GreaterOrEqual(t, crown.Steps[i], ibp.Steps[i])
			}
			short, err := m.Radius(ctx, x.With(pred.Label), step, 7, epsball.IBP)
			require.NoError(t, err)
			for i, k := range short.Steps {
				require.Equal(t, min(ibp.Steps[i], 7), k)
			}
		}
		wrong := make([]int, n)
		for i, l := range pred.Label {
			wrong[i] = (l + 1) % 10
		}
		r, err := m.Radius(ctx, x.With(wrong), epsball.Linf(0.01), 0, epsball.CROWN)
		require.NoError(t, err)
		for i := range wrong {
			require.Equal(t, -1, r.Steps[i])
			require.Equal(t, "none", r.Eps[i])
			require.Zero(t, r.Radius[i])
		}
	}
}

func TestRadiusBadInput(t *testing.T) {
	m, err := epsball.New(randomModel(t))
	require.NoError(t, err)
	defer m.Close()
	x, y := randomBatch(2), []int{0, 1}
	radius := func(y []int, step epsball.Ball, limit int, how epsball.Bound) error {
		_, err := m.Radius(context.Background(), x.With(y), step, limit, how)
		return err
	}
	ok := epsball.Linf(0.01)
	require.NoError(t, radius(y, ok, 100, epsball.IBP))
	require.ErrorContains(t, radius(y[:1], ok, 0, epsball.IBP), "labels")
	require.ErrorContains(t, radius([]int{0, 3}, ok, 0, epsball.IBP), "label of image 1")
	require.ErrorContains(t, radius(y, ok, -1, epsball.IBP), "limit")
	require.ErrorContains(t, radius(y, ok, 101, epsball.IBP), "largest radius")
	require.ErrorContains(t, radius(y, epsball.Linf(0), 0, epsball.IBP), "resolution")
	require.ErrorContains(t, radius(y, epsball.Linf(1e-9), 0, epsball.IBP), "steps")
	require.ErrorContains(t, radius(y, epsball.Linf(-1), 0, epsball.IBP), "epsilon")
	require.ErrorContains(t, radius(y, ok, 0, epsball.AlphaCROWN+1), "bound")
	require.ErrorContains(t, radius(y, ok.Times(-1), 0, epsball.IBP), "epsilon")
	require.ErrorContains(t, radius(y, ok.Times(101), 0, epsball.IBP), "epsilon")
	x.X[5] = float32(math.NaN())
	require.ErrorContains(t, radius(y, ok, 0, epsball.CROWN), "pixel 5 of image 0")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = m.Radius(ctx, randomBatch(2).With(y), ok, 0, epsball.IBP)
	require.ErrorIs(t, err, context.Canceled)
}

// TestTimes: multiples of a decimal or fraction are exact.
func TestTimes(t *testing.T) {
	for _, c := range []struct {
		step string
		k    int
		want string
	}{{"0.001", 165, "0.165"}, {"0.1", 3, "0.3"}, {"1/255", 8, "8/255"}, {"2/255", 51, "0.4"}, {"0.5", 0, "0"}} {
		b, err := epsball.ParseBall("linf", c.step)
		require.NoError(t, err)
		require.Equal(t, c.want, b.Times(c.k).Eps())
	}
	require.Equal(t, "0.1", epsball.Linf(0.1).Eps())
	require.Equal(t, "invalid", epsball.Linf(2).Eps())
}

// TestNames: every norm has its ball, and every bound its name.
func TestNames(t *testing.T) {
	for norm, ball := range map[string]func(float64) epsball.Ball{"linf": epsball.Linf, "l2": epsball.L2, "l1": epsball.L1} {
		b, err := epsball.ParseBall(norm, "0.25")
		require.NoError(t, err)
		require.Equal(t, b, ball(0.25), norm)
	}
	for how := epsball.IBP; how <= epsball.AlphaCROWN; how++ {
		back, err := epsball.ParseBound(how.String())
		require.NoError(t, err)
		require.Equal(t, how, back)
	}
	_, err := epsball.ParseBound("best")
	require.ErrorContains(t, err, "best")
}

// TestLoadBytes: a file in memory is the file.
func TestLoadBytes(t *testing.T) {
	m := randomModel(t)
	data, err := m.Encode()
	require.NoError(t, err)
	a, err := epsball.LoadBytes(data, "inside", epsball.Threads(1))
	require.NoError(t, err)
	defer a.Close()
	require.Equal(t, m.Hash(), a.Hash())
	_, err = epsball.LoadBytes(data[:len(data)-1], "inside")
	require.ErrorContains(t, err, "model: inside: ")
	_, err = epsball.LoadBytes(nil, "inside")
	require.ErrorContains(t, err, "model: inside: header length")

	graph, err := onnx.Encode(m)
	require.NoError(t, err)
	_, err = epsball.LoadBytes(graph, "m.onnx")
	require.ErrorContains(t, err, "LoadFS")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m.onnx"), graph, 0o666))
	b, err := epsball.LoadFS(os.DirFS(dir), "m.onnx")
	require.NoError(t, err)
	b.Close()
}
