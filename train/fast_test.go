package train

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestFastGolden holds steps from given starts against PyTorch's: points, losses and
// gradients.
func TestFastGolden(t *testing.T) {
	want, starts := goldenArrays(t, "fast.npz")
	for _, name := range []string{"padded", "residual"} {
		for _, method := range []Method{FGSM, NFGSM, Free, PGD, TRADES} {
			t.Run(name+"/"+string(method), func(t *testing.T) {
				g, err := golden.Load(name)
				require.NoError(t, err)
				key := fmt.Sprintf("%s.%s.", name, method)
				in := g.Model.Arch.Input
				c := DefaultConfig(method)
				c.BatchSize, c.TrainEps, c.LR = g.N, net.MustEpsilon("0.1"), 1e-3
				if method == PGD || method == TRADES {
					c.Norm, c.TrainEps, c.PGDSteps, c.PGDStepSize = "l2", net.MustEpsilon("0.5"), 3, 0.4
				}
				n, err := net.Compile(g.Model.Clone(), net.Options{Backward: true, Batches: net.LargeBatches})
				require.NoError(t, err)
				s := newStepper(&c, n, &data{g.X, g.Y}, kernels.NewPool(1))
				o := *s.o
				inner := *o.needs.attack
				inner.start, inner.noise = given(in, starts[key+"start"]), nil
				o.needs.attack, s.o = &inner, &o
				at := point{lr: c.LR, eps: c.TrainEps.Float64(), kappa: 1}
				steps := 1
				if method == Free {
					for i := range g.N {
						s.pixels(i, func(p *part, lane int) {
							net.LaneGroups.Pack(p.delta, starts[key+"start"][i*in.Size():][:in.Size()], in, lane)
						})
					}
					steps = 2
				}
				for step := range steps {
					require.NoError(t, s.losses(context.Background(), step, at, inOrder(g.N)))
					require.NoError(t, s.update(context.Background()))
				}
				for i, x := range s.unpack(g.N) {
					for k, v := range x {
						require.InDelta(t, want[key+"points"][i*in.Size()+k], v, 3e-6, "image %d", i)
					}
				}
				for i, l := range want[key+"loss"] {
					require.InDelta(t, l, s.loss[i], 2e-5*(1+l))
				}
				within := 3e-6
				if method == TRADES {
					within = 2e-5 // near to x, the divergence is mostly rounding
				}
				for l, p := range s.grad.Params {
					for kind, grad := range map[string][]float32{"weight": p.W, "bias": p.B} {
						w := want[fmt.Sprintf("%s%s.%d", key, kind, l)]
						require.Len(t, grad, len(w))
						for i := range grad {
							require.InDelta(t, w[i], grad[i], within+3e-5*math.Abs(w[i]), "%s.%d[%d]", kind, l, i)
						}
					}
				}
			})
		}
	}
}

// pixels calls f with the part that image i of the batch lies in, and its lane there.
func (s *stepper) pixels(i int, f func(p *part, lane int)) {
	for k := range s.parts {
		if p := &s.parts[k]; i >= p.from*kernels.Lanes && i < p.to*kernels.Lanes {
			f(p, i-p.from*kernels.Lanes)
		}
	}
}

// TestFreeGradient holds the gradient that moves the perturbations, the other half of the
// weights', against central differences of a float64 reference: with batch norms, through
// the statistics too.
func TestFreeGradient(t *testing.T) {
	const images = 11
	for name, m := range trained(t) {
		t.Run(name, func(t *testing.T) {
			d, c := noise(m, images), DefaultConfig(Free)
			c.BatchSize, c.TrainEps = images, net.MustEpsilon("0.08")
			s := newTestStepper(t, m, d, &c)
			require.NoError(t, s.losses(context.Background(), 0, point{lr: 1, eps: 0.08, kappa: 1}, inOrder(images)))
			in := m.Arch.Input
			grad := make([][]float32, images)
			for i := range grad {
				s.pixels(i, func(p *part, lane int) {
					grad[i] = make([]float32, in.Size())
					net.LaneGroups.Unpack(grad[i], p.points.Gradient(0), in, lane)
				})
			}
			f := newReference(m, 0, 1)
			x := imagesOf(d)
			mean := func() (sum float64) {
				f.observe(x)
				for i, y := range d.Y {
					sum += f.loss(x[i], y)
				}
				return sum / images
			}
			for i := range x {
				for k := 0; k < len(x[i]); k += 7 {
					const h = 1.0 / (1 << 16)
					old := x[i][k]
					x[i][k] = old + h
					up := mean()
					width := float64(x[i][k])
					x[i][k] = old - h
					width -= float64(x[i][k])
					slope := (up - mean()) / width
					x[i][k] = old
					require.InDelta(t, slope, grad[i][k], 2e-5+1e-3*math.Abs(slope), "image %d, pixel %d", i, k)
				}
			}
		})
	}
}

// TestFreeCarries: perturbations go on from step to step and from batch to batch, within
// the ball, and each batch is replayed.
func TestFreeCarries(t *testing.T) {
	for _, norm := range []string{"linf", "l2"} {
		t.Run(norm, func(t *testing.T) {
			m := tinyNet(t)
			d, c := noise(m, 64), quick(Free)
			c.Epochs, c.WarmupEpochs, c.RampEpochs, c.Replays, c.PGDStepSize, c.Norm = 4, 0, 0, 3, 0.4, norm
			c.TrainEps = net.MustEpsilon("0.05")
			var tr *Trainer
			var seen [][]int32
			var last []float32
			c.Progress = func(Progress) {
				seen = append(seen, append([]int32(nil), tr.s.images...))
				var delta []float32
				tr.s.each(func(v []float32) { delta = append(delta, v...) })
				moved, norm2 := 0, make([]float64, 8)
				for i, v := range delta {
					require.LessOrEqual(t, math.Abs(float64(v)), 0.05+1e-6)
					if last != nil && v != last[i] {
						moved++
					}
					if i < 40*kernels.Lanes {
						norm2[i%kernels.Lanes] += float64(v) * float64(v)
					}
				}
				if norm == "l2" {
					for _, v := range norm2 {
						require.LessOrEqual(t, math.Sqrt(v), 0.05)
						require.Greater(t, math.Sqrt(v), 0.0199)
					}
				}
				require.True(t, last == nil || moved > 20*40/4)
				last = delta
			}
			tr, err := New(m, d, c)
			require.NoError(t, err)
			_, _, err = tr.Run(context.Background())
			require.NoError(t, err)
			require.Len(t, seen, 12)
			for i := range seen {
				assert.Equal(t, i%3 != 0, i > 0 && fmt.Sprint(seen[i]) == fmt.Sprint(seen[i-1]), "step %d", i)
			}
			all := map[int32]bool{}
			for _, batch := range [][]int32{seen[0], seen[3], seen[6]} {
				for _, i := range batch {
					assert.False(t, all[i], "a pass shows an image once")
					all[i] = true
				}
			}
		})
	}
}

// TestFreeCancelled: a step that is cut off anywhere leaves no half of itself, nor of the
// perturbations.
func TestFreeCancelled(t *testing.T) {
	for name, m := range trained(t) {
		t.Run(name, func(t *testing.T) {
			d, c := noise(m, 64), quick(Free)
			c.Threads, c.WarmupEpochs, c.RampEpochs = 1, 0, 0
			want, _ := train(t, m, d, c)
			tr, err := New(m, d, c)
			require.NoError(t, err)
			for n := 0; ; n++ {
				got, _, err := tr.Run(&countdown{Context: context.Background(), left: n})
				if err == nil {
					require.Equal(t, want.Hash(), got.Hash())
					require.Greater(t, n, 5)
					return
				}
				require.ErrorIs(t, err, context.Canceled)
			}
		})
	}
}

// TestFreeResumes: perturbations are part of a checkpoint.
func TestFreeResumes(t *testing.T) {
	for name, m := range trained(t) {
		for _, norm := range []string{"linf", "l2"} {
			t.Run(name+"/"+norm, func(t *testing.T) {
				d, c := noise(m, 64), quick(Free)
				c.WarmupEpochs, c.RampEpochs, c.Norm, c.TrainEps = 0, 0, norm, net.MustEpsilon("0.1")
				resumes(t, m, d, c)
				c.Checkpoint = filepath.Join(t.TempDir(), "checkpoint")
				tr, err := New(m, d, c)
				require.NoError(t, err)
				stopAfter(t, tr, 5)
				for i := range tr.s.parts {
					clear(tr.s.parts[i].delta)
				}
				lost, _, err := tr.Run(context.Background())
				require.NoError(t, err)
				c.Checkpoint = ""
				want, _ := train(t, m, d, c)
				require.NotEqual(t, want.Hash(), lost.Hash(), "what is lost would be noticed")
			})
		}
	}
}

// TestStarts: one-step attacks start where they say, and end in the box they are cut to.
func TestStarts(t *testing.T) {
	m := tinyNet(t)
	const images, eps = 64, 0.1
	d := noise(m, images)
	for i := range d.X {
		d.X[i] = float32(int(d.X[i]*3)) / 2 // black, grey, white
	}
	points := func(method Method, change func(*Config)) [][]float32 {
		c := DefaultConfig(method)
		c.BatchSize, c.TrainEps = images, net.MustEpsilon("0.1")
		change(&c)
		s := newTestStepper(t, m, d, &c)
		require.NoError(t, s.losses(context.Background(), 0, point{lr: 1, eps: eps, kappa: 1}, inOrder(images)))
		return s.unpack(images)
	}
	farthest := func(points [][]float32) (most float64) {
		for i, p := range points {
			for k, v := range p {
				require.GreaterOrEqual(t, v, float32(0))
				require.LessOrEqual(t, v, float32(1))
				most = max(most, math.Abs(float64(v)-float64(d.Image(i)[k])))
			}
		}
		return most
	}
	length := func(points [][]float32) (most, mean float64) {
		for i, p := range points {
			sum := 0.0
			for k, v := range p {
				e := float64(v) - float64(d.Image(i)[k])
				sum += e * e
			}
			most, mean = max(most, math.Sqrt(sum)), mean+math.Sqrt(sum)/images
		}
		return most, mean
	}
	assert.InDelta(t, eps, farthest(points(FGSM, func(*Config) {})), 1e-6, "cut to the ball")
	assert.InDelta(t, 3*eps, farthest(points(NFGSM, func(*Config) {})), 0.01, "noise and step")
	assert.InDelta(t, eps/2, farthest(points(FGSM, func(c *Config) { c.Noise, c.PGDStepSize = 0, 0.5 })), 1e-6, "the step alone")
	assert.InDelta(t, 2*eps, farthest(points(NFGSM, func(c *Config) { c.PGDStepSize = 1e-9 })), 0.01, "noise alone")

	l2 := func(noise, step float64) func(*Config) {
		return func(c *Config) { c.Norm, c.Noise, c.PGDStepSize = "l2", noise, step }
	}
	most, mean := length(points(FGSM, l2(1, 1.25)))
	assert.InDelta(t, eps, most, 1e-3)
	assert.Greater(t, mean, 0.06, "but for what the pixel range cuts off")
	most, _ = length(points(NFGSM, l2(2, 1)))
	assert.Greater(t, most, 1.5*eps)
	assert.LessOrEqual(t, most, 3*eps+1e-6)
	for i := range d.X {
		d.X[i] = 0.5 // away from the rims of the pixel range
	}
	most, mean = length(points(NFGSM, l2(2, 1e-9)))
	assert.LessOrEqual(t, most, 2*eps+1e-6)
	assert.InDelta(t, 2*eps*40/41, mean, 0.002, "the mean length in a ball of 40 dimensions")
	var centre float64
	for i, p := range points(NFGSM, l2(2, 1e-9)) {
		for k, v := range p {
			centre += float64(v) - float64(d.Image(i)[k])
		}
	}
	assert.InDelta(t, 0, centre/(images*40), 0.003, "no side is preferred")
}

// TestL2Settings: where the norm is refused, and how large a ball may be.
func TestL2Settings(t *testing.T) {
	m := tinyNet(t)
	for _, w := range []struct {
		field  string
		method Method
		change func(c *Config)
	}{
		{"norm", PGD, func(c *Config) { c.Norm = "l1" }},
		{"norm", IBP, func(c *Config) { c.Norm = "l2" }},
		{"trainEps", PGD, func(c *Config) { c.Norm, c.TrainEps = "l2", net.MustEpsilon("6.33") }},
		{"noise", FGSM, func(c *Config) { c.Noise = -1 }},
		{"noise", NFGSM, func(c *Config) { c.Noise = math.NaN() }},
		{"replays", Free, func(c *Config) { c.Replays = 0 }},
		{"pgdStepSize", FGSM, func(c *Config) { c.PGDStepSize = 0 }},
		{"overfitting", FGSM, func(c *Config) { c.Overfitting = "panic" }},
	} {
		c := quick(w.method)
		w.change(&c)
		_, err := New(m, noise(m, 64), c)
		wantField(t, err, w.field)
	}
	c := quick(PGD)
	c.Norm, c.TrainEps = "l2", net.MustEpsilon("6.32") // √40 = 6.3246
	_, err := New(m, noise(m, 64), c)
	require.NoError(t, err)
	c = quick(Standard)
	c.Norm = "l2"
	_, err = New(m, noise(m, 64), c)
	require.NoError(t, err, "no ball, no norm")
}

// TestL2SameBits: with any threads and kernel set.
func TestL2SameBits(t *testing.T) {
	m := allLayers(t)
	for _, method := range Methods() {
		if !objectiveOf(method).uses(&norm) {
			continue
		}
		want := ""
		for _, isa := range kernels.Available() {
			for threads := 1; threads <= 3; threads++ {
				c := quick(method)
				c.Epochs, c.Threads, c.BatchSize, c.ISA, c.Norm, c.TrainEps = 2, threads, 37, isa.Name(), "l2", net.MustEpsilon("0.3")
				r, _ := train(t, m, noise(m, 120), c)
				if want == "" {
					want = r.Hash()
				}
				require.Equal(t, want, r.Hash(), "%s: %s, %d threads", method, isa.Name(), threads)
			}
		}
		c := quick(method)
		c.Norm = "l2"
		n, err := net.Compile(m.Clone(), net.Options{Backward: true, Batches: net.LargeBatches})
		require.NoError(t, err)
		d := noise(m, 40)
		s := newStepper(&c, n, &data{d.X, d.Y}, kernels.NewPool(2))
		order, ctx := make([]int32, c.BatchSize), context.Background()
		assert.Zero(t, testing.AllocsPerRun(10, func() {
			if s.losses(ctx, 1, point{lr: 1e-3, eps: 0.1, kappa: 0.5}, order) != nil || s.update(ctx) != nil {
				t.Fatal("step failed")
			}
		}), method)
	}
}

// TestL2Steps: pgd and trades move by lengths, not by signs; the search gets into every
// corner of the loss it is meant to climb.
func TestL2Steps(t *testing.T) {
	m := linearNet(t)
	const images = 16
	d := noise(m, images)
	for i := range d.X {
		d.X[i] = 0.25 + d.X[i]/2
	}
	c := DefaultConfig(PGD)
	c.BatchSize, c.Norm, c.TrainEps, c.PGDSteps = images, "l2", net.MustEpsilon("0.2"), 20
	s := newTestStepper(t, m, d, &c)
	require.NoError(t, s.losses(context.Background(), 0, point{lr: 1, eps: 0.2, kappa: 1}, inOrder(images)))
	for i, p := range s.unpack(images) {
		norm2 := 0.0
		for k, v := range p {
			e := float64(v) - float64(d.Image(i)[k])
			norm2 += e * e
		}
		assert.InDelta(t, 0.2, math.Sqrt(norm2), 1e-6, "the worst point of a linear network lies on the rim")
	}
}

// stopAfter runs a trainer for some steps.
func stopAfter(t *testing.T, tr *Trainer, steps int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tr.c.Progress = func(p Progress) {
		if p.Step == steps {
			cancel()
		}
	}
	_, _, err := tr.Run(ctx)
	require.ErrorIs(t, err, context.Canceled)
	tr.c.Progress = nil
}
