package exact

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func (r Rat) big() *big.Rat {
	n, d := r.parts()
	v, _ := new(big.Rat).SetString(n.digits() + "/" + d.digits())
	return v
}

func random(r *rand.Rand) string {
	digits := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(byte('0' + r.IntN(10)))
		}
		return b.String()
	}
	switch r.IntN(4) {
	case 0:
		return digits(1+r.IntN(20)) + "/" + "1" + digits(r.IntN(20))
	case 1:
		return digits(r.IntN(3)) + "." + digits(1+r.IntN(25))
	case 2:
		return fmt.Sprintf("%s.%se%d", digits(1+r.IntN(3)), digits(r.IntN(20)), r.IntN(700)-350)
	}
	return fmt.Sprintf("%d/%d", r.IntN(300), 1<<r.IntN(12))
}

// TestAgreesWithMathBig: values, comparisons, products, quotients, texts and floats.
func TestAgreesWithMathBig(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		s, o := random(r), random(r)
		x, negative, ok := Parse(s)
		y, _, _ := Parse(o)
		require.True(t, ok && !negative, s)
		want, ok := new(big.Rat).SetString(s)
		if strings.Contains(s, "/") { // base 10, whatever the zeros before it
			n, d, _ := strings.Cut(s, "/")
			a, _ := new(big.Int).SetString(n, 10)
			b, _ := new(big.Int).SetString(d, 10)
			want, ok = new(big.Rat).SetFrac(a, b), true
		}
		require.True(t, ok, s)
		require.Zero(t, want.Cmp(x.big()), s)
		other := y.big()
		require.Equal(t, want.Cmp(other), x.Cmp(y), "%s and %s", s, o)
		k := r.IntN(1000)
		require.Zero(t, new(big.Rat).Mul(want, big.NewRat(int64(k), 1)).Cmp(x.Times(k).big()))
		text := want.RatString()
		if d, exact := want.FloatPrec(); exact && d <= 30 {
			text = want.FloatString(d)
		}
		require.Equal(t, text, x.String(), s)
		if !y.IsZero() {
			q := new(big.Rat).Quo(want, other)
			n, whole := x.Quo(y, 1<<24)
			floor := new(big.Int).Quo(q.Num(), q.Denom())
			if floor.Cmp(big.NewInt(1<<24)) > 0 {
				floor.SetInt64(1 << 24)
			}
			require.Equal(t, int(floor.Int64()), n, "%s over %s", s, o)
			require.Equal(t, q.IsInt(), whole)
		}
		nearest, exact := want.Float64()
		require.Equal(t, nearest, x.Nearest(), s)
		f, same := x.Floor()
		require.Equal(t, exact, same)
		require.LessOrEqual(t, new(big.Rat).SetFloat64(f).Cmp(want), 0)
		if up := math.Nextafter(f, math.Inf(1)); !math.IsInf(up, 1) {
			require.Positive(t, new(big.Rat).SetFloat64(up).Cmp(want))
		}
		require.Zero(t, new(big.Rat).Sub(want, new(big.Rat).SetFloat64(f)).Cmp(x.Less(f).big()))
		g := r.Float64() * nearest
		if !math.IsInf(g, 0) {
			require.Equal(t, want.Cmp(new(big.Rat).SetFloat64(g)), x.CmpFloat(g))
		}
	}
}

func TestFloatsBeyondAll(t *testing.T) {
	x, _, _ := Parse("1e400")
	f, exact := x.Floor()
	require.Equal(t, math.MaxFloat64, f)
	require.False(t, exact)
	require.True(t, math.IsInf(x.Nearest(), 1))
	var zero Rat
	f, exact = zero.Floor()
	require.Equal(t, []any{0.0, true, 0.0, "0"}, []any{f, exact, zero.Nearest(), zero.String()})
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "-", "+", ".", "e1", "1e", "1e+", "1/0", "1/", "/1", "1/-2", "1.5/2", "0x1", "1_0", "inf", "nan", "--1", "1e10000", "1.2.3"} {
		_, _, ok := Parse(s)
		require.False(t, ok, s)
	}
	for s, negative := range map[string]bool{"-0.1": true, "-0": false, "+0.1": false, "-1/3": true, "-0/5": false} {
		_, n, ok := Parse(s)
		require.True(t, ok, s)
		require.Equal(t, negative, n, s)
	}
}

// TestSums: sums of distances and squares against rationals, of numbers of all sizes.
func TestSums(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	float := func() float32 {
		f := math.Float32frombits(r.Uint32())
		if f-f != 0 || r.IntN(2) == 0 {
			f = r.Float32()
		}
		if math.Abs(float64(f)) > 1e6 {
			f = 1 / f
		}
		return f
	}
	for range 2000 {
		sum, squares := NewSum(false), NewSum(true)
		var wantSum, wantSquares big.Rat
		for range 1 + r.IntN(4) {
			a, b := float(), float()
			sum.Add(a, b)
			squares.Add(a, b)
			d := new(big.Rat).Sub(new(big.Rat).SetFloat64(float64(a)), new(big.Rat).SetFloat64(float64(b)))
			d.Abs(d)
			wantSum.Add(&wantSum, d)
			wantSquares.Add(&wantSquares, d.Mul(d, d))
		}
		x, _, _ := Parse(random(r))
		e := x.big()
		require.Equal(t, wantSum.Cmp(e), sum.Cmp(x))
		require.Equal(t, wantSquares.Cmp(e.Mul(e, e)), squares.Cmp(x))

		c := float()
		for _, minus := range []bool{false, true} {
			v, e := new(big.Rat).SetFloat64(float64(c)), x.big()
			if minus {
				e.Neg(e)
			}
			v.Add(v, e)
			o, negative := Offset(c, x, minus)
			require.Zero(t, o.big().Cmp(new(big.Rat).Abs(v)), "%v %v", c, x)
			if v.Sign() != 0 {
				require.Equal(t, v.Sign() < 0, negative)
			}
		}
	}
}
