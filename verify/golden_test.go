package verify

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/model"
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

// TestGoldenIntervals: the same for networks of other layers and intervals of auto_LiRPA,
// but for what the rounding of a batchnorm's factors and 2⁻²⁰ for sigmoids make of them.
func TestGoldenIntervals(t *testing.T) {
	f, err := os.Open("../testdata/golden/intervals.npz")
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	list, err := dataset.ReadNPZ(f.Name(), f, info.Size())
	require.NoError(t, err)
	arrays := map[string]any{}
	for _, v := range list {
		arrays[v.Name] = v.Data
	}
	norm := model.Layer{Kind: model.BatchNorm, Eps: 1e-3}
	join := func(k model.Kind, in ...int) model.Layer { return model.Layer{Kind: k, Inputs: in} }
	for _, a := range []*model.Architecture{
		{Name: "lenet", Input: model.Shape{C: 1, H: 8, W: 8}, Layers: []model.Layer{
			conv(4, 3, 1, 1), norm, relu, pool(model.MaxPool, 2, 2, 0), conv(6, 3, 1, 0), sigmoid, pool(model.AvgPool, 2, 1, 0), fc(5),
		}},
		{Name: "mobile", Input: model.Shape{C: 2, H: 6, W: 6}, Layers: []model.Layer{
			grouped(2, conv(2, 3, 1, 1)), norm, sigmoid, conv(4, 1, 1, 0), leaky(0.125), grouped(2, conv(6, 3, 1, 0)), tanh, fc(4),
		}},
		{Name: "joined", Input: model.Shape{C: 2, H: 5, W: 5}, Layers: []model.Layer{
			conv(3, 3, 1, 1), norm, from(-1, conv(3, 3, 1, 1)), add(1, 2), relu, from(3, tanh), join(model.Concat, 4, 5), pool(model.MaxPool, 3, 1, 1), fc(4),
		}},
	} {
		m, err := model.Random(a, 1)
		require.NoError(t, err)
		for i := range m.Params {
			p := &m.Params[i]
			for name, v := range map[string]*[]float32{"w": &p.W, "b": &p.B, "mean": &p.Mean, "var": &p.Var} {
				if got, ok := arrays[fmt.Sprintf("%s.%d.%s", a.Name, i, name)].([]float32); ok {
					require.Len(t, got, len(*v))
					*v = got
				}
			}
		}
		v := newIBP(t, m, 1)
		x, size := arrays[a.Name+".x"].([]float32), a.Input.Size()
		for n := range len(x) / size {
			bounds, _, err := v.Bounds(net.Ball{Eps: net.MustEpsilon("0.05")}, x[n*size:(n+1)*size], 0)
			require.NoError(t, err)
			for k, b := range bounds {
				node := &v.net.Nodes()[k]
				layer := node.Index
				if f, ok := node.Op.(*net.Affine); ok {
					layer = max(layer, f.Add)
				}
				lower := arrays[fmt.Sprintf("%s.lower.%d", a.Name, layer)].([]float64)[n*len(b.Lower):]
				upper := arrays[fmt.Sprintf("%s.upper.%d", a.Name, layer)].([]float64)[n*len(b.Lower):]
				for o, lo := range b.Lower {
					scale := 1 + math.Abs(lower[o]) + math.Abs(upper[o])
					require.LessOrEqual(t, float64(lo), lower[o]+1e-6*scale, "%s %s", a.Name, node.Name)
					require.GreaterOrEqual(t, float64(b.Upper[o]), upper[o]-1e-6*scale)
					require.InDelta(t, lower[o], lo, 3e-4*scale, "%s %s", a.Name, node.Name)
					require.InDelta(t, upper[o], b.Upper[o], 3e-4*scale)
				}
			}
		}
	}
}
