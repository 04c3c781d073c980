package check_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
)

// TestPlanesOfReLUs: planes above relus come close to the smallest value of what is concave in the
// input, so that it is at a corner of the box, and never above it: closer than lines do.
func TestPlanesOfReLUs(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 7))
	norm := model.Layer{Kind: model.Normalize, Mean: []float32{0.3, 0.5}, Std: []float32{0.5, 0.7}}
	archs := []*model.Architecture{
		{Name: "fc", Input: model.Shape{C: 1, H: 2, W: 3}, Layers: []model.Layer{fc(4), relu, fc(1)}},
		{Name: "conv", Input: model.Shape{C: 2, H: 2, W: 2}, Layers: []model.Layer{norm, conv(2, 2, 1, 1), relu, fc(1)}},
		{Name: "strided", Input: model.Shape{C: 1, H: 2, W: 4}, Layers: []model.Layer{{
			Kind: model.Conv, Out: 2, Kernel: [2]int{2, 3}, Stride: [2]int{1, 2}, Padding: [2]int{0, 1},
		}, relu, fc(1)}},
	}
	gaps, lines, close := 0.0, 0.0, 0
	rounds := testsize.Of(30, 12)
	for n := range rounds {
		a := archs[n%len(archs)]
		m, err := model.Random(a, uint64(n))
		require.NoError(t, err)
		last := len(a.Layers) - 1
		shapes, err := a.Shapes()
		require.NoError(t, err)
		hidden := shapes[last]
		b := m.Params[last-2].B
		for c := range b {
			b[c] = []float32{0.1 * float32(r.NormFloat64()), 10}[c%2] // the others are active
		}
		w := m.Params[last].W
		require.Len(t, w, hidden.Size())
		for k := range w {
			if w[k] *= 3; k/(hidden.H*hidden.W)%2 == 0 {
				w[k] = -3 * float32(math.Abs(float64(w[k])))
			}
		}
		x := make([]float32, a.Input.Size())
		for k := range x {
			x[k] = 0.3 + 0.4*r.Float32()
		}
		c := claim(m, x, -1, "linf", "1/4", check.BaB)
		c.Rows, c.Offsets, c.Level = [][]float64{{1}}, []float64{0}, []string{check.Real, check.Executed}[n%2]
		c = byTrees(t, c)
		bound := func(shares []float32) float64 {
			p, err := newChecker(t, m).Begin(c, x, check.Unknown)
			require.NoError(t, err)
			vector := []fields{}
			if shares != nil {
				vector = append(vector, fields{"relu": last - 1, "window": []int{0, a.Input.H, 0, a.Input.W}, "point": cert.Alpha(shares)})
			}
			s, err := check.ParseStep(stepLine(t, c.Sum, 1, fields{
				"layer": last, "elements": []int{0}, "low": floatText(-1e6), "high": floatText(1e6), "slopes": [][]fields{vector},
				"trees": []fields{{"element": 0, "end": "low", "nodes": []int{1}, "beta": floatText()}},
			}))
			require.NoError(t, err)
			low, err := p.Lows(s)
			require.NoError(t, err)
			return low[0]
		}
		smallest, corner := lowestCorner(m, x)
		line := bound(nil)
		y := make([]float32, len(x)) // shares: from halfway to the corner a climb by trial
		for k := range y {
			y[k] = 0.25 + 0.5*corner[k]
		}
		best := bound(y)
		for range testsize.Of(200, 100) {
			z := make([]float32, len(y))
			for k, v := range y {
				if z[k] = v; r.IntN(3) == 0 {
					z[k] = min(1, max(0, v+float32(0.2*r.NormFloat64())))
				}
			}
			if v := bound(z); v > best {
				best, y = v, z
			}
		}
		require.LessOrEqual(t, rat(best).Cmp(smallest), 0, "%s: %v, but %v at %v", a.Name, best, smallest.FloatString(9), corner)
		least, _ := smallest.Float64()
		if line < least-1e-3 {
			gaps, lines = gaps+least-best, lines+least-line
		}
		if best > least-1e-4 {
			close++
		}
	}
	t.Logf("%d of %d bounds within 1e-4; gaps %.3f of those of lines", close, rounds, gaps/lines)
	require.Greater(t, close, rounds/8)
	require.Less(t, gaps, lines/2)
}

// lowestCorner finds the smallest output over the corners of the box of 1/4 around x, exactly, and
// which ends that corner has: 1 the upper ones.
func lowestCorner(m *model.Model, x []float32) (smallest *big.Rat, ends []float32) {
	for at := range 1 << len(x) {
		p, e := make([]*big.Rat, len(x)), make([]float32, len(x))
		for k, v := range x {
			p[k], e[k] = rat(max(0, float64(v)-0.25)), 0
			if at>>k&1 == 1 {
				p[k], e[k] = rat(min(1, float64(v)+0.25)), 1
			}
		}
		if v := exactOutputs(m, p)[0]; smallest == nil || v.Cmp(smallest) < 0 {
			smallest, ends = v, e
		}
	}
	return smallest, ends
}
