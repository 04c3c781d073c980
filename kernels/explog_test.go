package kernels

import (
	"fmt"
	"hash/fnv"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// ulp32 is the distance between float32 neighbours at v.
func ulp32(v float64) float64 {
	_, e := math.Frexp(v) // v in [2^(e−1), 2^e)
	return math.Ldexp(1, max(e-24, -149))
}

// sweep calls f for every step-th float32 pattern of one sign.
func sweep(sign uint32, step uint32, f func(x float32)) {
	for b := uint32(0); b <= 0x7f800000; b += step {
		f(math.Float32frombits(b | sign<<31))
	}
}

// The references are math.Exp and math.Log in float64, good to an ulp of
// float64: 2·10⁻⁹ ulp of float32.

func TestExpAccuracy(t *testing.T) {
	worst := 0.0
	for sign := range uint32(2) {
		sweep(sign, 4001, func(x float32) {
			want := math.Exp(float64(x))
			if want > math.MaxFloat32 || want == 0 {
				return
			}
			worst = max(worst, math.Abs(float64(Exp(x))-want)/ulp32(want))
		})
	}
	require.LessOrEqual(t, worst, 0.501, "ulp")
	require.Greater(t, worst, 0.49, "the measure measures")
}

func TestLogAccuracy(t *testing.T) {
	worst := 0.0
	measure := func(x float32) {
		if x > 0 && x != 1 && !math.IsInf(float64(x), 1) {
			want := math.Log(float64(x))
			worst = max(worst, math.Abs(float64(Log(x))-want)/ulp32(want))
		}
	}
	sweep(0, 2003, measure)
	for i := range 200_000 { // near 1, where the logarithm cancels
		measure(math.Float32frombits(math.Float32bits(1) + uint32(i-100_000)))
	}
	require.LessOrEqual(t, worst, 0.501, "ulp")
	require.Greater(t, worst, 0.49, "the measure measures")
}

func TestExpLogSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	negZero := float32(math.Copysign(0, -1))
	for _, c := range []struct{ x, want float32 }{
		{0, 1},
		{negZero, 1},
		{inf, inf},
		{-inf, 0},
		{math.MaxFloat32, inf},
		{-math.MaxFloat32, 0},
		{88.72284, inf},
		{88.72283, 3.4027985e38}, // the last finite result
		{89, inf},
		{89.00001, inf},
		{-104, 0},
		{-105, 0},
		{-105.00001, 0},
		{-103.97207, 1e-45},
		{-103.97208, 1e-45},
		{-103.972084, 0}, // half the smallest denormal
		{1e-45, 1},
		{-1e-45, 1},
		{1, math.E},
	} {
		require.Equal(t, math.Float32bits(c.want), math.Float32bits(Exp(c.x)), "exp %v = %v", c.x, Exp(c.x))
	}
	for _, c := range []struct{ x, want float32 }{
		{1, 0}, {0, -inf}, {negZero, -inf}, {inf, inf}, {1e-45, -103.27893}, {math.MaxFloat32, 88.72284}, {math.E, 0.99999994}, {2, math.Ln2},
	} {
		require.Equal(t, math.Float32bits(c.want), math.Float32bits(Log(c.x)), "log %v = %v", c.x, Log(c.x))
	}
	for _, v := range []float32{Exp(nan), Log(nan), Log(-1e-45), Log(-1), Log(-inf)} {
		require.True(t, v != v)
	}
}

// TestExpLogMonotone looks at runs of neighbours all over the range.
func TestExpLogMonotone(t *testing.T) {
	for b := uint32(0); b < 0x7f800000; b += 0x10001 {
		x := math.Float32frombits(b)
		for range 4 {
			next := math.Nextafter32(x, float32(math.Inf(1)))
			if Exp(x) > Exp(next) || Exp(-x) < Exp(-next) || Log(x) > Log(next) {
				require.Failf(t, "not monotone", "at %v", x)
			}
			x = next
		}
	}
}

// TestExpLogBits pins the bits, so that every platform is held to the same.
func TestExpLogBits(t *testing.T) {
	e, l := fnv.New64a(), fnv.New64a()
	buf := make([]byte, 4)
	bits := func(v float32) []byte {
		b := math.Float32bits(v)
		if v != v {
			b = 0x7fc00000
		}
		buf[0], buf[1], buf[2], buf[3] = byte(b), byte(b>>8), byte(b>>16), byte(b>>24)
		return buf
	}
	for sign := range uint32(2) {
		sweep(sign, 16001, func(x float32) {
			e.Write(bits(Exp(x)))
			l.Write(bits(Log(x)))
		})
	}
	for i := range 20_000 { // the range of softmax
		e.Write(bits(Exp(-float32(i) / 512)))
		l.Write(bits(Log(1 + float32(i)/512)))
	}
	require.Equal(t, "exp 5264ac6998e26602, log 9b74201fa2341e15", fmt.Sprintf("exp %x, log %x", e.Sum(nil), l.Sum(nil)))
}
