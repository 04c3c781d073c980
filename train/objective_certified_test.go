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
