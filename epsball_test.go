package epsball_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/internal/onnx"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	_ "github.com/epsball/epsball/onnx"
)

func randomModel(t *testing.T) *model.Model {
	t.Helper()
	conv := model.Layer{Kind: model.Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}}
	m, err := model.Random(&model.Architecture{Name: "small", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		conv, {Kind: model.ReLU}, {Kind: model.FC, Out: 3},
	}}, 1)
	require.NoError(t, err)
	return m
}

// TestBytes: a model holds its weights as read and packed, and more once it is
// attacked and certified; for few images alone it holds less.
func TestBytes(t *testing.T) {
	m := randomModel(t)
	all, err := epsball.New(m)
	require.NoError(t, err)
	few, err := epsball.New(m, epsball.FewImages())
	require.NoError(t, err)
	weights := 4 * int(m.Arch.Parameters())
	require.Greater(t, few.Bytes(), 2*weights)
	require.Greater(t, all.Bytes(), few.Bytes())

	x, ctx := randomBatch(1), context.Background()
	before := few.Bytes()
	_, err = few.Attack(ctx, x.With([]int{0}), epsball.Linf(0.1), epsball.FGSM{})
	require.NoError(t, err)
	require.Greater(t, few.Bytes(), before+weights)
	for _, how := range []epsball.Bound{epsball.IBP, epsball.CROWN} {
		before = few.Bytes()
		_, err = few.Certify(ctx, x.With([]int{0}), epsball.Linf(0.1), how)
		require.NoError(t, err)
		require.Greater(t, few.Bytes(), before)
	}
}

// TestBounds: a tighter bound proves no less.
func TestBounds(t *testing.T) {
	e, err := epsball.New(randomModel(t))
	require.NoError(t, err)
	x, ctx := randomBatch(12), context.Background()
	pred, err := e.Classify(ctx, x)
	require.NoError(t, err)
	last := make([]bool, 12)
	for how := epsball.IBP; how <= epsball.AlphaCROWN; how++ {
		c, err := e.Certify(ctx, x.With(pred.Label), epsball.Linf(0.02), how)
		require.NoError(t, err)
		for i, robust := range c.Robust {
			require.True(t, robust || !last[i], "image %d by bound %d", i, how)
			require.Equal(t, robust, c.Margin[i] > 0)
		}
		last = c.Robust
	}
	_, err = e.Certify(ctx, x.With(pred.Label), epsball.Linf(0.02), epsball.AlphaCROWN+1)
	require.ErrorContains(t, err, "want IBP, CROWNIBP, CROWN or AlphaCROWN")
}

func randomBatch(n int) epsball.Batch {
	x := epsball.Batch{X: make([]float32, n*36)}
	for i := range x.X {
		x.X[i] = float32(i*i%256) / 255
	}
	return x
}

// TestOptionsGiveTheSame: threads, kernel sets, packing and the way a model is
// loaded change nothing in the results.
func TestOptionsGiveTheSame(t *testing.T) {
	m := randomModel(t)
	data, err := m.Encode()
	require.NoError(t, err)
	path := t.TempDir() + "/m.safetensors"
	require.NoError(t, m.Save(path))
	loaded, err := epsball.Load(path)
	require.NoError(t, err)
	fromFS, err := epsball.LoadFS(fstest.MapFS{"m": {Data: data}}, "m")
	require.NoError(t, err)
	models := []*epsball.Model{loaded, fromFS}
	for _, o := range [][]epsball.Option{nil, {epsball.Threads(1)}, {epsball.Threads(3)}, {epsball.FewImages()}, {epsball.ISA("generic")}} {
		e, err := epsball.New(m, o...)
		require.NoError(t, err)
		models = append(models, e)
	}
	x, ctx := randomBatch(19), context.Background()
	ball, err := epsball.ParseBall("l2", "1/10")
	require.NoError(t, err)
	want, err := models[0].Classify(ctx, x)
	require.NoError(t, err)
	wantAdv, err := models[0].Attack(ctx, x.With(want.Label), epsball.Linf(0.1), epsball.PGD{Steps: 5, Seed: 2})
	require.NoError(t, err)
	wantCert, err := models[0].Certify(ctx, x.With(want.Label), ball, epsball.IBP)
	require.NoError(t, err)
	for _, e := range models {
		require.Equal(t, m.Hash(), e.Hash())
		require.Equal(t, 3, e.Classes())
		c, h, w := e.Input()
		require.Equal(t, m.Arch.Input, model.Shape{C: c, H: h, W: w})
		pred, err := e.Classify(ctx, x)
		require.NoError(t, err)
		require.Equal(t, want, pred)
		adv, err := e.Attack(ctx, x.With(want.Label), epsball.Linf(0.1), epsball.PGD{Steps: 5, Seed: 2})
		require.NoError(t, err)
		require.Equal(t, wantAdv.Adv, adv.Adv)
		cert, err := e.Certify(ctx, x.With(want.Label), ball, epsball.IBP)
		require.NoError(t, err)
		require.Equal(t, wantCert, cert)
		for _, n := range []int{1, 5} {
			few, err := e.Classify(ctx, epsball.Batch{X: x.X[:n*36]})
			require.NoError(t, err)
			require.Equal(t, want.Logits[:n*3], few.Logits)
		}
		e.Close()
	}
}

// TestPoolIsLent: models share the caller's workers, and leave them running.
func TestPoolIsLent(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	x, ctx := randomBatch(40), context.Background()
	var want *epsball.Prediction
	for range 2 {
		m, err := epsball.New(randomModel(t), epsball.Pool(pool))
		require.NoError(t, err)
		got, err := m.Classify(ctx, x)
		require.NoError(t, err)
		if want != nil {
			require.Equal(t, want, got)
		}
		want = got
		m.Close()
	}
}

func TestConcurrentUse(t *testing.T) {
	m, err := epsball.New(randomModel(t), epsball.Threads(2))
	require.NoError(t, err)
	defer m.Close()
	x, ctx := randomBatch(30), context.Background()
	want, err := m.Classify(ctx, x)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				p, err := m.Classify(ctx, x)
				if err != nil || p.Label[7] != want.Label[7] {
					t.Error("classify", err)
				}
				if i%2 == 0 {
					_, err = m.Attack(ctx, x.With(want.Label), epsball.Linf(0.01), epsball.FGSM{})
				} else {
					_, err = m.Certify(ctx, x.With(want.Label), epsball.Linf(0.01), epsball.IBP)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClassifyIntoDoesNotAllocate(t *testing.T) {
	for _, n := range []int{1, 6, 7, 50} {
		m, err := epsball.New(randomModel(t), epsball.Threads(2))
		require.NoError(t, err)
		x, ctx := randomBatch(n), context.Background()
		var p epsball.Prediction
		require.NoError(t, m.ClassifyInto(ctx, x, &p))
		require.Zero(t, testing.AllocsPerRun(20, func() { _ = m.ClassifyInto(ctx, x, &p) }), n)
		m.Close()
	}
}

func TestNoGoroutineStays(t *testing.T) {
	runtime.GC() // closes what other tests dropped
	time.Sleep(10 * time.Millisecond)
	before := runtime.NumGoroutine()
	one, err := epsball.New(randomModel(t), epsball.Threads(1))
	require.NoError(t, err)
	_, err = one.Classify(context.Background(), randomBatch(40))
	require.NoError(t, err)
	require.LessOrEqual(t, runtime.NumGoroutine(), before, "one thread starts none")
	four, err := epsball.New(randomModel(t), epsball.Threads(4))
	require.NoError(t, err)
	four.Close()
	for range 1000 { // they end on their own time
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestBadInput(t *testing.T) {
	m, err := epsball.New(randomModel(t))
	require.NoError(t, err)
	defer m.Close()
	ctx, x := context.Background(), randomBatch(2)
	y := []int{0, 1}
	classify := func(b epsball.Batch) error { _, err := m.Classify(ctx, b); return err }
	certify := func(y []int, b epsball.Ball, how epsball.Bound) error {
		_, err := m.Certify(ctx, x.With(y), b, how)
		return err
	}
	require.ErrorContains(t, classify(epsball.Batch{X: x.X[1:]}), "images")
	require.NoError(t, classify(epsball.Batch{}))
	require.ErrorContains(t, certify(y[:1], epsball.Linf(0.1), epsball.IBP), "labels")
	require.ErrorContains(t, certify([]int{0, 3}, epsball.Linf(0.1), epsball.IBP), "label of image 1")
	require.ErrorContains(t, certify(y, epsball.Linf(1.5), epsball.IBP), "epsilon")
	require.ErrorContains(t, certify(y, epsball.L2(math.NaN()), epsball.IBP), "epsilon")
	require.ErrorContains(t, certify(y, epsball.Linf(0.1), 7), "bound")
	_, err = m.Attack(ctx, x.With(y), epsball.Linf(0.1), nil)
	require.ErrorContains(t, err, "method")
	_, err = m.Attack(ctx, x.With(y), epsball.Linf(0.1), epsball.PGD{Steps: -1})
	require.ErrorContains(t, err, "steps")
	_, err = epsball.ParseBall("l7", "0.1")
	require.ErrorContains(t, err, "l7")
	_, err = epsball.ParseBall("linf", "8/0")
	require.ErrorContains(t, err, "8/0")
	_, err = epsball.Load("no-such-file.safetensors")
	require.ErrorContains(t, err, "no-such-file")
	_, err = epsball.New(randomModel(t), epsball.ISA("sse"))
	require.ErrorContains(t, err, "sse")
}

// TestONNX: an ONNX file is loaded like a model file.
func TestONNX(t *testing.T) {
	m := randomModel(t)
	data, err := onnx.Encode(m)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "m.onnx")
	require.NoError(t, os.WriteFile(path, data, 0o666))
	a, err := epsball.Load(path)
	require.NoError(t, err)
	defer a.Close()
	b, err := epsball.LoadFS(fstest.MapFS{"m.onnx": {Data: data}}, "m.onnx")
	require.NoError(t, err)
	defer b.Close()
	require.Equal(t, m.Hash(), a.Hash())
	require.Equal(t, m.Hash(), b.Hash())
	require.NoError(t, os.WriteFile(path, data[:100], 0o666))
	_, err = epsball.Load(path)
	require.ErrorContains(t, err, "m.onnx: ")
}
