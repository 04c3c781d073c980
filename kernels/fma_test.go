package kernels

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// exactFMA rounds a·b + c once, by big.Float.
func exactFMA(a, b, c float32) float32 {
	x := new(big.Float).SetPrec(2000).SetFloat64(float64(a))
	x.Mul(x, new(big.Float).SetFloat64(float64(b)))
	x.Add(x, new(big.Float).SetFloat64(float64(c)))
	f, _ := x.Float32()
	return f
}

func TestFMA32Exact(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 5))
	draw := func() float32 {
		switch r.IntN(4) {
		case 0: // any finite pattern, denormals included
			for {
				if v := math.Float32frombits(r.Uint32()); v == v && !math.IsInf(float64(v), 0) {
					return v
				}
			}
		case 1: // short significands: many exact ties
			return float32(r.IntN(1<<13)) * float32(math.Ldexp(1, r.IntN(40)-20))
		case 2: // around the denormal range
			return math.Float32frombits(r.Uint32() & 0x80ffffff)
		}
		return r.Float32()*2 - 1
	}
	for range 400_000 {
		a, b, c := draw(), draw(), draw()
		if r.IntN(4) == 0 { // near cancellation
			c = -a * b
		}
		want := exactFMA(a, b, c)
		if want == 0 {
			require.Zero(t, FMA32(a, b, c))
			continue
		}
		require.Equal(t, math.Float32bits(want), math.Float32bits(FMA32(a, b, c)), "%v * %v + %v", a, b, c)
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	require.Equal(t, inf, FMA32(inf, 1, 0))
	require.Equal(t, inf, FMA32(math.MaxFloat32, 2, 0))
	for _, v := range []float32{FMA32(inf, 0, 1), FMA32(nan, 1, 1), FMA32(inf, 1, -inf), FMA32(1, 1, nan)} {
		require.True(t, v != v)
	}
	require.True(t, math.Signbit(float64(FMA32(-1, 0, float32(math.Copysign(0, -1))))))
}
