package train

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestTradesGolden holds a step on given points x′ against PyTorch's: losses,
// gradients, and the weights after Adam.
func TestTradesGolden(t *testing.T) {
	want, _ := goldenArrays(t, "trades.npz")
	for _, name := range golden.Names() {
		t.Run(name, func(t *testing.T) {
			g, err := golden.Load(name)
			require.NoError(t, err)
			m := g.Model.Clone()
			c := DefaultConfig(TRADES)
			c.BatchSize, c.PGDSteps, c.TrainEps = g.N, 1, net.MustEpsilon("0.2") // around all of the points
			n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches})
			require.NoError(t, err)
			s := newStepper(&c, n, &data{g.X, g.Y}, kernels.NewPool(1))
			o := trades
			o.needs.attack = &inner{start: given(g.Model.Arch.Input, g.PGD[len(g.PGD)-1]), ascend: trades.needs.attack.ascend}
			s.o, c.PGDSteps = &o, 0
			require.NoError(t, s.losses(context.Background(), 0, point{lr: 1e-3, eps: 0.2, kappa: 1}, inOrder(g.N)))
			require.NoError(t, s.update(context.Background()))
			for i, l := range want[name+".loss"] {
				require.InDelta(t, l, s.loss[i], 2e-5*(1+l))
			}
			for l, p := range s.grad.Params {
				same(t, want, fmt.Sprintf("%s.%%sweight.%d", name, l), p.W, m.Params[l].W)
				same(t, want, fmt.Sprintf("%s.%%sbias.%d", name, l), p.B, m.Params[l].B)
			}
			assert.Empty(t, left(want, name+"."))
		})
	}
}

// given starts the attack at points: images in order, pixels in that of the kernels;
// once more at each step.
func given(in model.Shape, points []float32) func(*Config, point, *kernels.Stream, float32, float32, float32) float32 {
	k := 0
	return func(*Config, point, *kernels.Stream, float32, float32, float32) float32 {
		image, at := k/in.Size(), k%in.Size()
		k = (k + 1) % len(points)
		return points[image*in.Size()+at%in.C*in.H*in.W+at/in.C]
	}
}

// same compares a layer's gradient and stepped weights with the arrays of the
// given names, and drops those. Adam's first step is the sign of the gradient, so
// where that is all rounding so is the step.
func same(t *testing.T, want map[string][]float64, name string, grad, stepped []float32) {
	t.Helper()
	sameWithin(t, want, name, grad, stepped, 1, len(grad)/50)
}

// sameWithin is same with times the tolerance of gradients, and so many steps that may be
// all rounding.
func sameWithin(t *testing.T, want map[string][]float64, name string, grad, stepped []float32, times float64, most int) {
	t.Helper()
	gradient, weights := fmt.Sprintf(name, ""), fmt.Sprintf(name, "stepped.")
	g, w := want[gradient], want[weights]
	require.Len(t, grad, len(g), gradient)
	unsure := 0
	for i := range grad {
		require.InDelta(t, g[i], grad[i], times*(2e-6+2e-5*math.Abs(g[i])), "%s[%d]", gradient, i)
		within := 1e-6
		if g[i] != 0 && math.Abs(g[i]) < 1e-5 {
			within, unsure = 2e-3, unsure+1
		}
		require.InDelta(t, w[i], stepped[i], within, "%s[%d]", weights, i)
	}
	require.LessOrEqual(t, unsure, most, gradient)
	delete(want, gradient)
	delete(want, weights)
}

// left lists the arrays not compared yet, but for losses.
func left(want map[string][]float64, prefix string) (names []string) {
	for name := range want {
		if strings.HasPrefix(name, prefix) && !strings.HasSuffix(name, ".loss") {
			names = append(names, name)
		}
	}
	return names
}

// goldenArrays reads a file of testdata/golden: what PyTorch gives and, in float32, what
// it was given.
func goldenArrays(t *testing.T, name string) (want map[string][]float64, given map[string][]float32) {
	b, err := os.ReadFile("../testdata/golden/" + name)
	require.NoError(t, err)
	arrays, err := dataset.ReadNPZ(name, strings.NewReader(string(b)), int64(len(b)))
	require.NoError(t, err)
	want, given = map[string][]float64{}, map[string][]float32{}
	for _, a := range arrays {
		switch data := a.Data.(type) {
		case []float64:
			want[a.Name] = data
		case []float32:
			given[a.Name] = data
		}
	}
	return want, given
}

// TestTradesResists: on real digits, the training withstands PGD where standard
// training does not.
func TestTradesResists(t *testing.T) {
	thorough(t)
	all := digits(t, 2400)
	robust := func(m Method) float64 {
		c := DefaultConfig(m)
		c.Epochs, c.BatchSize, c.LR = 12, 20, 3e-3
		if m.Radius() {
			c.TrainEps, c.PGDSteps, c.PGDStepSize = net.MustEpsilon("0.1"), 5, 0.5
		}
		trained, _ := train(t, digitNet(t), all.Slice(0, 2000), c)
		return underPGD(t, trained, all.Slice(2000, 2400))
	}
	plain, hardened := robust(Standard), robust(TRADES)
	t.Logf("under PGD-20 at 0.1: standard %.3f, trades %.3f", plain, hardened)
	assert.Greater(t, hardened, plain+0.4)
}

// underPGD is the fraction of images that PGD-20 at 0.1 leaves classified right.
func underPGD(t *testing.T, m *model.Model, d *dataset.Set) float64 {
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}
	a, err := attack.New(n, attack.Config{Ball: ball, Method: attack.PGD{Steps: 20, Seed: 1}}, kernels.NewPool(2))
	require.NoError(t, err)
	var r attack.Result
	require.NoError(t, a.Run(context.Background(), attack.Batch{X: d.X, Y: d.Y}, &r))
	done, _, robust := r.Count()
	require.Equal(t, d.Len(), done)
	return float64(robust) / float64(done)
}
