package train

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// regular64 is the regulariser of a batch without its weight, from its definition.
func (f reference) regular64(batch [][]float32) float64 {
	f.params = f.boxes
	var acts [][]box64 // of each image
	for _, x := range batch {
		b := box64{}
		for _, v := range x {
			lo, hi := math.Max(0, float64(v)-f.eps), math.Min(1, float64(v)+f.eps)
			b.c, b.r = append(b.c, (lo+hi)/2), append(b.r, (hi-lo)/2)
		}
		acts = append(acts, f.walkAll(b, len(f.params)-1))
	}
	all := func(layers int) (c, r []float64) {
		for _, a := range acts {
			c, r = append(c, a[layers].c...), append(r, a[layers].r...)
		}
		return c, r
	}
	mean := func(v []float64) (m float64) {
		for _, x := range v {
			m += x / float64(len(v))
		}
		return m
	}
	lack := func(q float64) float64 { return math.Max(0, 0.5-q) / 0.5 }
	first := 0
	if f.arch.Layers[0].Kind == model.Normalize {
		first = 1
	}
	_, r0 := all(first)
	sum, m := 0.0, 0.0
	for i, l := range f.arch.Layers {
		if l.Kind != model.ReLU && l.Kind != model.LeakyReLU {
			continue
		}
		m++
		c, r := all(f.arch.InputsOf(i)[0] + 1)
		middle := mean(c)
		if f.eps > 0 {
			sum += lack(mean(r0) / mean(r))
		}
		var means, spreads [2]float64
		for k := range c {
			which := 0
			switch {
			case c[k]-r[k] > 0:
			case c[k]+r[k] < 0:
				which = 1
			default:
				continue
			}
			means[which] += math.Abs(c[k])
			spreads[which] += (c[k] - middle) * (c[k] - middle)
		}
		for _, s := range [][2]float64{means, spreads} {
			if most := math.Max(s[0], s[1]); most > 0 {
				sum += lack(math.Min(s[0], s[1]) / most)
			}
		}
	}
	return sum / max(m, 1)
}

// TestRegulariser holds the gradient of whole steps with it against central differences of
// the float64 reference, at a growing radius and where it is 0.
func TestRegulariser(t *testing.T) {
	thorough(t)
	skewed := tinyNet(t)
	for i := range skewed.Params[1].B { // most neurons inactive
		skewed.Params[1].B[i] -= 0.5
	}
	for name, m := range map[string]*model.Model{"tiny": skewed, "layers": allLayers(t), "residual": smoothResidual(t)} {
		for _, eps := range []float64{0, 0.02} {
			t.Run(fmt.Sprintf("%s/eps%v", name, eps), func(t *testing.T) {
				const images, weight = 11, 3
				d, c := noise(m, images), DefaultConfig(IBP)
				c.BatchSize, c.TrainEps, c.Tightness = images, net.MustEpsilon("0.1"), weight
				s := newTestStepper(t, m, d, &c)
				at := point{lr: 1, eps: eps, kappa: 1 - 5*eps}
				require.NoError(t, s.losses(context.Background(), 0, at, inOrder(images)))
				require.NoError(t, s.update(context.Background()))
				f := newReference(m, at.eps, at.kappa)
				observe := func() { f.observe(imagesOf(d)) }
				observe()
				f = f.fix(f)
				regular := func() float64 { return weight * (1 - eps/0.1) * f.regular64(imagesOf(d)) }
				require.Greater(t, regular(), 0.1)
				for i, y := range d.Y {
					require.InEpsilon(t, f.loss(d.Image(i), y)+regular(), s.loss[i], 1e-4)
				}
				mean := func() (sum float64) {
					observe()
					for i, y := range d.Y {
						sum += f.loss(d.Image(i), y)
					}
					return sum/images + regular()
				}
				for l, g := range s.grad.Params {
					checkDifferences(t, fmt.Sprintf("layer %d weight", l), f.params[l].w, g.W, mean)
					checkDifferences(t, fmt.Sprintf("layer %d bias", l), f.params[l].b, g.B, mean)
				}
			})
		}
	}
}

// TestRegulariserEnds: at the full radius, and for methods that do not use it, steps are
// those without it, to the bit.
func TestRegulariserEnds(t *testing.T) {
	m := tinyNet(t)
	d := noise(m, 11)
	weights := func(method Method, tightness float64) *model.Model {
		c := DefaultConfig(method)
		c.BatchSize, c.TrainEps, c.Tightness = 11, net.MustEpsilon("0.1"), tightness
		s := newTestStepper(t, m, d, &c)
		require.NoError(t, s.losses(context.Background(), 0, point{lr: 1e-3, eps: 0.1, kappa: 0.5}, inOrder(11)))
		require.NoError(t, s.update(context.Background()))
		return s.net.Model()
	}
	assert.Equal(t, weights(IBP, 0).Params, weights(IBP, 2).Params)
	assert.Equal(t, weights(TRADES, 0).Params, weights(TRADES, 2).Params)
}

// TestShiGolden holds a step with the regularisers against PyTorch's: losses, gradients,
// and the weights after Adam.
func TestShiGolden(t *testing.T) {
	want, _ := goldenArrays(t, "shi.npz")
	for _, name := range golden.Names() {
		t.Run(name, func(t *testing.T) {
			g, err := golden.Load(name)
			require.NoError(t, err)
			c := DefaultConfig(IBP)
			c.BatchSize, c.TrainEps, c.Tightness = g.N, net.MustEpsilon("0.1"), 0.5
			s := newTestStepper(t, g.Model, &dataset.Set{X: g.X, Y: g.Y}, &c)
			goldenStep(t, s, want, name, 2, point{lr: 1e-3, eps: 0.05, kappa: 0.5})
			terms := want[name+".terms"]
			require.InDelta(t, 0.25*(terms[0]+terms[1]), s.regular.loss, 1e-6)
		})
	}
}

// goldenStep takes a step and holds it against the arrays of a network, gradients within
// times the usual tolerance.
func goldenStep(t *testing.T, s *stepper, want map[string][]float64, name string, times float64, at point) {
	require.NoError(t, s.losses(context.Background(), 0, at, inOrder(s.c.BatchSize)))
	require.NoError(t, s.update(context.Background()))
	for i, l := range want[name+".loss"] {
		require.InDelta(t, l, s.loss[i], 2e-5*(1+l))
	}
	for l, p := range s.grad.Params {
		q := s.net.Model().Params[l]
		sameWithin(t, want, fmt.Sprintf("%s.%%sweight.%d", name, l), p.W, q.W, times, len(p.W)/5)
		sameWithin(t, want, fmt.Sprintf("%s.%%sbias.%d", name, l), p.B, q.B, times, len(p.B)/5)
	}
	assert.Empty(t, slices.DeleteFunc(left(want, name+"."), func(s string) bool { return !strings.Contains(s, "weight") && !strings.Contains(s, "bias") }))
}
