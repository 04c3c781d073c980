package train

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestSmoothAdvGolden holds a step with given noise against PyTorch's: points, losses and
// gradients.
func TestSmoothAdvGolden(t *testing.T) {
	const copies = 3
	want, noise := goldenArrays(t, "smoothadv.npz")
	for _, name := range []string{"padded", "residual"} {
		t.Run(name, func(t *testing.T) {
			g, err := golden.Load(name)
			require.NoError(t, err)
			in, c := g.Model.Arch.Input, DefaultConfig(SmoothAdv)
			c.BatchSize, c.TrainEps, c.Draws, c.PGDSteps, c.PGDStepSize = g.N, net.MustEpsilon("0.5"), copies, 3, 0.4
			n, err := net.Compile(g.Model.Clone(), net.Options{Backward: true, Batches: net.LargeBatches})
			require.NoError(t, err)
			s := newStepper(&c, n, &data{g.X, g.Y}, kernels.NewPool(1))
			o := *s.o
			inner, next := *o.needs.attack, given(in, noise[name+".noise"])
			inner.blur = func(c *Config, s *kernels.Stream) float32 { return next(c, point{}, s, 0, 0, 0) }
			o.needs.attack, s.o = &inner, &o
			require.NoError(t, s.losses(context.Background(), 0, point{lr: 1e-3, eps: 0.5, kappa: 1}, inOrder(g.N)))
			require.NoError(t, s.update(context.Background()))
			for i, x := range s.unpack(g.N) {
				for k, v := range x {
					require.InDelta(t, want[name+".points"][i*in.Size()+k], v, 3e-6, "image %d", i)
				}
			}
			for i, l := range want[name+".loss"] {
				require.InDelta(t, l, s.loss[i], 2e-5*(1+l))
			}
			for l, p := range s.grad.Params {
				for kind, grad := range map[string][]float32{"weight": p.W, "bias": p.B} {
					w := want[fmt.Sprintf("%s.%s.%d", name, kind, l)]
					require.Len(t, grad, len(w))
					for i := range grad {
						require.InDelta(t, w[i], grad[i], 3e-6+3e-5*math.Abs(w[i]), "%s.%d[%d]", kind, l, i)
					}
				}
			}
		})
	}
}

// unpackCopies returns what the network saw in the last step, the copies of each image one
// after the other.
func (s *stepper) unpackCopies(images int) (all [][]float32) {
	in := s.net.Input()
	for i := range images {
		s.pixels(i, func(p *part, lane int) {
			for k := range s.copies {
				x := make([]float32, in.Size())
				net.LaneGroups.Unpack(x, p.seen, in, s.slot(lane, k))
				all = append(all, x)
			}
		})
	}
	return all
}

// TestSmoothAdvGradient holds the gradient of a whole step against central differences of a
// float64 reference, whose batch norms have the statistics of all copies together.
func TestSmoothAdvGradient(t *testing.T) {
	thorough(t)
	const images, copies, sigma, eps = 11, 3, 0.1, 0.3
	for name, m := range trained(t) {
		t.Run(name, func(t *testing.T) {
			d, c := noise(m, images), DefaultConfig(SmoothAdv)
			c.BatchSize, c.TrainEps, c.Draws, c.Sigma = images, net.MustEpsilon("0.3"), copies, sigma
			s, f := newTestStepper(t, m, d, &c), newReference(m, 0, 1)
			require.NoError(t, s.losses(context.Background(), 0, point{lr: 1, eps: eps, kappa: 1}, inOrder(images)))
			require.NoError(t, s.update(context.Background()))
			points, seen := s.unpack(images), s.unpackCopies(images)
			require.Len(t, seen, images*copies)
			var squares, moved float64
			for i, x := range points {
				length := 0.0
				for k, v := range x {
					require.True(t, v >= 0 && v <= 1)
					length += math.Pow(float64(v-d.Image(i)[k]), 2)
					for j := range copies {
						squares += math.Pow(float64(seen[i*copies+j][k]-v), 2)
					}
				}
				assert.LessOrEqual(t, math.Sqrt(length), eps+1e-6)
				moved += math.Sqrt(length)
			}
			assert.Greater(t, moved, 0.8*eps*images, "the attack goes to the edge")
			assert.InEpsilon(t, sigma, math.Sqrt(squares/float64(len(seen)*len(seen[0]))), 0.1)
			each := func(i int) (sum float64) {
				for _, x := range seen[i*copies:][:copies] {
					sum += f.loss(x, d.Y[i]) / copies
				}
				return sum
			}
			mean := func() (sum float64) {
				f.observe(seen)
				for i := range d.Y {
					sum += each(i) / images
				}
				return sum
			}
			mean()
			for i := range d.Y {
				require.InEpsilon(t, each(i), s.loss[i], 1e-4)
			}
			for l, grad := range s.grad.Params {
				checkDifferences(t, "weight", f.params[l].w, grad.W, mean)
				checkDifferences(t, "bias", f.params[l].b, grad.B, mean)
			}
		})
	}
}

// TestSmoothAdvIsGaussian: with one draw and no radius it is gaussian, to the bit.
func TestSmoothAdvIsGaussian(t *testing.T) {
	for name, m := range trained(t) {
		c := quick(Gaussian)
		want, _ := train(t, m, noise(m, 64), c)
		c.Method, c.Draws, c.PGDSteps, c.PGDStepSize = SmoothAdv, 1, 2, 0.5
		got, _ := train(t, m, noise(m, 64), c)
		assert.Equal(t, want.Hash(), got.Hash(), name)
	}
}

// TestAscendMeanProbability compares with central differences, and looks at probabilities
// that underflow.
func TestAscendMeanProbability(t *testing.T) {
	const classes, copies, y = 4, 3, 2
	r := kernels.NewStream(4, 0, 0)
	z, dz := make([]float32, classes*copies), make([]float32, classes*copies)
	for i := range z {
		z[i] = 3 * r.Norm()
	}
	climbed := func(z []float64) float64 {
		mean := 0.0
		for k := range copies {
			sum := 0.0
			for _, v := range z[k*classes:][:classes] {
				sum += math.Exp(v)
			}
			mean += math.Exp(z[k*classes+y]) / sum / copies
		}
		return -math.Log(mean)
	}
	ascendMeanProbability(dz, z, make([]float32, classes), y)
	const h = 1e-6
	for i := range z {
		at := widen(z)
		at[i] += h
		up := climbed(at)
		at[i] -= 2 * h
		assert.InDelta(t, (up-climbed(at))/(2*h), dz[i], 1e-5)
	}
	clear(z)
	z[0], z[classes], z[2*classes] = 400, 300, 500 // the second copy has almost all of the mean
	ascendMeanProbability(dz, z, make([]float32, classes), y)
	assert.InDeltaSlice(t, []float32{0, 0, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0}, dz, 1e-30)
}
