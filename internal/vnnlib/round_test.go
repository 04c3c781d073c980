package vnnlib

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/round"
)

func rat(t *testing.T, s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	require.True(t, ok, s)
	return r
}

// TestRounding: around numbers that float32 has, lacks and cannot reach.
func TestRounding(t *testing.T) {
	tiny, inf := float32(math.SmallestNonzeroFloat32), float32(math.Inf(1))
	for s, want := range map[string][2]float32{
		"0": {0, 0}, "-0": {0, 0}, "1": {1, 1}, "1/3": {0.33333331, 0.33333334}, "-1/3": {-0.33333334, -0.33333331},
		"1e-60": {0, tiny}, "-1e-60": {-tiny, 0},
		"1e60": {math.MaxFloat32, inf}, "-1e60": {-inf, -math.MaxFloat32},
		"340282350000000000000000000000000000000": {math.MaxFloat32, inf}, // above by less than half a unit
	} {
		down, up := round.Down(rat(t, s)), round.Up(rat(t, s))
		require.Equal(t, want, [2]float32{down, up}, s)
		require.False(t, math.Signbit(float64(down)) && down == 0 || math.Signbit(float64(up)) && up == 0, s)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		v := new(big.Rat).SetFrac64(r.Int64()-1<<62, 1+r.Int64()>>r.IntN(62))
		down, up := round.Down(v), round.Up(v)
		require.LessOrEqual(t, new(big.Rat).SetFloat64(float64(down)).Cmp(v), 0)
		require.GreaterOrEqual(t, new(big.Rat).SetFloat64(float64(up)).Cmp(v), 0)
		require.True(t, down == up || math.Nextafter32(down, inf) == up, "%v: %v, %v", v, down, up)
	}
}

func TestInwardOutward(t *testing.T) {
	next := func(f float32, to float64) float32 { return math.Nextafter32(f, float32(to)) }
	for _, c := range []struct {
		iv       Interval
		out      [2]float32
		in       [2]float32
		nonempty bool
	}{
		{Interval{Lo: rat(t, "0"), Hi: rat(t, "1")}, [2]float32{0, 1}, [2]float32{0, 1}, true},
		{Interval{Lo: rat(t, "0"), Hi: rat(t, "1"), LoOpen: true, HiOpen: true}, [2]float32{0, 1}, [2]float32{next(0, 1), next(1, 0)}, true},
		{Interval{Lo: rat(t, "1/3"), Hi: rat(t, "2/3"), LoOpen: true}, [2]float32{0.33333331, 0.6666667}, [2]float32{0.33333334, 0.66666663}, true},
		{Interval{Lo: rat(t, "1/3"), Hi: rat(t, "1/3")}, [2]float32{0.33333331, 0.33333334}, [2]float32{0.33333334, 0.33333331}, false},
		{Interval{Lo: rat(t, "1e60"), Hi: rat(t, "1e61")}, [2]float32{math.MaxFloat32, float32(math.Inf(1))}, [2]float32{float32(math.Inf(1)), math.MaxFloat32}, false},
	} {
		lo, hi := c.iv.Outward()
		require.Equal(t, c.out, [2]float32{lo, hi}, "%v", c.iv)
		lo, hi, ok := c.iv.Inward()
		require.Equal(t, c.in, [2]float32{lo, hi}, "%v", c.iv)
		require.Equal(t, c.nonempty, ok, "%v", c.iv)
	}
}
