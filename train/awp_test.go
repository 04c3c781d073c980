package train

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// perturbing are the methods with weight perturbation.
func perturbing(t *testing.T) (list []Config) {
	for _, method := range Methods() {
		if objectiveOf(method).uses(&awp) {
			c := quick(method)
			c.AWP, c.AWPWarmup = 0.05, 0.5
			list = append(list, c)
		}
	}
	require.NotEmpty(t, list)
	return list
}

// TestWeightAscentBits: threads, kernel sets, and an interruption anywhere do not change a
// bit; the perturbation does, once its warm-up is over.
func TestWeightAscentBits(t *testing.T) {
	for name, m := range trained(t) {
		for _, c := range perturbing(t) {
			t.Run(name+"/"+string(c.Method), func(t *testing.T) {
				d := noise(m, 64)
				want, wantHistory := train(t, m, d, c)
				for k, isa := range kernels.Available() {
					c := c
					c.Threads, c.ISA = 1+k%3, isa.Name()
					got, history := train(t, m, d, c)
					require.Equal(t, want.Hash(), got.Hash(), "%s, %d threads", c.ISA, c.Threads)
					require.Equal(t, untimed(wantHistory), untimed(history))
				}
				for stop := 1; stop < 9; stop += 3 {
					c := c
					ctx, cancel := context.WithCancel(context.Background())
					c.Checkpoint = filepath.Join(t.TempDir(), "checkpoint")
					c.Progress = func(p Progress) {
						if p.Step == stop {
							cancel()
						}
					}
					tr, err := New(m, d, c)
					require.NoError(t, err)
					_, _, err = tr.Run(ctx)
					require.ErrorIs(t, err, context.Canceled)
					tr, err = Resume(c.Checkpoint, d, Host{Threads: 2})
					require.NoError(t, err)
					got, history, err := tr.Run(context.Background())
					require.NoError(t, err)
					require.Equal(t, want.Hash(), got.Hash(), "after %d steps", stop)
					require.Equal(t, untimed(wantHistory), untimed(history))
				}
				without := c
				without.AWP = 0
				other, _ := train(t, m, d, without)
				require.NotEqual(t, want.Hash(), other.Hash())
				c.AWPWarmup = float64(c.Epochs)
				late, _ := train(t, m, d, c)
				require.Equal(t, other.Hash(), late.Hash(), "never reached")
			})
		}
	}
}

// TestWeightAscentCancel: a context that ends anywhere in a step, between the two runs of
// the losses too, leaves the weights and the passes of before the step.
func TestWeightAscentCancel(t *testing.T) {
	for name, m := range trained(t) {
		for _, c := range perturbing(t) {
			t.Run(name+"/"+string(c.Method), func(t *testing.T) {
				d := noise(m, 40)
				c.Epochs, c.Threads, c.AWPWarmup, c.PGDSteps = 1, 1, 0, 1
				want, _ := train(t, m, d, c)
				tr, err := New(m, d, c)
				require.NoError(t, err)
				for n := 0; ; n++ {
					before, step := tr.model.Clone(), tr.step
					got, _, err := tr.Run(&countdown{Context: context.Background(), left: n})
					if err == nil {
						require.Equal(t, want.Hash(), got.Hash())
						require.Greater(t, n, 10)
						return
					}
					require.ErrorIs(t, err, context.Canceled)
					if tr.step == step {
						require.Equal(t, before.Hash(), got.Hash())
					}
				}
			})
		}
	}
}

// TestWeightAscentLength: the perturbation of every layer has its length and direction, and
// is gone after the step; biases and batch norms stay.
func TestWeightAscentLength(t *testing.T) {
	m := random(t, model.Architecture{Input: model.Shape{C: 1, H: 12, W: 12}, Layers: []model.Layer{
		conv(8, 3, 1, 0),
		{Kind: model.BatchNorm, Eps: 1e-5},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 60}, // in several runs
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 4},
	}})
	d, c := noise(m, 24), quick(PGD)
	c.AWP, c.BatchSize = 0.25, 24
	s := newTestStepper(t, m, d, &c)
	require.NoError(t, s.losses(context.Background(), 0, point{lr: 1e-3, eps: 0.1, kappa: 1, awp: 0.25}, inOrder(24)))
	climb, seen := s.ascent.climb, 0
	s.ascent.climb = func(worker, task int) {
		climb(worker, task)
		seen++
		if seen < len(s.ascent.runs) { // one thread: the last
			return
		}
		for l, layer := range m.Arch.Layers {
			have, was, g := s.net.Model().Params[l], m.Params[l], s.grad.Params[l]
			assert.Equal(t, was.B, have.B)
			if layer.Kind != model.Conv && layer.Kind != model.FC {
				assert.Equal(t, was.W, have.W)
				continue
			}
			var length, along float64
			for i, w := range have.W {
				step := float64(w) - float64(was.W[i])
				length += step * step
				along += step * float64(g.W[i])
			}
			assert.InEpsilon(t, 0.25*0.25*squares(was.W), length, 1e-5)
			assert.InEpsilon(t, length*squares(g.W), along*along, 1e-5)
			assert.Positive(t, along)
		}
	}
	s.pool = kernels.NewPool(1)
	s.ascendWeights()
	assert.Equal(t, 1+3+1, seen)
	assert.Equal(t, m.Hash(), s.net.Model().Hash())
}

// TestWeightAscentAllocatesNothing also with batch norms and on two threads.
func TestWeightAscentAllocatesNothing(t *testing.T) {
	for name, m := range trained(t) {
		for _, c := range perturbing(t) {
			n, err := net.Compile(m.Clone(), net.Options{Backward: true, Batches: net.LargeBatches})
			require.NoError(t, err)
			d := noise(m, 40)
			s := newStepper(&c, n, &data{d.X, d.Y}, kernels.NewPool(2))
			ctx, order := context.Background(), make([]int32, c.BatchSize)
			assert.Zero(t, testing.AllocsPerRun(10, func() {
				if s.losses(ctx, 1, point{lr: 1e-3, eps: 0.1, kappa: 1, awp: c.AWP}, order) != nil || s.update(ctx) != nil {
					t.Fatal("step failed")
				}
			}), "%s %s", name, c.Method)
		}
	}
}

// TestWeightAscentNoGradient: layers without one stay where they are.
func TestWeightAscentNoGradient(t *testing.T) {
	m := tinyNet(t)
	m.Params[5].W = make([]float32, len(m.Params[5].W)) // nothing gets past
	m.Params[5].B = slices.Repeat([]float32{-1}, len(m.Params[5].B))
	c := quick(PGD)
	c.AWP = 0.1
	r, _ := train(t, m, noise(m, 40), c)
	assert.Equal(t, m.Params[1].W, r.Params[1].W)
	assert.NotEqual(t, m.Params[8].B, r.Params[8].B)
}
