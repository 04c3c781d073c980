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
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// goldenNorms is the network of make_batchnorm.py.
func goldenNorms(t *testing.T, given map[string][]float32) *model.Model {
	relu := model.Layer{Kind: model.ReLU}
	depthwise := conv(6, 3, 1, 1)
	depthwise.Groups = 6
	m := random(t, model.Architecture{Input: model.Shape{C: 2, H: 6, W: 6}, Layers: []model.Layer{
		conv(6, 3, 1, 1),
		{Kind: model.BatchNorm, Eps: 1e-5},
		relu,
		{Kind: model.MaxPool, Kernel: [2]int{2, 2}, Stride: [2]int{2, 2}},
		depthwise,
		{Kind: model.BatchNorm, Eps: 1e-3},
		relu,
		{Kind: model.FC, Out: 8},
		{Kind: model.BatchNorm, Eps: 1e-5},
		{Kind: model.Tanh},
		{Kind: model.FC, Out: 4},
	}})
	for i := range m.Params {
		p := &m.Params[i]
		for kind, v := range map[string]*[]float32{"weight": &p.W, "bias": &p.B, "running_mean": &p.Mean, "running_var": &p.Var} {
			from := given[fmt.Sprintf("%d.%s", i, kind)]
			require.Len(t, from, len(*v))
			*v = from
		}
	}
	require.NoError(t, m.Validate())
	return m
}

// TestBatchNormGolden holds steps of Adam against PyTorch's in training mode: losses,
// gradients, weights and running statistics.
func TestBatchNormGolden(t *testing.T) {
	const steps, images = 3, 11
	want, input := goldenArrays(t, "batchnorm.npz")
	start := goldenNorms(t, input)
	y := make([]int, images)
	for i := range y {
		y[i] = i % 4
	}
	for _, method := range []Method{Standard, PGD, TRADES} {
		t.Run(string(method), func(t *testing.T) {
			m := start.Clone()
			c := DefaultConfig(method)
			c.BatchSize = images
			n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches})
			require.NoError(t, err)
			s := newStepper(&c, n, &data{input["x"], y}, kernels.NewPool(1))
			if attack := s.o.needs.attack; attack != nil {
				o := *s.o
				o.needs.attack = &inner{start: given(m.Arch.Input, input["adv"]), ascend: attack.ascend}
				s.o, c.PGDSteps = &o, 0
			}
			for step := range steps {
				require.NoError(t, s.losses(context.Background(), step, point{lr: 1e-2, eps: 0.1, kappa: 1}, inOrder(images)))
				require.NoError(t, s.update(context.Background()))
				name := fmt.Sprintf("%s.%d.", method, step)
				for i, l := range want[name+"loss"] {
					require.InDelta(t, l, s.loss[i], 1e-4*(1+l))
				}
				compared := 0
				for l := range m.Params {
					p, g := &m.Params[l], &s.grad.Params[l]
					at := fmt.Sprintf("%s%d.", name, l)
					compared += near(t, at+"weight", want, p.W, g.W) + near(t, at+"running_mean", want, p.Mean, nil) + near(t, at+"running_var", want, p.Var, nil)
					if l+1 < len(m.Params) && m.Arch.Layers[l+1].Kind == model.BatchNorm {
						// The batch norm takes the bias out again. Its gradient is all rounding, of
						// which Adam makes a step: PyTorch's.
						for i, v := range want[at+"bias"] {
							require.InDelta(t, 0, g.B[i], 1e-6)
							p.B[i] = float32(v)
						}
					} else {
						compared += near(t, at+"bias", want, p.B, g.B)
					}
				}
				require.Equal(t, 4+3*4+1, compared)
				s.reload()
			}
		})
	}
}

// near compares values after a step, and the gradient that has led there.
func near(t *testing.T, name string, want map[string][]float64, have, grad []float32) int {
	t.Helper()
	w := want[name]
	require.Len(t, have, len(w), name)
	if len(w) == 0 {
		return 0
	}
	g := want[name+".grad"]
	require.Len(t, grad, len(g), name)
	unsure := 0
	for i := range w {
		within := 2e-6 + 2e-5*math.Abs(w[i])
		if g != nil {
			require.InDelta(t, g[i], grad[i], 2e-6+5e-5*math.Abs(g[i]), "%s[%d]", name, i)
			if g[i] != 0 && math.Abs(g[i]) < 1e-4 { // Adam's steps do not tell a small gradient from a large one
				within, unsure = 2e-3, unsure+1
			}
		}
		require.InDelta(t, w[i], have[i], within, "%s[%d]", name, i)
	}
	require.LessOrEqual(t, unsure, 1+len(w)/20, name)
	return 1
}

// TestRunningStatistics: evaluation by what training has left is no worse than what
// training saw; and a batch of one value a channel is refused.
func TestRunningStatistics(t *testing.T) {
	m := random(t, model.Architecture{Input: model.Shape{C: 1, H: 28, W: 28}, Layers: []model.Layer{
		conv(6, 5, 3, 0), {Kind: model.BatchNorm, Eps: 1e-5}, {Kind: model.ReLU}, {Kind: model.FC, Out: 10}, {Kind: model.BatchNorm, Eps: 1e-5},
	}})
	d := digits(t, 1000)
	c := quick(Standard)
	c.Epochs = 8
	trained, history := train(t, m, d, c)
	assert.NotEqual(t, m.Params[1].Mean, trained.Params[1].Mean)
	evaluated := accuracy(t, trained, d)
	assert.Greater(t, evaluated, history[7].CleanAccuracy-0.01, "%v", history)
	assert.Greater(t, evaluated, 0.95)

	c.BatchSize = 1
	_, err := New(m, d, c)
	wantField(t, err, "batchSize")
	require.ErrorContains(t, err, "layers[4]")
}

func accuracy(t *testing.T, m *model.Model, d *dataset.Set) float64 {
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	z := make([]float32, d.Len()*n.Classes())
	pool := kernels.NewPool(1)
	defer pool.Close()
	require.NoError(t, n.NewRunner(pool).Logits(context.Background(), z, d.X, d.Len()))
	right := 0
	for i, y := range d.Y {
		right += count(net.Argmax(z[i*n.Classes():(i+1)*n.Classes()]) == y)
	}
	return float64(right) / float64(d.Len())
}

// TestArchitectures: what testdata/architectures describes learns digits by the methods
// that train on images, and the objective falls; bounds too, where they are kept small.
func TestArchitectures(t *testing.T) {
	files, err := filepath.Glob("../testdata/architectures/*.json")
	require.NoError(t, err)
	require.Len(t, files, 4)
	d := digits(t, 640)
	for _, path := range files {
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		a, err := model.ParseArchitecture(file)
		require.NoError(t, err)
		require.Equal(t, a.Name+".json", filepath.Base(path))
		m := random(t, *a)
		for _, method := range []Method{Standard, Free, TRADES, IBP, CROWNIBP} { // the passes there are
			if testing.Short() && method != Standard || suited(t, method, m) != m {
				continue
			}
			t.Run(a.Name+"/"+string(method), func(t *testing.T) {
				c := quick(method)
				c.Epochs, c.BatchSize, c.LR = 4, 16, 2e-2
				if method.Bounds() {
					c.TrainEps = net.MustEpsilon("0.0001")
				}
				if a.Name == "smooth" { // its wide fc dies of large steps
					c.LR = 1e-3
				}
				trained, history := train(t, m, d, c)
				require.NoError(t, trained.Validate())
				assert.Less(t, history[3].Loss, 0.7*history[0].Loss)
				assert.Greater(t, history[3].CleanAccuracy, 0.5)
			})
		}
	}
}
