package net

import (
	"fmt"
	"math"
	"math/big"
	"strings"

	"github.com/epsball/epsball/internal/exact"
)

// Epsilon is the radius of a ball, kept as the exact decimal or fraction given.
// The zero value is 0. It is immutable.
type Epsilon struct {
	r      exact.Rat
	text   string
	f      float64 // nearest
	lo, hi float64 // neighbours
	rest   float64 // ε − lo, nearest
}

func newEpsilon(r exact.Rat, text string) Epsilon {
	e := Epsilon{r: r, text: text, f: r.Nearest()}
	lo, same := r.Floor()
	if e.lo, e.hi = lo, lo; !same {
		e.hi = math.Nextafter(lo, math.Inf(1))
	}
	e.rest = r.Less(lo).Nearest()
	return e
}

// ParseEpsilon reads "0.1", "1e-3" or "8/255" exactly. Negative, infinite and
// malformed values are refused, and any that needs more than 64 characters or an
// exponent of more than three digits.
func ParseEpsilon(s string) (Epsilon, error) {
	t := strings.TrimSpace(s)
	if len(t) > 64 {
		return Epsilon{}, fmt.Errorf("epsilon %.64q: want a decimal such as 0.1 or a fraction such as 8/255", s)
	}
	if e := strings.IndexAny(t, "eE"); e >= 0 && len(t)-e > 5 { // 1e999999999 would fill the memory
		return Epsilon{}, fmt.Errorf("epsilon %q: exponent out of range", s)
	}
	r, negative, ok := exact.Parse(t)
	if !ok {
		return Epsilon{}, fmt.Errorf("epsilon %q: want a decimal such as 0.1 or a fraction such as 8/255", s)
	}
	if negative {
		return Epsilon{}, fmt.Errorf("epsilon %q: want a value ≥ 0", s)
	}
	return newEpsilon(r, t), nil
}

// MustEpsilon is ParseEpsilon for constants; it panics on an error.
func MustEpsilon(s string) Epsilon {
	e, err := ParseEpsilon(s)
	if err != nil {
		panic(err)
	}
	return e
}

// Rat returns the exact value. Nothing that an embedded program needs calls it.
func (e Epsilon) Rat() *big.Rat {
	num, den := e.r.Fraction()
	r, _ := new(big.Rat).SetString(num + "/" + den)
	return r
}

// IsZero reports whether e is 0.
func (e Epsilon) IsZero() bool { return e.r.IsZero() }

// String returns the text the value was given as.
func (e Epsilon) String() string {
	if e.text == "" {
		return "0"
	}
	return e.text
}

// Times returns k·e exactly, k ≥ 0.
func (e Epsilon) Times(k int) Epsilon {
	r := e.r.Times(k)
	return newEpsilon(r, r.String())
}

// Cmp compares exactly: −1, 0 or 1.
func (e Epsilon) Cmp(o Epsilon) int { return e.r.Cmp(o.r) }

// Float64 returns the nearest float64.
func (e Epsilon) Float64() float64 { return e.f }

// Bounds returns the float64 neighbours lo ≤ e ≤ hi, equal if e is a float64.
func (e Epsilon) Bounds() (lo, hi float64) { return e.lo, e.hi }

// Steps returns e as a multiple of step, which is above 0, rounded down, and whether
// it is one; limit if there are more.
func (e Epsilon) Steps(step Epsilon, limit int) (n int, whole bool) { return e.r.Quo(step.r, limit) }

// RadiusSteps returns how many multiples of resolution there are up to max, for
// searches over radii.
func RadiusSteps(resolution, max Epsilon) (int, error) {
	if resolution.IsZero() {
		return 0, fmt.Errorf("resolution: %s, want a value > 0", resolution)
	}
	const limit = 1 << 24
	steps, _ := max.Steps(resolution, limit+1)
	if steps > limit {
		return 0, fmt.Errorf("resolution: %s divides the largest radius %s into more than %d steps", resolution, max, limit)
	}
	return steps, nil
}
