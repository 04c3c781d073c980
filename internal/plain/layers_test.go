package plain

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
)

// TestRandomLayers: all kinds come up, also at the end.
func TestRandomLayers(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	counts := map[string]int{}
	for range 2000 {
		a := RandomLayers(r)
		for i, l := range a.Layers {
			counts[string(l.Kind)]++
			if i == len(a.Layers)-1 {
				counts["last "+string(l.Kind)]++
			}
			if l.Groups > 1 && l.Groups == l.Out {
				counts["depthwise"]++
			} else if l.Groups > 1 {
				counts["grouped"]++
			}
			if l.Dilation != [2]int{} {
				counts["dilated"]++
			}
			if l.CountPadding {
				counts["padding counts"]++
			}
			if len(l.Slope) > 1 {
				counts["slopes"]++
			}
		}
	}
	t.Log(counts)
	for _, k := range model.Kinds() {
		require.Greater(t, counts[string(k)], 20, k)
		if k != model.Normalize {
			require.Greater(t, counts["last "+string(k)], 5, k)
		}
	}
	for _, what := range []string{"depthwise", "grouped", "dilated", "padding counts", "slopes"} {
		require.Greater(t, counts[what], 20, what)
	}
}

// TestGradient compares with differences, where nothing is near a kink.
func TestGradient(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	compared := 0
	for range 300 {
		m := Random(RandomLayers(r), r)
		x := make([]float64, m.Arch.Input.Size())
		for k := range x {
			x[k] = r.Float64()
		}
		d := make([]float64, m.Arch.Classes())
		for k := range d {
			d[k] = r.NormFloat64()
		}
		grad := Gradient(m, x, d)
		value := func(k int, h float64) (s float64) {
			keep := x[k]
			x[k] += h
			acts := Values(m, x, nil)
			x[k] = keep
			for j, v := range acts[len(acts)-1] {
				s += d[j] * v
			}
			return s
		}
		for range 4 {
			k := r.IntN(len(x))
			const h = 1e-6
			wide, narrow := (value(k, 2*h)-value(k, -2*h))/(4*h), (value(k, h)-value(k, -h))/(2*h)
			scale := 1 + math.Abs(grad[k])
			if math.Abs(wide-narrow) > 1e-6*scale { // a kink
				continue
			}
			compared++
			require.InDelta(t, narrow, grad[k], 1e-5*scale, "%s pixel %d", m.Arch.CanonicalJSON(), k)
		}
	}
	require.Greater(t, compared, 1000)
}

// TestFloat32Near: in any order, float32 stays near float64.
func TestFloat32Near(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	for range 300 {
		m := Random(RandomLayers(r), r)
		x := make([]float32, m.Arch.Input.Size())
		for k := range x {
			x[k] = r.Float32()
		}
		want := Float64(m, x)
		for _, r := range []*rand.Rand{nil, r} {
			got := Float32(m, x, r)
			require.Len(t, got, len(want))
			scale := 1.0
			for i := range want {
				for k, v := range want[i] {
					scale = max(scale, math.Abs(v))
					require.InDelta(t, v, got[i][k], 1e-3*scale, "%s", m.Arch.CanonicalJSON())
				}
			}
		}
	}
}

// TestFMA compares with exact arithmetic, ties included.
func TestFMA(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	draw := func() float32 {
		v := float32(r.NormFloat64())
		return math.Float32frombits(math.Float32bits(v) &^ (1<<r.IntN(24) - 1)) // ties need few bits
	}
	for range 200_000 {
		a, b, c := draw(), draw(), draw()
		c = float32(math.Ldexp(float64(c), r.IntN(80)-40))
		exact := new(big.Float).SetPrec(400)
		exact.Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
		exact.Add(exact, big.NewFloat(float64(c)))
		want, _ := exact.Float32()
		require.Equal(t, want, fma32(a, b, c), "%v·%v + %v", a, b, c)
	}
}
