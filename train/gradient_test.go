package train

import (
	"context"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// tinyNet has every kind of layer, a padded and strided convolution, and a fully
// connected layer whose columns the kernels reorder.
func tinyNet(t testing.TB) *model.Model {
	return random(t, model.Architecture{Input: model.Shape{C: 2, H: 5, W: 4}, Layers: []model.Layer{
		{Kind: model.Normalize, Mean: []float32{0.4, 0.5}, Std: []float32{0.5, 0.25}},
		{Kind: model.Conv, Out: 5, Kernel: [2]int{3, 2}, Stride: [2]int{2, 1}, Padding: [2]int{1, 1}},
		{Kind: model.ReLU},
		{Kind: model.Conv, Out: 3, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 7},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 6}, // no ReLU in between
		{Kind: model.FC, Out: 4},
	}})
}

// linearNet is one fully connected layer, which is all margin.
func linearNet(t testing.TB) *model.Model {
	return random(t, model.Architecture{Input: model.Shape{C: 2, H: 5, W: 4}, Layers: []model.Layer{{Kind: model.FC, Out: 4}}})
}

func random(t testing.TB, a model.Architecture) *model.Model {
	m, err := model.Random(&a, 3)
	require.NoError(t, err)
	return m
}

// smoothResidual adds, pools and squashes.
func smoothResidual(t testing.TB) *model.Model {
	return random(t, model.Architecture{Input: model.Shape{C: 2, H: 6, W: 5}, Layers: []model.Layer{
		conv(3, 3, 1, 1),
		{Kind: model.ReLU},
		conv(3, 1, 1, 0), add(1, 2),
		{Kind: model.ReLU},
		{Kind: model.MaxPool, Kernel: [2]int{2, 3}, Stride: [2]int{2, 1}, Padding: [2]int{1, 0}},
		{Kind: model.Sigmoid},
		conv(3, 1, 1, 0), add(6, 7),
		{Kind: model.Tanh}, // in front of 9 nothing but a sum
		add(9, 6),
		{Kind: model.AvgPool, Kernel: [2]int{3, 2}, Stride: [2]int{2, 2}, Padding: [2]int{1, 0}},
		{Kind: model.FC, Out: 5},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 4},
	}})
}

// allLayers has the others.
func allLayers(t testing.TB) *model.Model {
	m := random(t, model.Architecture{Input: model.Shape{C: 2, H: 5, W: 5}, Layers: []model.Layer{
		{Kind: model.Normalize, Mean: []float32{0.4, 0.5}, Std: []float32{0.5, 0.25}},
		conv(4, 2, 1, 0),
		{Kind: model.BatchNorm, Eps: 1e-3},
		{Kind: model.LeakyReLU, Slope: []float32{0.25, -0.5, 0, 1.5}},
		{Kind: model.Conv, Out: 4, Groups: 2, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}},
		{Kind: model.ReLU},
		{Kind: model.Conv, Out: 4, Groups: 4, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}, Padding: [2]int{1, 1}, Dilation: [2]int{2, 2}},
		{Kind: model.Concat, Inputs: []int{6, 5}},
		{Kind: model.Clip, Min: -0.25, Max: 0.5},
		{Kind: model.AvgPool, Kernel: [2]int{2, 2}, Stride: [2]int{2, 3}, Padding: [2]int{1, 1}, CountPadding: true},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 4},
	}})
	r := kernels.NewStream(11, 0, 0)
	for i := range m.Params {
		p := &m.Params[i]
		for c := range p.Mean {
			p.Mean[c], p.Var[c], p.B[c], p.W[c] = r.Float32()-0.5, 0.2+r.Float32(), r.Float32()-0.5, 2*r.Float32()-1
		}
	}
	return m
}

// dilatedNet has taps that lie apart, in one group and in two.
func dilatedNet(t testing.TB) *model.Model {
	return random(t, model.Architecture{Input: model.Shape{C: 2, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 4, Kernel: [2]int{2, 3}, Stride: [2]int{1, 1}, Padding: [2]int{1, 2}, Dilation: [2]int{3, 2}},
		{Kind: model.ReLU},
		{Kind: model.Conv, Out: 6, Groups: 2, Kernel: [2]int{2, 2}, Stride: [2]int{1, 2}, Dilation: [2]int{2, 1}},
		{Kind: model.ReLU},
		{Kind: model.FC, Out: 4},
	}})
}

func conv(out, k, s, p int, in ...int) model.Layer {
	return model.Layer{Kind: model.Conv, Inputs: in, Out: out, Kernel: [2]int{k, k}, Stride: [2]int{s, s}, Padding: [2]int{p, p}}
}

func add(p, q int) model.Layer { return model.Layer{Kind: model.Add, Inputs: []int{p, q}} }

// noise is a set of random images for m.
func noise(m *model.Model, n int) *dataset.Set {
	in := m.Arch.Input
	d := &dataset.Set{Name: "noise", C: in.C, H: in.H, W: in.W, Classes: m.Arch.Classes()}
	s := kernels.NewStream(5, 0, 0)
	for range n {
		for range in.Size() {
			d.X = append(d.X, s.Float32())
		}
		d.Y = append(d.Y, s.Intn(d.Classes))
	}
	return d
}

func imagesOf(d *dataset.Set) (x [][]float32) {
	for i := range d.Len() {
		x = append(x, d.Image(i))
	}
	return x
}

// TestGradients holds the gradient of a whole step against central differences
// of the float64 reference.
func TestGradients(t *testing.T) {
	thorough(t)
	for name, m := range map[string]*model.Model{"tiny": tinyNet(t), "linear": linearNet(t), "residual": smoothResidual(t), "layers": allLayers(t), "dilated": dilatedNet(t)} {
		for _, at := range []point{{lr: 1, kappa: 1}, {lr: 1, eps: 0.1, kappa: 0.25}, {lr: 1, eps: 0.3, kappa: 0}} {
			t.Run(fmt.Sprintf("%s/eps%v", name, at.eps), func(t *testing.T) {
				const images = 11 // a group and a partial one
				d := noise(m, images)
				c := DefaultConfig(IBP)
				c.BatchSize = images
				m := m.Clone()
				n, err := net.Compile(m, net.Options{Backward: true})
				require.NoError(t, err)
				s := newStepper(&c, n, &data{d.X, d.Y}, kernels.NewPool(2))
				order := make([]int32, images)
				for i := range order {
					order[i] = int32(images - 1 - i)
				}
				require.NoError(t, s.losses(context.Background(), 0, at, order))
				f := newReference(m, at.eps, at.kappa) // before the update
				f.observe(imagesOf(d))
				f = f.fix(f)
				require.NoError(t, s.update(context.Background()))
				for i, k := range order {
					require.InEpsilon(t, f.loss(d.Image(int(k)), d.Y[k]), s.loss[i], 1e-4)
				}
				mean := func() (sum float64) {
					f.observe(imagesOf(d))
					for i, y := range d.Y {
						sum += f.loss(d.Image(i), y)
					}
					return sum / images
				}
				for l, g := range s.grad.Params {
					checkDifferences(t, fmt.Sprintf("layer %d weight", l), f.params[l].w, g.W, mean)
					checkDifferences(t, fmt.Sprintf("layer %d bias", l), f.params[l].b, g.B, mean)
				}
			})
		}
	}
}

// checkDifferences compares with central differences: of many weights with some, from all
// over the tensor, unless EPSBALL_EXHAUSTIVE is set.
func checkDifferences(t *testing.T, name string, w []float64, g []float32, loss func() float64) {
	const h = 1e-6 // small: the losses have kinks
	const some = 16
	step := len(w)/some | 1 // odd, so that it does not stay in a column of an even width
	if os.Getenv("EPSBALL_EXHAUSTIVE") != "" {
		step = 1
	}
	for i := 0; i < len(w); i += step {
		old := w[i]
		w[i] = old + h
		up := loss()
		w[i] = old - h
		slope := (up - loss()) / (2 * h)
		w[i] = old
		require.InDelta(t, slope, g[i], 1e-5+1e-4*math.Abs(slope), "%s[%d]", name, i)
	}
}
