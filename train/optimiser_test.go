package train

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// optimisers are those of make_optimisers.py.
var optimisers = map[string]func(c *Config){
	"nesterov": func(c *Config) {
		c.Optimizer, c.Momentum, c.Nesterov, c.WeightDecay, c.Clip = "sgd", 0.9, true, 1e-2, 0.5
		c.Schedule, c.LR, c.LRFinal = "one-cycle", 0.05, 0.001
	},
	"sgd": func(c *Config) {
		c.Optimizer, c.Momentum, c.L1 = "sgd", 0.5, 1e-2
		c.Schedule, c.LR, c.Milestones = "step", 0.05, []float64{0.5, 5. / 6}
	},
	"adam": func(c *Config) { c.WeightDecay, c.Schedule, c.LR = 0.1, "constant", 0.01 },
	"adamw": func(c *Config) {
		c.Optimizer, c.WeightDecay, c.Schedule, c.LR, c.LRFinal = "adamw", 0.1, "cosine", 0.01, 1e-4
	},
}

// TestOptimisersGolden holds whole trainings against PyTorch's: rates, weights and their
// means.
func TestOptimisersGolden(t *testing.T) {
	want, _ := goldenArrays(t, "optimisers.npz")
	for name, set := range optimisers {
		for _, kind := range []string{"none", "swa"} {
			for _, net := range []string{"strided", "dense"} {
				t.Run(name+"/"+net+"/"+kind, func(t *testing.T) {
					g, err := golden.Load(net)
					require.NoError(t, err)
					c := DefaultConfig(Standard)
					set(&c)
					c.Epochs, c.BatchSize, c.Average, c.AverageStart = 6, g.N, kind, 0.5
					if kind == "none" {
						c.AverageStart = 0
					}
					in := g.Model.Arch.Input
					d := &dataset.Set{C: in.C, H: in.H, W: in.W, X: g.X, Y: g.Y, Classes: g.Model.Arch.Classes()}
					m, history := train(t, g.Model, d, c)
					for i, e := range history {
						assert.InDelta(t, want[name+".lr"][i], e.LR, 1e-12)
					}
					prefix := strings.Replace(name+"."+net+"."+kind+".", ".none.", ".", 1)
					moved := 0.0
					for l := range m.Params {
						for kind, v := range map[string][][]float32{
							"weight": {m.Params[l].W, g.Model.Params[l].W}, "bias": {m.Params[l].B, g.Model.Params[l].B},
						} {
							w := want[fmt.Sprintf("%s%s.%d", prefix, kind, l)]
							require.Len(t, w, len(v[0]))
							for i := range w {
								require.InDelta(t, w[i], v[0][i], 2e-5, "%s.%d[%d]", kind, l, i)
								moved = max(moved, math.Abs(w[i]-float64(v[1][i])))
							}
						}
					}
					assert.Greater(t, moved, 5e-3, "a wrong step would be seen")
				})
			}
		}
	}
}

// variant is a way to train that has state of its own.
type variant struct {
	name string
	set  func(c *Config)
}

func variants() []variant {
	list := []variant{
		{"ema", func(c *Config) { c.Average, c.AverageDecay = "ema", 0.8 }},
		{"swa", func(c *Config) { c.Average, c.AverageStart, c.Schedule = "swa", 0.3, "step" }},
		{"augmented", func(c *Config) { c.Shift, c.Flip = 2, true }},
		{"validated", func(c *Config) { c.Validation = 0.2 }},
		{"best", func(c *Config) { c.Validation, c.Keep, c.Average, c.Schedule = 0.2, "best", "ema", "cosine" }},
		{"patient", func(c *Config) {
			c.Validation, c.Keep, c.Patience, c.RampEpochs, c.LR = 0.3, "best", 1, 0, 1e-5
			c.LRFinal = 0
		}},
		{"smooth", func(c *Config) { c.RampShape, c.Clip, c.L1 = "smooth", 0.01, 1e-3 }},
	}
	for name, set := range optimisers {
		list = append(list, variant{name, set})
	}
	return list
}

// TestVariantsSameBits: neither threads nor kernel sets change a bit.
func TestVariantsSameBits(t *testing.T) {
	m := tinyNet(t)
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			want, plain := "", ""
			for _, isa := range kernels.Available() {
				for threads := 1; threads <= 3; threads += 2 {
					c := quick(PGD)
					c.Threads, c.BatchSize, c.ISA = threads, 37, isa.Name()
					base, _ := train(t, m, noise(m, 120), c)
					v.set(&c)
					tr, err := New(m, noise(m, 120), c)
					require.NoError(t, err)
					r, history, err := tr.Run(context.Background())
					require.NoError(t, err)
					got := fmt.Sprint(r.Hash(), history[len(history)-1].Loss, tr.Kept())
					if want == "" {
						want, plain = got, base.Hash()
					}
					require.Equal(t, want, got, "%s, %d threads", isa.Name(), threads)
					require.NotEqual(t, plain, r.Hash())
				}
			}
		})
	}
}

// TestVariantsAllocateNothing in a step.
func TestVariantsAllocateNothing(t *testing.T) {
	for _, v := range variants() {
		m := tinyNet(t)
		d, c := noise(m, 40), quick(PGD)
		v.set(&c)
		tr, err := New(m, d, c)
		require.NoError(t, err)
		tr.average.step(tr.c.Epochs * tr.perEpoch) // makes room
		order := make([]int32, c.BatchSize)
		assert.Zero(t, testing.AllocsPerRun(10, func() {
			at := tr.c.at(2, tr.perEpoch)
			if tr.s.losses(context.Background(), 2, at, order) != nil || tr.s.update(context.Background()) != nil {
				t.Fatal("step failed")
			}
			tr.average.step(tr.c.Epochs * tr.perEpoch)
		}), v.name)
	}
}

// TestClip: a gradient's norm is cut at the limit, over all weights together.
func TestClip(t *testing.T) {
	m := &model.Model{
		Arch:   model.Architecture{Layers: []model.Layer{{Kind: model.FC}, {Kind: model.FC}}},
		Params: []model.Param{{W: make([]float32, blockSize+3), B: make([]float32, 2)}, {W: make([]float32, 5), B: make([]float32, 1)}},
	}
	for clip, want := range map[float64]float64{0.5: 0.5, 1e5: 3 * math.Sqrt(blockSize+11)} {
		g := zeros(m.Params)
		eachArray(g, func(v []float32) {
			for i := range v {
				v[i] = float32(3 - 6*(i%2))
			}
		})
		o := newOptimiser(&Config{Optimizer: "sgd", Clip: clip}, m, g)
		o.prepare(1, 1)
		require.True(t, o.measures())
		for i := range o.blocks {
			o.measure(i)
		}
		o.limit()
		squares := 0.0
		for i := range o.blocks {
			o.update(nil, nil, i)
		}
		eachArray(m.Params, func(v []float32) {
			for i := range v {
				squares += float64(v[i]) * float64(v[i])
				v[i] = 0
			}
		})
		assert.InEpsilon(t, want, math.Sqrt(squares), 1e-6)
	}
}

// TestL1Sparsifies: the penalty acts on weights alone.
func TestL1Sparsifies(t *testing.T) {
	m := tinyNet(t)
	c := quick(Standard)
	c.Optimizer, c.LR, c.LRFinal, c.Schedule = "sgd", 0.1, 0, "constant"
	sum := func(m *model.Model) (w, b float64) {
		for _, p := range m.Params {
			for _, v := range p.W {
				w += math.Abs(float64(v))
			}
			for _, v := range p.B {
				b += math.Abs(float64(v))
			}
		}
		return w, b
	}
	plain, _ := train(t, m, noise(m, 60), c)
	c.L1 = 0.1
	sparse, _ := train(t, m, noise(m, 60), c)
	w0, _ := sum(plain)
	w1, b1 := sum(sparse)
	assert.Less(t, w1, w0*0.9)
	assert.Positive(t, b1)
}
