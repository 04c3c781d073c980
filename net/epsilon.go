package net

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Epsilon is the radius of a ball, kept as the exact decimal or fraction given.
// The zero value is 0. It is immutable.
type Epsilon struct {
	r      *big.Rat
	text   string
	f      float64 // nearest
	lo, hi float64 // neighbours
	rest   float64 // ε − lo, nearest
}

func newEpsilon(r *big.Rat, text string) Epsilon {
	f, exact := r.Float64()
	e := Epsilon{r: r, text: text, f: f, lo: f, hi: f}
	switch {
	case exact:
	case math.IsInf(f, 0):
		e.lo = math.MaxFloat64
	case new(big.Rat).SetFloat64(f).Cmp(r) > 0:
		e.lo = math.Nextafter(f, 0)
	default:
		e.hi = math.Nextafter(f, math.Inf(1))
	}
	lo := new(big.Rat).SetFloat64(e.lo)
	e.rest, _ = lo.Sub(r, lo).Float64()
	return e
}

// ParseEpsilon reads "0.1", "1e-3" or "8/255" exactly. Negative, infinite and
// malformed values are refused, and any that needs more than 64 characters.
func ParseEpsilon(s string) (Epsilon, error) {
	t := strings.TrimSpace(s)
	if len(t) > 64 || strings.ContainsAny(t, "xXpPbBoO_") {
		return Epsilon{}, fmt.Errorf("epsilon %.64q: want a decimal such as 0.1 or a fraction such as 8/255", s)
	}
	if e := strings.IndexAny(t, "eE"); e >= 0 && len(t)-e > 5 { // 1e999999999 would fill the memory
		return Epsilon{}, fmt.Errorf("epsilon %q: exponent out of range", s)
	}
	r, ok := rational(t)
	if !ok {
		return Epsilon{}, fmt.Errorf("epsilon %q: want a decimal such as 0.1 or a fraction such as 8/255", s)
	}
	if r.Sign() < 0 {
		return Epsilon{}, fmt.Errorf("epsilon %q: want a value ≥ 0", s)
	}
	return newEpsilon(r, t), nil
}

// rational reads a decimal or a fraction. Rat.SetString alone would take the
// parts of 010/255 for octal.
func rational(s string) (*big.Rat, bool) {
	num, den, fraction := strings.Cut(s, "/")
	if !fraction {
		return new(big.Rat).SetString(s)
	}
	n, ok1 := new(big.Int).SetString(num, 10)
	d, ok2 := new(big.Int).SetString(den, 10)
	if !ok1 || !ok2 || d.Sign() <= 0 {
		return nil, false
	}
	return new(big.Rat).SetFrac(n, d), true
}

// MustEpsilon is ParseEpsilon for constants; it panics on an error.
func MustEpsilon(s string) Epsilon {
	e, err := ParseEpsilon(s)
	if err != nil {
		panic(err)
	}
	return e
}

// Rat returns the exact value, as a copy.
func (e Epsilon) Rat() *big.Rat {
	if e.r == nil {
		return new(big.Rat)
	}
	return new(big.Rat).Set(e.r)
}

// String returns the text the value was given as.
func (e Epsilon) String() string {
	if e.text == "" {
		return "0"
	}
	return e.text
}

// Times returns k·e exactly, k ≥ 0.
func (e Epsilon) Times(k int) Epsilon {
	r := e.Rat()
	r.Mul(r, new(big.Rat).SetInt64(int64(k)))
	if d, exact := r.FloatPrec(); exact && d <= 30 {
		return newEpsilon(r, r.FloatString(d))
	}
	return newEpsilon(r, r.RatString())
}

// Cmp compares exactly: −1, 0 or 1.
func (e Epsilon) Cmp(o Epsilon) int { return e.Rat().Cmp(o.Rat()) }

// Float64 returns the nearest float64.
func (e Epsilon) Float64() float64 { return e.f }

// Bounds returns the float64 neighbours lo ≤ e ≤ hi, equal if e is a float64.
func (e Epsilon) Bounds() (lo, hi float64) { return e.lo, e.hi }

// RadiusSteps returns how many multiples of resolution there are up to max, for
// searches over radii.
func RadiusSteps(resolution, max Epsilon) (int, error) {
	if resolution.Rat().Sign() <= 0 {
		return 0, fmt.Errorf("resolution: %s, want a value > 0", resolution)
	}
	q := new(big.Rat).Quo(max.Rat(), resolution.Rat())
	steps := new(big.Int).Quo(q.Num(), q.Denom())
	const limit = 1 << 24
	if steps.Cmp(big.NewInt(limit)) > 0 {
		return 0, fmt.Errorf("resolution: %s divides the largest radius %s into more than %d steps", resolution, max, limit)
	}
	return int(steps.Int64()), nil
}
