package check_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/check"
)

// TestDecay: e⁻ˣ errs by less than is said.
func TestDecay(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 5))
	worst := 0.0
	for n := range 5000 {
		x := math.Exp(r.Float64()*20 - 14)
		if n%2 == 0 {
			x = float64(r.IntN(600))*math.Ln2/2 + r.NormFloat64()*1e-3
		}
		if !(x >= 0 && x < 390) {
			continue
		}
		// σ(−x)/(1 − σ(−x)) = e⁻ˣ
		v := exactCurve(model.Sigmoid, float(-x))
		e := float(0).Quo(v, float(0).Sub(float(1), v))
		off, _ := e.Quo(e.Sub(float(check.Decay(x)), e), float(check.Decay(x))).Float64()
		worst = max(worst, math.Abs(off))
	}
	t.Logf("2^%.1f", math.Log2(worst))
	require.Less(t, worst, 0x1p-46)
	require.Equal(t, 1.0, check.Decay(0))
	require.Zero(t, check.Decay(500))
	require.Positive(t, check.Decay(499.9))
}

// value is the exact value of an activation at z.
func value(l model.Layer, z float64) *big.Float {
	var f *big.Rat
	switch l.Kind {
	case model.Sigmoid, model.Tanh:
		return exactCurve(l.Kind, float(z))
	case model.ReLU:
		f = rat(max(0, z))
	case model.Clip:
		f = rat(min(float64(l.Max), max(float64(l.Min), z)))
	default:
		if f = rat(z); z < 0 {
			f.Mul(f, rat(float64(l.Slope[0])))
		}
	}
	return float(0).SetRat(f)
}

// ends draws an interval, mostly one that is hard for an activation.
func ends(r *rand.Rand) (l, u float64) {
	scale := math.Exp(r.Float64()*8 - 5)
	switch r.IntN(8) {
	case 0:
		scale = math.Exp(r.Float64()*200 - 100)
	case 1:
		scale = 1e-3 * r.Float64()
	}
	l, u = r.NormFloat64()*scale, r.NormFloat64()*scale
	switch r.IntN(8) {
	case 0:
		u = l
	case 1:
		u = l + math.Abs(l)*math.Exp(-30*r.Float64())
	case 2:
		l *= 1e-6
	case 3:
		u = 0
	case 4:
		l = -u
	}
	return min(l, u), max(l, u)
}

// TestLinesOfActivations: lines of activations are on their side of the function wherever it is
// compared, touch it, and move little when the interval does.
func TestLinesOfActivations(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 6))
	for _, layer := range []model.Layer{
		relu, leaky(0.1), leaky(-0.5), leaky(1), leaky(2.5), leaky(-1e-30), leaky(1e30),
		clip(-1, 1), clip(0, 6), clip(0.25, 0.3), clip(-3e38, 3e38), sigmoid, tanh,
	} {
		t.Run(fmt.Sprint(layer.Kind, layer.Slope, layer.Min, layer.Max), func(t *testing.T) {
			curved := layer.Kind == model.Sigmoid || layer.Kind == model.Tanh
			for range 400 {
				l, u := ends(r)
				alpha := []float64{-1, 0, 1, r.Float64()}[r.IntN(4)]
				low, high, interval := check.LinesOf(layer, l, u, alpha)
				points := []float64{l, u, l/2 + u/2}
				for range 6 {
					points = append(points, l+(u-l)*r.Float64(), l+(u-l)*math.Pow(r.Float64(), 8), u-(u-l)*math.Pow(r.Float64(), 8))
				}
				for _, z := range []float64{0, float64(layer.Min), float64(layer.Max)} {
					points = append(points, z, math.Nextafter(z, inf64), math.Nextafter(z, -inf64))
				}
				nearLow, nearHigh := inf64, inf64
				for _, z := range points {
					if !(z >= l && z <= u) {
						continue
					}
					f := value(layer, z)
					line := func(a [2]float64) *big.Float {
						v := float(0).Mul(float(a[0]), float(z))
						return v.Add(v, float(a[1]))
					}
					say := func() string { return fmt.Sprintf("[%g, %g] at %g, α %g: %v %v", l, u, z, alpha, low, high) }
					gap := float(0).Sub(f, line(low))
					if gap.Sign() < 0 {
						require.Fail(t, "the low line is above", say())
					}
					d, _ := gap.Float64()
					nearLow = min(nearLow, d)
					if gap.Sub(line(high), f); gap.Sign() < 0 {
						require.Fail(t, "the high line is below", say())
					}
					d, _ = gap.Float64()
					nearHigh = min(nearHigh, d)
					require.GreaterOrEqual(t, f.Cmp(float(interval[0])), 0, say())
					require.LessOrEqual(t, f.Cmp(float(interval[1])), 0, say())
				}
				size := max(math.Abs(l), math.Abs(u))
				if curved || size > 1e10 || max(math.Abs(low[0]), math.Abs(high[0])) > 1e10 {
					continue
				}
				require.Less(t, max(nearLow, nearHigh), 1e-12*(1+size), "[%g, %g]: lines that do not touch", l, u)
			}
		})
	}
}

var inf64 = math.Inf(1)

// TestCurveLines: lines of sigmoid and tanh are the tightest in area among chords and
// tangents, and depend on the interval continuously.
func TestCurveLines(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 7))
	for _, layer := range []model.Layer{sigmoid, tanh} {
		f := func(z float64) float64 { v, _ := value(layer, z).Float64(); return v }
		for range 40 {
			l, u := ends(r)
			if max(-l, u) > 30 || u-l < 1e-3 {
				continue
			}
			_, high, _ := check.LinesOf(layer, l, u, -1)
			at := func(z float64) float64 { return high[0]*z + high[1] }
			middle := l/2 + u/2
			// The area is the height at the middle times u − l.
			for n := range 24 {
				p := l + (u-l)*float64(n)/23 // a tangent at p, if it is above f everywhere
				slope := (f(p+1e-6) - f(p-1e-6)) / 2e-6
				above := true
				for k := range 30 {
					z := l + (u-l)*float64(k)/29
					above = above && f(p)+slope*(z-p) >= f(z)-1e-12
				}
				if above {
					require.LessOrEqual(t, at(middle), f(p)+slope*(middle-p)+1e-5, "%s [%g, %g]: the tangent at %g is better", layer.Kind, l, u, p)
				}
			}
			off := 1e-7 * (u - l)
			_, other, _ := check.LinesOf(layer, l-off*r.Float64(), u+off*r.Float64(), -1)
			for _, z := range []float64{l, middle, u} {
				require.InDelta(t, at(z), other[0]*z+other[1], 2e-6, "%s [%g, %g]", layer.Kind, l, u)
			}
		}
	}
}

// TestAbove: a line over sigmoid or tanh is above it whatever its slope is, and wherever
// its intercept is derived from.
func TestAbove(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 10))
	for n := range 600 {
		layer := []model.Layer{sigmoid, tanh}[n%2]
		l, u := ends(r)
		if max(-l, u) > 1e6 {
			continue
		}
		c := max(l, 0)
		a, at := r.Float64(), c+max(0, u-c)*r.Float64()
		b := check.Above(layer.Kind, a, at, l, u)
		for k := range 30 {
			z := l + (u-l)*float64(k)/29
			line := float(0).Mul(float(a), float(z))
			require.GreaterOrEqual(t, line.Add(line, float(b)).Cmp(value(layer, z)), 0, "%v·z over %s on [%v, %v] from %v, at %v", a, layer.Kind, l, u, at, z)
		}
	}
}

// TestPlanes: the planes of a maxpool are on their sides of it at all corners and inside,
// and are the first of equals.
func TestPlanes(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 8))
	exact := 0
	for range 3000 {
		n := 1 + r.IntN(5)
		lo, hi := make([]float64, n), make([]float64, n)
		for k := range lo {
			lo[k], hi[k] = ends(r)
			if r.IntN(3) == 0 { // ties
				lo[k], hi[k] = float64(r.IntN(3)), float64(2+r.IntN(2))
			}
		}
		j, i, slope, intercept := check.PlanesOf(lo, hi)
		if slope == 1 && intercept == 0 {
			exact++
			require.Equal(t, i, j)
		}
		require.True(t, slope >= 0 && slope <= 1)
		for point := range 40 {
			x, most := make([]float64, n), -inf64
			for k := range x {
				x[k] = []float64{lo[k], hi[k]}[point>>k&1]
				if point >= 32 {
					x[k] = lo[k] + (hi[k]-lo[k])*r.Float64()
				}
				most = max(most, x[k])
			}
			require.LessOrEqual(t, x[j], most)
			plane := float(0).Mul(float(slope), float(x[i]))
			require.LessOrEqual(t, float(most).Cmp(plane.Add(plane, float(intercept))), 0, "%v %v", lo, hi)
		}
	}
	require.Greater(t, exact, 300)
	j, i, slope, _ := check.PlanesOf([]float64{0, 0, 0, 0}, []float64{1, 2, 2, 1})
	require.Equal(t, []any{1, 1, 0.0}, []any{j, i, slope})
	j, _, _, _ = check.PlanesOf([]float64{0, 0, 0}, []float64{2 - 1e-6, 2, 1})
	require.Zero(t, j, "rounding does not decide")
}
