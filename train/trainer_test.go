package train

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// digits are the first n images of the MNIST test set.
func digits(t testing.TB, n int) *dataset.Set {
	d, err := mnist.Test()
	require.NoError(t, err)
	return d.Slice(0, n)
}

// digitNet is a small network for them.
func digitNet(t testing.TB) *model.Model {
	return random(t, model.Architecture{Input: model.Shape{C: 1, H: 28, W: 28}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 6, Kernel: [2]int{5, 5}, Stride: [2]int{3, 3}},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 24},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 10},
	}})
}

// quick is a short training of method m at a small radius.
func quick(m Method) Config {
	c := DefaultConfig(m)
	c.Epochs, c.BatchSize, c.LR, c.LRFinal = 3, 20, 3e-3, 1e-4
	if m.Radius() {
		c.TrainEps = net.MustEpsilon("0.01")
		c.WarmupEpochs, c.RampEpochs = 0.5, 1
	}
	if c.PGDSteps > 0 {
		c.PGDSteps = 3
	}
	if m == InputGradient {
		c.Beta = 0.1 // few images and steps
	}
	return c
}

func train(t testing.TB, m *model.Model, d *dataset.Set, c Config) (*model.Model, []Epoch) {
	tr, err := New(m, d, c)
	require.NoError(t, err)
	r, history, err := tr.Run(context.Background())
	require.NoError(t, err)
	require.Len(t, history, c.Epochs)
	return r, history
}

func TestMethodsLearn(t *testing.T) {
	thorough(t)
	for _, method := range Methods() {
		t.Run(string(method), func(t *testing.T) {
			c := quick(method)
			c.Epochs = 8
			switch method { // the defaults take longer
			case MTLIBP:
				c.Alpha = 0.5
			case CROWNIBP:
				c.Tightness = 0
			case Gaussian:
				c.Sigma = 0.1
			}
			steps := 0
			c.Progress = func(p Progress) {
				steps++
				assert.Equal(t, steps, p.Step)
				assert.Equal(t, 8*20, p.Steps)
			}
			m := digitNet(t)
			before := m.Hash()
			_, history := train(t, m, digits(t, 400), c)
			assert.Equal(t, before, m.Hash(), "the caller's model stays as it was")
			assert.Equal(t, 8*20, steps)
			first, last := history[0], history[len(history)-1]
			assert.Less(t, last.Loss, first.Loss/2)
			assert.Greater(t, last.CleanAccuracy, 0.9)
			assert.Greater(t, last.CleanAccuracy, first.CleanAccuracy)
			if !method.Radius() {
				assert.Zero(t, last.RobustAccuracy)
			} else {
				assert.Greater(t, last.RobustAccuracy, 0.8)
				assert.LessOrEqual(t, last.RobustAccuracy, last.CleanAccuracy)
				assert.Equal(t, 0.01, last.Eps)
			}
		})
	}
}

// Neither threads nor kernel sets nor a batch of incomplete lane groups may
// change a bit.
func TestSameBits(t *testing.T) {
	for name, m := range trained(t) {
		for _, method := range Methods() {
			t.Run(name+"/"+string(method), func(t *testing.T) {
				want, m := "", suited(t, method, m)
				for _, isa := range kernels.Available() {
					for threads := 1; threads <= 3; threads++ {
						c := quick(method)
						c.Epochs, c.Threads, c.BatchSize, c.ISA = 2, threads, 37, isa.Name()
						r, history := train(t, m, noise(m, 120), c)
						got := fmt.Sprint(r.Hash(), history[1].Loss, history[1].CleanAccuracy, history[1].RobustAccuracy)
						if want == "" {
							want = got
						}
						require.Equal(t, want, got, "%s, %d threads", isa.Name(), threads)
					}
				}
			})
		}
	}
}

// trained are networks without and with batch norms.
func trained(t testing.TB) map[string]*model.Model {
	return map[string]*model.Model{"tiny": tinyNet(t), "layers": allLayers(t)}
}

// suited is m or, if method refuses it, a network of layers that it takes, with batch norms.
func suited(t testing.TB, method Method, m *model.Model) *model.Model {
	if accepts := objectiveOf(method).accepts; accepts == nil || accepts(m) == nil {
		return m
	}
	return linearNets(t)["branches"]
}

// TestWinograd: a net of 3×3 layers learns with Winograd's algorithm, to other
// bits, without allocating; ibp refuses it.
func TestWinograd(t *testing.T) {
	conv := model.Layer{Kind: model.Conv, Out: 16, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}}
	relu := model.Layer{Kind: model.ReLU}
	m, err := model.Random(&model.Architecture{Name: "wino", Input: model.Shape{C: 1, H: 8, W: 8}, Layers: []model.Layer{
		conv, relu, conv, relu, {Kind: model.FC, Out: 3},
	}}, 1)
	require.NoError(t, err)
	for _, method := range []Method{Standard, PGD, TRADES} {
		c := quick(method)
		c.Epochs, c.BatchSize = 6, 20
		direct, history := train(t, m, noise(m, 60), c)
		c.Winograd = true
		fast, fastHistory := train(t, m, noise(m, 60), c)
		assert.NotEqual(t, direct.Hash(), fast.Hash())
		first, last := history[0], history[5]
		assert.InDelta(t, first.Loss, fastHistory[0].Loss, 0.02*first.Loss)
		assert.Less(t, fastHistory[5].Loss, first.Loss)
		assert.InDelta(t, last.Loss, fastHistory[5].Loss, 0.2*first.Loss)
	}
	n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches, Winograd: true})
	require.NoError(t, err)
	require.True(t, n.HasWinograd())
	c := quick(Standard)
	d := noise(m, 40)
	s := newStepper(&c, n, &data{d.X, d.Y}, kernels.NewPool(1))
	order, ctx := make([]int32, c.BatchSize), context.Background()
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		if s.losses(ctx, 1, point{lr: 1e-3, kappa: 1}, order) != nil || s.update(ctx) != nil {
			t.Fatal("step failed")
		}
	}))
	c = quick(IBP)
	c.Winograd = true
	_, err = New(m, noise(m, 60), c)
	require.ErrorContains(t, err, "winograd")
}

func TestSeedMatters(t *testing.T) {
	c := quick(Standard)
	a, _ := train(t, tinyNet(t), noise(tinyNet(t), 60), c)
	c.Seed++
	b, _ := train(t, tinyNet(t), noise(tinyNet(t), 60), c)
	assert.NotEqual(t, a.Hash(), b.Hash())
}

// TestResume stops training after every number of steps, in the middle of
// epochs too, and goes on from the checkpoint.
func TestResume(t *testing.T) {
	for name, m := range trained(t) {
		for _, method := range Methods() {
			t.Run(name+"/"+string(method), func(t *testing.T) {
				m := suited(t, method, m)
				resumes(t, m, noise(m, 64), quick(method))
			})
		}
	}
}

// resumes stops a training of three steps an epoch after every other one, and goes on from
// the checkpoint.
func resumes(t *testing.T, m *model.Model, d *dataset.Set, c Config) {
	want, wantHistory := train(t, m, d, c)
	for stop := 1; stop < 9; stop += 2 {
		path := filepath.Join(t.TempDir(), "checkpoint")
		ctx, cancel := context.WithCancel(context.Background())
		c.Checkpoint = path
		c.Progress = func(p Progress) {
			if p.Step == stop {
				cancel()
			}
		}
		tr, err := New(m, d, c)
		require.NoError(t, err)
		_, history, err := tr.Run(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, history, stop/3)

		tr, err = Resume(path, d, Host{Threads: 2})
		require.NoError(t, err)
		got, history, err := tr.Run(context.Background())
		require.NoError(t, err)
		require.Equal(t, want.Hash(), got.Hash(), "after %d steps", stop)
		require.Equal(t, untimed(wantHistory), untimed(history))

		tr, err = Resume(path, d, Host{Threads: 2}) // from the end: nothing is left to do
		require.NoError(t, err)
		got, history, err = tr.Run(context.Background())
		require.NoError(t, err)
		require.Equal(t, want.Hash(), got.Hash())
		require.Len(t, history, c.Epochs)
	}
}

func untimed(h []Epoch) []Epoch {
	for i := range h {
		h[i].Seconds = 0
	}
	return h
}

// A context that ends while a step is under way must not leave half a step.
func TestCancelWithinStep(t *testing.T) {
	for name, m := range trained(t) {
		t.Run(name, func(t *testing.T) {
			d := noise(m, 64)
			c := quick(PGD)
			c.Threads = 1
			want, _ := train(t, m, d, c)
			tr, err := New(m, d, c)
			require.NoError(t, err)
			for n := 0; ; n++ {
				got, _, err := tr.Run(&countdown{Context: context.Background(), left: n})
				if err == nil {
					require.Equal(t, want.Hash(), got.Hash())
					require.Greater(t, n, 10)
					return
				}
				require.ErrorIs(t, err, context.Canceled)
			}
		})
	}
}

// countdown is a context that ends when it has been asked left times. It is for
// one thread.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestDivergence(t *testing.T) {
	d := noise(tinyNet(t), 64)
	c := quick(Standard)
	c.Checkpoint = filepath.Join(t.TempDir(), "checkpoint")
	m := tinyNet(t)
	m.Params[1].W[0], m.Params[1].W[1] = 3e38, 3e38
	tr, err := New(m, d, c)
	require.NoError(t, err)
	_, history, err := tr.Run(context.Background())
	require.ErrorIs(t, err, ErrDiverged)
	assert.Contains(t, err.Error(), "epoch 1, step 1")
	assert.Empty(t, history)
	_, err = os.Stat(c.Checkpoint)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestDivergenceLater: the error names the place and the last good checkpoint, which can be
// gone on from.
func TestDivergenceLater(t *testing.T) {
	d, c := noise(tinyNet(t), 64), quick(Standard)
	want, _ := train(t, tinyNet(t), d, c)
	c.Checkpoint = filepath.Join(t.TempDir(), "checkpoint")
	tr, err := New(tinyNet(t), d, c)
	require.NoError(t, err)
	poison := func(step int) func(Progress) {
		return func(p Progress) {
			if p.Step == step {
				tr.model.Params[1].W[0] = float32(math.Inf(1))
				tr.s.reload()
			}
		}
	}
	for _, w := range []struct {
		poisoned int
		want     []string
	}{
		{4, []string{"epoch 2, step 5: the loss is not finite", "is the checkpoint of epoch 1"}}, // of 3 steps
		{6, []string{"epoch 2, step 6: training diverged", "is the checkpoint of epoch 1"}},
	} {
		tr.Observe(poison(w.poisoned), nil)
		_, history, err := tr.Run(context.Background())
		require.ErrorIs(t, err, ErrDiverged)
		for _, s := range append(w.want, c.Checkpoint) {
			assert.ErrorContains(t, err, s)
		}
		assert.Len(t, history, 1)
		tr, err = Resume(c.Checkpoint, d, Host{})
		require.NoError(t, err)
	}
	got, _, err := tr.Run(context.Background())
	require.NoError(t, err)
	assert.Equal(t, want.Hash(), got.Hash())
}

func TestStepAllocatesNothing(t *testing.T) {
	for _, method := range Methods() {
		stepAllocatesNothing(t, tinyNet(t), method)
	}
	for _, m := range []*model.Model{residualNet(t), smoothResidual(t), allLayers(t)} {
		for _, method := range Methods() {
			stepAllocatesNothing(t, m.Clone(), method)
		}
	}
}

func stepAllocatesNothing(t *testing.T, m *model.Model, method Method) {
	d := noise(m, 40)
	c := quick(method)
	n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches})
	require.NoError(t, err)
	s := newStepper(&c, n, &data{d.X, d.Y}, kernels.NewPool(2))
	order := make([]int32, c.BatchSize)
	ctx := context.Background()
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		if s.losses(ctx, 1, point{lr: 1e-3, eps: 0.1, kappa: 0.5}, order) != nil || s.update(ctx) != nil {
			t.Fatal("step failed")
		}
	}), "%s %s", method, m.Arch.Name)
}

// TestLayersTrain: networks of every layer are trained on bounds, the same bits with any
// number of threads.
func TestLayersTrain(t *testing.T) {
	for _, m := range []*model.Model{smoothResidual(t), allLayers(t)} {
		d := noise(m, 40)
		hash := ""
		for threads := 1; threads <= 3; threads++ {
			c := quick(IBP)
			c.Epochs, c.WarmupEpochs, c.RampEpochs, c.BatchSize, c.LR, c.Threads = 40, 1, 1, 20, 1e-2, threads
			c.TrainEps = net.MustEpsilon("0.001")
			trained, epochs := train(t, m, d, c)
			require.Less(t, epochs[len(epochs)-1].Loss, epochs[0].Loss)
			if hash == "" {
				hash = trained.Hash()
			}
			require.Equal(t, hash, trained.Hash())
		}
	}
}

// TestAdam holds an update against the formulas of the paper's algorithm 1.
func TestAdam(t *testing.T) {
	w := []model.Param{{W: []float32{1, -2, 0.5}, B: []float32{0}}}
	g := []model.Param{{W: []float32{0.1, -3, 0}, B: []float32{1e-6}}}
	m1 := &model.Model{Arch: model.Architecture{Layers: []model.Layer{{Kind: model.FC}}}, Params: w}
	a, isa, sc := newOptimiser(&Config{}, m1, g), kernels.Available()[0], new(kernels.Scratch)
	want, m, v := 1.0, 0.0, 0.0
	for k := 1; k <= 20; k++ {
		g[0].W[0] = float32(math.Sin(float64(k)))
		gk := float64(g[0].W[0])
		m, v = 0.9*m+0.1*gk, 0.999*v+0.001*gk*gk
		want -= 0.01 * (m / (1 - math.Pow(0.9, float64(k)))) / (math.Sqrt(v/(1-math.Pow(0.999, float64(k)))) + 1e-8)
		a.prepare(0.01, k)
		for i := range a.blocks {
			a.update(isa, sc, i)
		}
		assert.InDelta(t, want, w[0].W[0], 1e-6)
	}
	assert.Equal(t, float32(0.5), w[0].W[2], "no gradient, no change")
}

// residualNet has a block with its input as the shortcut and one with a projection.
func residualNet(t testing.TB) *model.Model {
	relu := model.Layer{Kind: model.ReLU}
	return random(t, model.Architecture{Name: "residual", Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		conv(4, 3, 1, 1), relu, conv(4, 3, 1, 1), add(2, 1), relu,
		conv(6, 3, 2, 1), relu, conv(6, 3, 1, 1), conv(6, 1, 2, 0, 4), add(7, 8), relu,
		{Kind: model.FC, Out: 5},
	}})
}

// TestResidual: all methods learn a residual net by heart, the same bits with any
// number of threads.
func TestResidual(t *testing.T) {
	m := residualNet(t)
	d := noise(m, 32)
	for _, method := range Methods() {
		var hash string
		for threads := 1; threads <= 2; threads++ {
			c := DefaultConfig(method)
			c.Epochs, c.BatchSize, c.LR, c.Threads = 60, 8, 1e-2, threads
			if method == InputGradient {
				c.Beta = 0.1
			}
			if method.Radius() {
				c.TrainEps = net.MustEpsilon("0.01")
			}
			if method.Bounds() {
				c.TrainEps, c.WarmupEpochs, c.RampEpochs = net.MustEpsilon("0.001"), 1, 1
			}
			tr, err := New(m, d, c)
			require.NoError(t, err)
			trained, epochs, err := tr.Run(t.Context())
			require.NoError(t, err)
			last := epochs[len(epochs)-1]
			require.Less(t, last.Loss, epochs[0].Loss/4, method)
			require.Greater(t, last.CleanAccuracy, 0.9, method)
			if hash == "" {
				hash = trained.Hash()
			}
			require.Equal(t, hash, trained.Hash())
		}
	}
	refused := func(m *model.Model, method Method, got string) {
		_, err := New(m, noise(m, 32), DefaultConfig(method))
		var te *Error
		require.ErrorAs(t, err, &te)
		require.Equal(t, "model", te.Field)
		require.Contains(t, te.Got, got)
	}
	in := model.Shape{C: 1, H: 2, W: 2}
	refused(random(t, model.Architecture{Input: in, Layers: []model.Layer{{Kind: model.FC, Out: 3}, {Kind: model.ReLU}}}), IBP, `"relu" as the last layer`)
	refused(random(t, model.Architecture{Input: in, Layers: []model.Layer{{Kind: model.FC, Out: 1}}}), Standard, "1 output")
}
