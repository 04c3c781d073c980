package half

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// format is a 16-bit format and its parameters, from which the tests compute
// values in float64 another way than the code under test does.
type format struct {
	name               string
	exponent, fraction int // bits
	from               func(uint16) float32
	to                 func(float32) uint16
}

var formats = []format{
	{"F16", 5, 10, FromF16, ToF16},
	{"BF16", 8, 7, FromBF16, ToBF16},
}

// value is the definition: (−1)^s · 1.f · 2^(e−bias), or 0.f · 2^(1−bias).
func (f *format) value(h uint16) float64 {
	s, e, frac := h>>15, int(h)>>f.fraction&(1<<f.exponent-1), float64(int(h)&(1<<f.fraction-1))
	bias := 1<<(f.exponent-1) - 1
	sign := 1 - 2*float64(s)
	switch {
	case e == 1<<f.exponent-1 && frac == 0:
		return math.Inf(int(sign))
	case e == 1<<f.exponent-1:
		return math.NaN()
	case e == 0:
		return math.Copysign(math.Ldexp(frac, 1-bias-f.fraction), sign)
	}
	return sign * math.Ldexp(math.Ldexp(1, f.fraction)+frac, e-bias-f.fraction)
}

// infinite is the first pattern that is not a finite number ≥ 0.
func (f *format) infinite() uint16 { return uint16(1<<f.exponent-1) << f.fraction }

// TestAllPatterns expands all 65536 patterns of both formats and rounds them back.
func TestAllPatterns(t *testing.T) {
	for _, f := range formats {
		for h := range 1 << 16 {
			h := uint16(h)
			want, have := f.value(h), f.from(h)
			if math.IsNaN(want) {
				require.True(t, have != have, "%s %04x", f.name, h)
				back := f.to(have)
				require.True(t, math.IsNaN(f.value(back)), "%s %04x becomes %04x", f.name, h, back)
				require.Equal(t, h>>15, back>>15)
				continue
			}
			require.Equal(t, math.Float32bits(float32(want)), math.Float32bits(have), "%s %04x", f.name, h)
			require.Equal(t, want, float64(float32(want)), "exact")
			require.Equal(t, h, f.to(have), "%s %04x", f.name, h)
		}
	}
}

// TestRounding tries, around every value and every middle of two, the float32 on
// both sides: the nearest wins, of two the even one.
func TestRounding(t *testing.T) {
	for _, f := range formats {
		for h := range f.infinite() {
			low := float64(f.from(h))
			high := f.value(h + 1)
			if h+1 == f.infinite() { // what it would be with one more exponent
				high = 2*low - f.value(h-1)
			}
			middle := (low + high) / 2
			even := h + h&1
			for _, c := range []struct {
				v    float64
				want uint16
			}{
				{low, h},
				{float64(math.Nextafter32(float32(low), float32(math.Inf(1)))), h},
				{middle, even},
				{float64(math.Nextafter32(float32(middle), 0)), h},
				{float64(math.Nextafter32(float32(middle), float32(math.Inf(1)))), h + 1},
			} {
				if v := float32(c.v); float64(v) != c.v || c.v != middle && c.v < low { // 0 has no half in BF16
					continue
				}
				v := float32(c.v)
				require.Equal(t, c.want, f.to(v), "%s %04x: %v", f.name, h, v)
				require.Equal(t, c.want|1<<15, f.to(-v), "%s %04x: %v", f.name, h, -v)
			}
		}
	}
}

// TestRandomRounding: no 16-bit value is nearer than the one chosen.
func TestRandomRounding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, f := range formats {
		for range 200_000 {
			v := math.Float32frombits(r.Uint32())
			h := f.to(v)
			if v != v {
				require.True(t, math.IsNaN(f.value(h)))
				continue
			}
			if h&0x7fff >= f.infinite() {
				largest := f.value(f.infinite() - 1)
				step := largest - f.value(f.infinite()-2)
				require.GreaterOrEqual(t, math.Abs(float64(v)), largest+step/2, "%s: %v is not infinite", f.name, v)
				continue
			}
			for _, other := range []uint16{h - 1, h + 1} {
				if other&0x7fff < f.infinite() && other>>15 == h>>15 {
					require.LessOrEqual(t, math.Abs(f.value(h)-float64(v)), math.Abs(f.value(other)-float64(v)), "%s: %v", f.name, v)
				}
			}
		}
	}
}

func TestOverflow(t *testing.T) {
	require.Equal(t, uint16(0x7bff), ToF16(65519.996))
	require.Equal(t, uint16(0x7c00), ToF16(65520))
	require.Equal(t, uint16(0xfc00), ToF16(-math.MaxFloat32))
	require.Equal(t, uint16(0x7f7f), ToBF16(0x1.fefffep127))
	require.Equal(t, uint16(0x7f80), ToBF16(0x1.ffp127))
	require.Equal(t, uint16(0x7c00), ToF16(float32(math.Inf(1))))
	require.Equal(t, uint16(0xff80), ToBF16(float32(math.Inf(-1))))
}
