package train

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestCertifiedGolden holds steps of sabr and mtl-ibp on given points x′ against
// PyTorch's: losses, gradients, and the weights after Adam.
func TestCertifiedGolden(t *testing.T) {
	want, _ := goldenArrays(t, "certified.npz")
	for _, o := range []*objective{&sabr, &mtlibp} {
		for _, name := range golden.Names() {
			t.Run(string(o.name)+"/"+name, func(t *testing.T) {
				g, err := golden.Load(name)
				require.NoError(t, err)
				m := g.Model.Clone()
				c := DefaultConfig(o.name)
				c.BatchSize, c.TrainEps, c.Subbox, c.Alpha = g.N, net.MustEpsilon("0.03"), 0.3, 0.3
				n, err := net.Compile(m, net.Options{Backward: true, Batches: net.LargeBatches})
				require.NoError(t, err)
				s := newStepper(&c, n, &data{g.X, g.Y}, kernels.NewPool(1))
				o := *o
				o.needs.attack = &inner{start: given(m.Arch.Input, g.PGD[0]), steps: func(*Config) int { return 0 }}
				s.o = &o
				require.NoError(t, s.losses(context.Background(), 0, point{lr: 1e-3, eps: 0.03, kappa: 0.25}, inOrder(g.N)))
				require.NoError(t, s.update(context.Background()))
				const times = 4 // losses of residual are near 100: PyTorch's own float32 is as far off
				key := string(o.name) + "." + name
				require.Len(t, want[key+".loss"], g.N)
				for i, l := range want[key+".loss"] {
					require.InDelta(t, l, s.loss[i], 2e-5*(1+l))
				}
				for l, p := range s.grad.Params {
					sameWithin(t, want, fmt.Sprintf("%s.%%sweight.%d", key, l), p.W, m.Params[l].W, times, len(p.W)/50)
					sameWithin(t, want, fmt.Sprintf("%s.%%sbias.%d", key, l), p.B, m.Params[l].B, times, len(p.B)/50)
				}
				assert.Empty(t, left(want, key+"."))
			})
		}
	}
}

// TestCertifiedEnds: at the ends of their settings, sabr and mtl-ibp train the weights of
// ibp without a clean share and of pgd, bit for bit.
func TestCertifiedEnds(t *testing.T) {
	m := tinyNet(t)
	weights := func(method Method, change func(c *Config)) string {
		c := quick(method)
		c.PGDSteps, c.PGDStepSize, c.KappaStart, c.KappaFinal = 2, 0.5, 0, 0
		change(&c)
		r, _ := train(t, m, noise(m, 120), c)
		return r.Hash()
	}
	bounds := weights(IBP, func(*Config) {})
	assert.Equal(t, bounds, weights(SABR, func(c *Config) { c.Subbox = 1 }))
	assert.NotEqual(t, bounds, weights(SABR, func(c *Config) { c.Subbox = 0.9 }))
	assert.Equal(t, bounds, weights(MTLIBP, func(c *Config) { c.Alpha = 1 }))
	assert.NotEqual(t, bounds, weights(MTLIBP, func(c *Config) { c.Alpha = 0.9 }))

	whole := func(c *Config) { c.WarmupEpochs, c.RampEpochs, c.Alpha = 0, 0, 0 } // pgd's steps do not grow
	attacked := weights(PGD, whole)
	assert.Equal(t, attacked, weights(MTLIBP, whole))
	assert.NotEqual(t, attacked, weights(MTLIBP, func(c *Config) { whole(c); c.AttackScale = 1.5 }))
}

// TestSubboxes: a small box is around its point, in the ball and the pixel range.
func TestSubboxes(t *testing.T) {
	c := DefaultConfig(SABR)
	at := point{eps: 0.1}
	s := kernels.NewStream(1, 0, 0)
	reach := float32(aroundSubbox(&c, at))
	for range 1000 {
		x := s.Float32()
		p := min(max(x+reach*(2*s.Float32()-1), 0), 1)
		var lo, hi [1]float32
		subboxes(&c, lo[:], hi[:], []float32{x}, []float32{p}, at)
		require.InDelta(t, max(0, p-0.04), lo[0], 1e-7)
		require.InDelta(t, min(1, p+0.04), hi[0], 1e-7)
		require.GreaterOrEqual(t, lo[0], max(0, x-0.1))
		require.LessOrEqual(t, hi[0], min(1, x+0.1))
	}
	var lo, hi [1]float32
	subboxes(&c, lo[:], hi[:], []float32{0.5}, []float32{0.6}, at) // a point at the end of the ball
	assert.Equal(t, []float32{0.6 - 0.04, 0.5 + 0.1}, []float32{lo[0], hi[0]})
}
