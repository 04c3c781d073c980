package net

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// interval is [0, 1] ∩ [x − ε, x + ε], exactly.
func interval(x float32, eps *big.Rat) (lo, hi *big.Rat) {
	c := new(big.Rat).SetFloat64(float64(x))
	lo, hi = new(big.Rat).Sub(c, eps), new(big.Rat).Add(c, eps)
	if lo.Sign() < 0 {
		lo.SetInt64(0)
	}
	if hi.Cmp(big.NewRat(1, 1)) > 0 {
		hi.SetInt64(1)
	}
	return lo, hi
}

// round returns the largest float32 ≤ r and the smallest ≥ r.
func round(r *big.Rat) (down, up float32) {
	f, exact := r.Float32()
	switch {
	case exact:
		return f, f
	case new(big.Rat).SetFloat64(float64(f)).Cmp(r) < 0:
		return f, math.Nextafter32(f, 2)
	}
	return math.Nextafter32(f, -2), f
}

func requireBoxes(t *testing.T, eps string, pixels []float32) {
	t.Helper()
	ball := Ball{Linf, MustEpsilon(eps)}
	n := len(pixels)
	inLo, inHi, outLo, outHi := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	ball.Box().Inner(inLo, inHi, pixels)
	ball.Box().Outer(outLo, outHi, pixels)
	r := ball.Eps.Rat()
	for i, x := range pixels {
		lo, hi := interval(x, r)
		loDown, loUp := round(lo)
		hiDown, hiUp := round(hi)
		require.Equal(t, [2]float32{loDown, hiUp}, [2]float32{outLo[i], outHi[i]}, "outer box of %b, ε = %s", x, eps)
		require.Equal(t, [2]float32{loUp, hiDown}, [2]float32{inLo[i], inHi[i]}, "inner box of %b, ε = %s", x, eps)
		if r.Sign() == 0 {
			require.Equal(t, [4]float32{x, x, x, x}, [4]float32{inLo[i], inHi[i], outLo[i], outHi[i]})
		}
	}
}

// TestBoxes: the outer box is the smallest that contains the exact ball, the
// inner box the largest inside it.
func TestBoxes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	pixels := []float32{0, 0, 1, 1, 0, 0.5, 0.5, 0.5, 0.1, 1.0 / 3, 0x1p-149, 0x1p-126, 0x1p-60, 1e-30, 1e-10, 8.0 / 255, 1 - 0x1p-24, 0x1p-24, 0x1p-25}
	for i := range 256 {
		pixels = append(pixels, float32(i)/255)
	}
	for range 300 {
		pixels = append(pixels, r.Float32(), math.Float32frombits(r.Uint32N(math.Float32bits(1)+1)))
	}
	for _, eps := range []string{"0", "1/3", "0.1", "0.3", "8/255", "2/255", "1/255", "0.5", "1e-30", "1e-60", "1", "1/16777216", "1/33554432"} {
		requireBoxes(t, eps, pixels)
	}
	for range 100 {
		requireBoxes(t, new(big.Rat).SetFrac64(r.Int64N(1<<20), 1<<20+r.Int64N(1<<20)).RatString(), pixels[:20])
	}
}

// TestBoxesNearTies: x ± ε can be so near a float32 that ε rounded to float64
// falls on its other side: when x is far smaller than ε, and when they cancel.
func TestBoxesNearTies(t *testing.T) {
	for _, c := range []struct {
		x   float32
		eps string
	}{
		{0x1p-60, "576460752303423487/1152921504606846976"},    // 1/2 − 2⁻⁶⁰: x + ε = 1/2
		{0x1p-60, "288230376151711743/576460752303423488"},     // 1/2 − 2⁻⁵⁹: x + ε just below 1/2
		{0x1p-60, "1152921504606846977/2305843009213693952"},   // 1/2 + 2⁻⁶¹: x + ε just above 1/2
		{0x1p-60, "1/1152921504606846976"},                     // x − ε = 0
		{0x1p-60, "1152921504606846975/1152921504606846976"},   // 1 − 2⁻⁶⁰: x + ε = 1
		{0x1p-60, "13835058055282163711/18446744073709551616"}, // 3/4 − 2⁻⁶⁴
		{1, "0.99999999999999999999"},
		{1, "0.99999999999999990001"},
		{0.5, "0.49999999999999999999"},
		{0.75, "0.250000000000000000001"},
		{0.1, "0.1000000014901161193847657"}, // float32(0.1), its last digit rounded
	} {
		requireBoxes(t, c.eps, []float32{c.x})
	}
}

func TestBallContains(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, eps := range []string{"0", "1/3", "0.1", "8/255", "1e-30", "1", "0.25"} {
		ball := Ball{Linf, MustEpsilon(eps)}
		for range 200 {
			const n = 6
			c, lo, hi := make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range c {
				c[i] = float32(r.IntN(256)) / 255
			}
			ball.Box().Inner(lo, hi, c)
			require.True(t, ball.Contains(c, c))
			require.True(t, ball.Contains(c, lo))
			require.True(t, ball.Contains(c, hi))
			for i := range c { // one step beyond the inner box is outside
				for _, v := range []float32{math.Nextafter32(lo[i], -1), math.Nextafter32(hi[i], 2)} {
					x := append([]float32(nil), c...)
					x[i] = v
					require.False(t, ball.Contains(c, x), "centre %v, pixel %v, ε = %s", c[i], v, eps)
				}
			}
		}
	}
}

// TestBallContainsExact compares both norms with rationals on random images
// near the boundary.
func TestBallContainsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	inside := 0
	for range 3000 {
		n := 1 + r.IntN(5)
		c, x := make([]float32, n), make([]float32, n)
		sum, largest := new(big.Rat), new(big.Rat)
		for i := range c {
			c[i], x[i] = r.Float32(), r.Float32()
			d := new(big.Rat).Sub(new(big.Rat).SetFloat64(float64(c[i])), new(big.Rat).SetFloat64(float64(x[i])))
			if d.Abs(d).Cmp(largest) > 0 {
				largest.Set(d)
			}
			sum.Add(sum, new(big.Rat).Mul(d, d))
		}
		// The distance in 20 digits: a radius below, at or above it.
		norm := Norm(r.IntN(2))
		dist, _ := new(big.Float).SetPrec(200).SetRat(largest), 0
		if norm == L2 {
			dist = new(big.Float).SetPrec(200).Sqrt(new(big.Float).SetPrec(200).SetRat(sum))
		}
		eps := MustEpsilon(dist.Text('f', 10+r.IntN(12)))
		want := largest.Cmp(eps.Rat()) <= 0
		if norm == L2 {
			want = sum.Cmp(new(big.Rat).Mul(eps.Rat(), eps.Rat())) <= 0
		}
		require.Equal(t, want, Ball{norm, eps}.Contains(c, x), "%v around %v at ε = %s (%s)", x, c, eps, norm)
		if want {
			inside++
		}
	}
	require.InDelta(t, 1500, inside, 200, "both sides are tried")

	// 3-4-5: on the sphere, exactly
	c, x := []float32{0.5, 0, 1}, []float32{0.125, 0.5, 1}
	require.True(t, Ball{L2, MustEpsilon("0.625")}.Contains(c, x))
	require.True(t, Ball{L2, MustEpsilon("5/8")}.Contains(c, x))
	require.False(t, Ball{L2, MustEpsilon("0.62499999999999999999999")}.Contains(c, x))
	require.True(t, Ball{Linf, MustEpsilon("0.5")}.Contains(c, x))
	require.False(t, Ball{Linf, MustEpsilon("0.49999999999999999999999")}.Contains(c, x))
}

func TestBallContainsRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, norm := range []Norm{Linf, L2} {
		ball := Ball{norm, MustEpsilon("1")}
		c := []float32{0.5, 0.5}
		for _, x := range [][]float32{nil, {0.5}, {0.5, 0.5, 0.5}, {0.5, nan}, {inf, 0.5}, {-inf, 0.5}, {-0x1p-149, 0.5}, {0.5, math.Nextafter32(1, 2)}} {
			require.False(t, ball.Contains(c, x), "%v", x)
			if len(x) == len(c) {
				require.False(t, ball.Contains(x, c), "centre %v", x)
			}
		}
	}
}

func TestBallValidate(t *testing.T) {
	for _, b := range []Ball{{}, {Linf, MustEpsilon("1")}, {Linf, MustEpsilon("0")}, {L2, MustEpsilon("28")}, {L2, MustEpsilon("1e6")}, {L1, MustEpsilon("30")}, {L0, MustEpsilon("784")}, {Linf, MustEpsilon("1e-999")}} {
		require.NoError(t, b.Validate(), "%v", b)
	}
	for _, c := range []struct {
		b    Ball
		want string
	}{
		{Ball{Linf, MustEpsilon("8")}, "linf"},
		{Ball{Linf, MustEpsilon("1.00000000000000000000000000001")}, "at most 1"},
		{Ball{L2, MustEpsilon("1000001")}, "1e6"},
		{Ball{L2, MustEpsilon("1e9999")}, "1e6"},
		{Ball{Norm(4), MustEpsilon("0.1")}, "norm"},
		{Ball{Norm(-1), MustEpsilon("0.1")}, "norm"},
	} {
		require.ErrorContains(t, c.b.Validate(), c.want)
	}
	require.Equal(t, "l2 ε=8/255", Ball{L2, MustEpsilon("8/255")}.String())
}

// TestL0: the ball counts values, and its box is all there is.
func TestL0(t *testing.T) {
	c := []float32{0, 0.25, 0.5, 1, 0.75}
	x := slices.Clone(c)
	for k := range x {
		for n := range 6 {
			b := Ball{L0, MustEpsilon(strconv.Itoa(n))}
			require.Equal(t, k <= n, b.Contains(c, x), "%d differ, %v", k, b)
		}
		x[k] = math.Nextafter32(x[k], 0.6)
	}
	require.True(t, Ball{L0, MustEpsilon("5.5")}.Contains(c, x))
	require.False(t, Ball{L0, MustEpsilon("49/10")}.Contains(c, x))
	lo, hi := make([]float32, 5), make([]float32, 5)
	for eps, want := range map[string][2][]float32{"0": {c, c}, "0.9": {c, c}, "1": {make([]float32, 5), {1, 1, 1, 1, 1}}, "3": {make([]float32, 5), {1, 1, 1, 1, 1}}} {
		Ball{L0, MustEpsilon(eps)}.Box().Inner(lo, hi, c)
		require.Equal(t, want[0], lo)
		require.Equal(t, want[1], hi)
	}
}

// TestLargest: the largest ball holds any two images.
func TestLargest(t *testing.T) {
	for norm := Linf; norm <= L0; norm++ {
		for _, size := range []int{1, 2, 784, 3072} {
			black, white := make([]float32, size), make([]float32, size)
			for i := range white {
				white[i] = 1
			}
			b := norm.Largest(size)
			require.NoError(t, b.Validate())
			require.True(t, b.Contains(black, white), "%v of %d", b, size)
		}
	}
}
