package verify

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/net"
)

// TestGoldenBounds: interval bounds contain those PyTorch computes in float64,
// and are wider by no more than float32 rounding asks for.
func TestGoldenBounds(t *testing.T) {
	for _, name := range golden.Names() {
		c, err := golden.Load(name)
		require.NoError(t, err)
		v := newIBP(t, c.Model, 1)
		ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon(golden.Epsilon)}
		size, classes := c.Model.Arch.Input.Size(), c.Model.Arch.Classes()
		for n := range c.N {
			bounds, margins, err := v.Bounds(ball, c.X[n*size:(n+1)*size], c.Y[n])
			require.NoError(t, err)
			layers := v.net.Layers()
			require.Len(t, bounds, len(layers)-1)
			for k, b := range bounds {
				want, outs := c.Bounds[max(layers[k].Index, layers[k].Add)], len(b.Lower)
				for i := range outs {
					contains(t, want.Lower[n*outs+i], float64(b.Lower[i]), want.Upper[n*outs+i], float64(b.Upper[i]))
				}
			}
			for j := range classes {
				if j != c.Y[n] {
					contains(t, c.Margin[n*classes+j], float64(margins[j]), 0, 0)
				}
			}
		}
	}
}

func contains(t *testing.T, wantLo, lo, wantHi, hi float64) {
	t.Helper()
	exact := 1e-12 * (1 + math.Abs(wantLo) + math.Abs(wantHi)) // of the float64 reference itself
	near := 2e-4 * (1 + math.Abs(wantLo) + math.Abs(wantHi))
	require.LessOrEqual(t, lo, wantLo+exact)
	require.GreaterOrEqual(t, hi, wantHi-exact)
	require.InDelta(t, wantLo, lo, near)
	require.InDelta(t, wantHi, hi, near)
}
