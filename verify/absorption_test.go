package verify

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// absorption returns a network that computes 1 + Σ of n − 1 products that a float32 sum
// swallows one by one if it starts from the 1, and takes off a threshold between both
// results; and what is then executed. Kinds differ in where the 1 comes from.
func absorption(t *testing.T, kind string, n int) (m *model.Model, executed float32) {
	t.Helper()
	column := func(h, stride, pad int) model.Layer { // a sum down the picture
		return model.Layer{
			Kind: model.Conv, Out: 1, Kernel: [2]int{h, 1}, Stride: [2]int{stride, 1}, Padding: [2]int{pad, 0},
			Inputs: []int{model.NetInput},
		}
	}
	add := func(p, q int) model.Layer { return model.Layer{Kind: model.Add, Inputs: []int{p, q}} }
	var layers []model.Layer
	var product, one []int // layers
	switch kind {
	case "input":
		layers = []model.Layer{column(2*n-1, 1, n-1), add(0, model.NetInput), relu, fc(2)}
	case "activation":
		layers = []model.Layer{column(1, 1, 0), relu, column(2*n-1, 1, n-1), add(1, 2), relu, fc(2)}
		layers[2].Inputs = nil
		product, one = []int{2}, []int{0}
	case "projection": // in whose sum the products are taken up
		layers = []model.Layer{column(1, n, 0), column(n, 1, 0), add(0, 1), relu, fc(2)}
		product, one = []int{1}, []int{0}
	case "branch": // which is taken up in the sum of products
		layers = []model.Layer{column(n, 1, 0), column(1, n, 0), add(0, 1), relu, fc(2)}
		one = []int{1}
	case "chain": // likewise, an add between; half of the products come last
		layers = []model.Layer{
			column(n, 1, 0), column(1, n, 0), add(0, 1), column(n, 1, 0), add(2, 3), relu, fc(2),
		}
		product, one = []int{0, 3}, []int{1}
	}
	a := &model.Architecture{Name: "absorption", Input: model.Shape{C: 1, H: n, W: 1}, Layers: layers}
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	for i := range m.Params {
		clear(m.Params[i].W)
		clear(m.Params[i].B)
	}
	for _, i := range one {
		m.Params[i].W[0] = 1
	}
	if product == nil {
		product = []int{0}
	}
	swallowed := float32(0.9 * 0x1p-24)
	for k := range n - 1 {
		w := m.Params[product[k%len(product)]].W
		w[len(w)-n+1+k] = swallowed // of the pixels after the first
	}
	last := len(layers) - 1
	const scale = 1 << 20
	threshold := 1 + float64(swallowed)*float64(n-1)/2
	m.Params[last].W[0], m.Params[last].B[0] = scale, -float32(scale*threshold)

	sum := float32(1)
	for range n - 1 {
		sum += swallowed
	}
	require.Equal(t, float32(1), sum)
	executed = float32(scale*sum) + m.Params[last].B[0]
	require.Negative(t, executed)
	return m, executed
}

// TestResidualAbsorption: no bound is above what some order of summation computes.
func TestResidualAbsorption(t *testing.T) {
	for _, kind := range []string{"input", "activation", "projection", "branch", "chain"} {
		for _, n := range []int{17, 257} {
			m, executed := absorption(t, kind, n)
			x := make([]float32, n)
			for k := range x {
				x[k] = 1
			}
			for method := MethodIBP; method <= MethodAlphaCROWN; method++ {
				for _, norm := range []net.Norm{net.Linf, net.L2, net.L1} {
					t.Run(fmt.Sprintf("%s/%d/%v/%v", kind, n, method, norm), func(t *testing.T) {
						ball := net.Ball{Norm: norm, Eps: net.MustEpsilon("0")}
						v := newCROWN(t, m, 1, Options{Method: method, Iterations: 2})
						bounds, low, err := v.Bounds(ball, x, 0)
						require.NoError(t, err)
						require.LessOrEqual(t, low[1], executed)
						last := bounds[len(bounds)-1]
						require.LessOrEqual(t, last.Lower[0], float32(1))
						require.GreaterOrEqual(t, float64(last.Upper[0]), 1+float64(float32(0.9*0x1p-24))*float64(n-1))
						proof, err := v.Prove(t.Context(), ball, x, 0)
						require.NoError(t, err)
						require.False(t, proof.Certified)
						ibp := newIBP(t, m, 1)
						_, low, err = ibp.Bounds(ball, x, 0)
						require.NoError(t, err)
						require.LessOrEqual(t, low[1], executed)
						require.False(t, math.IsInf(float64(low[1]), -1))
					})
				}
			}
		}
	}
}
