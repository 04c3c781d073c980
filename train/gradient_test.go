package train

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// reference computes the objectives in float64, straight from their definition.
type reference struct {
	arch       *model.Architecture
	params     []param64
	eps, kappa float64
}

type param64 struct{ w, b []float64 }

func newReference(m *model.Model, eps, kappa float64) reference {
	f := reference{arch: &m.Arch, eps: eps, kappa: kappa}
	for _, p := range m.Params {
		f.params = append(f.params, param64{widen(p.W), widen(p.B)})
	}
	return f
}

func widen(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

type box64 struct{ c, r []float64 }

func (f reference) loss(x []float32, y int) float64 {
	b := box64{}
	var clean box64
	for _, v := range x {
		lo, hi := math.Max(0, float64(v)-f.eps), math.Min(1, float64(v)+f.eps)
		b.c, b.r = append(b.c, (lo+hi)/2), append(b.r, (hi-lo)/2)
		clean.c, clean.r = append(clean.c, float64(v)), append(clean.r, 0)
	}
	return f.kappa*f.path(clean, y) + (1-f.kappa)*f.path(b, y)
}

// path returns the cross-entropy of the worst-case logits over the box.
func (f reference) path(b box64, y int) float64 {
	shapes, _ := f.arch.Shapes()
	for i, l := range f.arch.Layers[:len(f.params)-1] {
		b = refLayer(l, f.params[i], shapes[i], shapes[i+1], b)
	}
	last := f.params[len(f.params)-1]
	k := len(b.c)
	v := make([]float64, len(last.b))
	for j := range v {
		if j == y {
			continue
		}
		v[j] = last.b[j] - last.b[y]
		for i := range k {
			d := last.w[y*k+i] - last.w[j*k+i]
			v[j] += math.Abs(d)*b.r[i] - d*b.c[i]
		}
	}
	sum := 0.0
	for _, a := range v {
		sum += math.Exp(a - v[y])
	}
	return math.Log(sum)
}

func refLayer(l model.Layer, p param64, in, out model.Shape, b box64) (n box64) {
	n.c, n.r = make([]float64, out.Size()), make([]float64, out.Size())
	switch l.Kind {
	case model.Normalize:
		for i := range n.c {
			ch := i / (in.H * in.W)
			n.c[i] = (b.c[i] - float64(l.Mean[ch])) / float64(l.Std[ch])
			n.r[i] = b.r[i] / float64(l.Std[ch])
		}
	case model.ReLU:
		for i := range n.c {
			lo, hi := math.Max(0, b.c[i]-b.r[i]), math.Max(0, b.c[i]+b.r[i])
			n.c[i], n.r[i] = (lo+hi)/2, (hi-lo)/2
		}
	case model.FC:
		for o := range n.c {
			n.c[o] = p.b[o]
			for i := range b.c {
				w := p.w[o*len(b.c)+i]
				n.c[o] += w * b.c[i]
				n.r[o] += math.Abs(w) * b.r[i]
			}
		}
	case model.Conv:
		refConv(l, p, in, out, b, n)
	}
	return n
}

func refConv(l model.Layer, p param64, in, out model.Shape, b, n box64) {
	for o := range out.C {
		for y := range out.H {
			for x := range out.W {
				at := (o*out.H+y)*out.W + x
				n.c[at] = p.b[o]
				for t := range in.C * l.Kernel[0] * l.Kernel[1] {
					c, ky, kx := t/(l.Kernel[0]*l.Kernel[1]), t/l.Kernel[1]%l.Kernel[0], t%l.Kernel[1]
					iy, ix := y*l.Stride[0]+ky-l.Padding[0], x*l.Stride[1]+kx-l.Padding[1]
					if iy < 0 || iy >= in.H || ix < 0 || ix >= in.W {
						continue
					}
					w, i := p.w[o*in.C*l.Kernel[0]*l.Kernel[1]+t], (c*in.H+iy)*in.W+ix
					n.c[at] += w * b.c[i]
					n.r[at] += math.Abs(w) * b.r[i]
				}
			}
		}
	}
}

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

// TestGradients holds the gradient of a whole step against central differences
// of the float64 reference.
func TestGradients(t *testing.T) {
	for name, m := range map[string]*model.Model{"tiny": tinyNet(t), "linear": linearNet(t)} {
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
				require.NoError(t, s.update(context.Background()))
				for i, k := range order {
					require.InEpsilon(t, f.loss(d.Image(int(k)), d.Y[k]), s.loss[i], 1e-4)
				}
				mean := func() (sum float64) {
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

func checkDifferences(t *testing.T, name string, w []float64, g []float32, loss func() float64) {
	const h = 1e-6 // small: the losses have kinks
	for i, old := range w {
		w[i] = old + h
		up := loss()
		w[i] = old - h
		slope := (up - loss()) / (2 * h)
		w[i] = old
		require.InDelta(t, slope, g[i], 1e-5+1e-4*math.Abs(slope), "%s[%d]", name, i)
	}
}
