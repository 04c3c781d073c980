package net

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseEpsilon(t *testing.T) {
	for _, c := range []struct {
		text string
		num  int64
		den  int64
	}{
		{"0", 0, 1},
		{"0.1", 1, 10},
		{"8/255", 8, 255},
		{"1e-3", 1, 1000},
		{"1E-3", 1, 1000},
		{"1/3", 1, 3},
		{".5", 1, 2},
		{"1.5e2", 150, 1},
		{" 0.3\n", 3, 10},
		{"16/510", 8, 255},
		{"00.25", 1, 4},
		{"1", 1, 1},
	} {
		e, err := ParseEpsilon(c.text)
		require.NoError(t, err, c.text)
		require.Zero(t, big.NewRat(c.num, c.den).Cmp(e.Rat()), c.text)
		require.Equal(t, strings.TrimSpace(c.text), e.String())
	}
	for _, text := range []string{
		"", " ", "-0.1", "-1/3", "-1e-9", "NaN", "nan", "inf", "Inf", "-inf", "+Inf", "∞", "1/0", "0/0", "0x1", "0X1p-2", "0b1", "0o7",
		"1_000", "1e99999", "1e-99999", "1e999999999", "1e-999999999", "1e9223372036854775808", "1/2/3", "8/", "/255", "8 / 255", "0,1",
		"0.1x", "eps", "1e", "8/-255", "--1", "1.2.3", "0.5/2", "١/٢", "\x00", "1\n2",
		strings.Repeat("1", 65), "0." + strings.Repeat("3", 1<<20), "1/" + strings.Repeat("7", 1<<20),
	} {
		_, err := ParseEpsilon(text)
		require.ErrorContains(t, err, "epsilon", "%.80q", text)
		require.Less(t, len(err.Error()), 400, "an error repeats little of its input")
	}
	require.Panics(t, func() { MustEpsilon("x") })
}

// TestParseEpsilonDecimal: a leading zero does not make a fraction octal.
func TestParseEpsilonDecimal(t *testing.T) {
	for text, want := range map[string]*big.Rat{
		"010/255": big.NewRat(10, 255),
		"08/255":  big.NewRat(8, 255),
		"1/010":   big.NewRat(1, 10),
	} {
		if e, err := ParseEpsilon(text); err == nil { // or be refused
			require.Zero(t, want.Cmp(e.Rat()), "%s is read as %v", text, e.Rat())
		}
	}
}

func TestEpsilonZeroValue(t *testing.T) {
	var e Epsilon
	lo, hi := e.Bounds()
	require.Equal(t, []any{"0", 0.0, 0.0, 0.0, 0}, []any{e.String(), e.Float64(), lo, hi, e.Cmp(MustEpsilon("0.0"))})
	require.Zero(t, e.Times(7).Rat().Sign())
}

func TestEpsilonIsImmutable(t *testing.T) {
	e := MustEpsilon("1/3")
	r := e.Rat()
	r.Add(r, r)
	e.Times(5)
	require.Zero(t, e.Rat().Cmp(big.NewRat(1, 3)))
}

func TestEpsilonTimes(t *testing.T) {
	for _, text := range []string{"0", "0.1", "8/255", "1/3", "1e-30", "0.30", "2.5e1", "1e-40", "7/64"} {
		e := MustEpsilon(text)
		for k := range 30 {
			p := e.Times(k)
			want := new(big.Rat).Mul(e.Rat(), big.NewRat(int64(k), 1))
			require.Zero(t, want.Cmp(p.Rat()))
			back, err := ParseEpsilon(p.String())
			require.NoError(t, err, p)
			require.Zero(t, p.Cmp(back), "%s × %d prints as %s", text, k, p)
		}
	}
	require.Equal(t, "0.3", MustEpsilon("0.1").Times(3).String())
	require.Equal(t, "8/85", MustEpsilon("8/255").Times(3).String())
	require.Equal(t, "1", MustEpsilon("1/3").Times(3).String())
	require.Equal(t, 1, MustEpsilon("0.1").Times(3).Cmp(MustEpsilon("0.29999999999999999999")))
}

func TestEpsilonBounds(t *testing.T) {
	check := func(text string) {
		e := MustEpsilon(text)
		lo, hi := e.Bounds()
		r := e.Rat()
		require.LessOrEqual(t, new(big.Rat).SetFloat64(lo).Cmp(r), 0, text)
		if math.IsInf(hi, 1) {
			require.Equal(t, math.MaxFloat64, lo)
			return
		}
		require.GreaterOrEqual(t, new(big.Rat).SetFloat64(hi).Cmp(r), 0, text)
		if lo == hi {
			require.Zero(t, new(big.Rat).SetFloat64(lo).Cmp(r))
		} else {
			require.Equal(t, hi, math.Nextafter(lo, math.Inf(1)), text)
			require.NotZero(t, new(big.Rat).SetFloat64(lo).Cmp(r)*new(big.Rat).SetFloat64(hi).Cmp(r), "exact values have one bound")
		}
		f := e.Float64()
		require.True(t, f == lo || f == hi)
	}
	for _, text := range []string{"0", "0.1", "1/3", "8/255", "0.5", "1", "1e-30", "1e-320", "1e-400", "5e-324", "1e308", "1e400", "1e-999"} {
		check(text)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		check(new(big.Rat).SetFrac64(r.Int64N(1<<40), 1+r.Int64N(1<<40)).RatString())
	}
}
