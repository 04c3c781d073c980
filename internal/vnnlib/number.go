package vnnlib

import (
	"math/big"
	"strconv"
	"strings"
)

// Limits of numbers, which keep exact arithmetic cheap. A float64 in full has 1,074
// places; the text of every number within maxBits is within maxDigits.
const (
	maxBits     = 4096 // of a numerator or denominator in lowest terms
	maxDigits   = 5600
	maxExponent = 400
	maxCost     = 1 << 28 // squares of lengths in words, over all numbers
)

var one = big.NewRat(1, 1)

// numeric reports whether an atom begins like a number.
func numeric(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return s != "" && (s[0] >= '0' && s[0] <= '9' || s[0] == '.')
}

// number reads a decimal exactly, with an exponent or without.
func (p *parser) number(t token) *big.Rat {
	for _, prefix := range []string{"#x", "#b", "0x", "0X", "0b", "0B", "-0x", "-0b"} {
		if strings.HasPrefix(t.text, prefix) {
			p.fail(t.at, "got the hexadecimal or binary number %s, expected a decimal", quote(t.text))
		}
	}
	s := t.text
	if len(s) > maxDigits {
		p.fail(t.at, "got a number of %d characters, expected at most %d", len(s), maxDigits)
	}
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i+1:]
		e, err := strconv.Atoi(exponent)
		if err != nil {
			p.fail(t.at, "got %s, expected a number whose exponent is an integer", quote(s))
		}
		if max(e, -e) > maxExponent {
			p.fail(t.at, "got %s, expected a number whose exponent is within ±%d", quote(s), maxExponent)
		}
	}
	if mantissa != "" && (mantissa[0] == '-' || mantissa[0] == '+') {
		mantissa = mantissa[1:]
	}
	whole, after, _ := strings.Cut(mantissa, ".")
	if digits := whole + after; digits == "" || strings.Trim(digits, "0123456789") != "" {
		p.fail(t.at, "got %s, expected a number such as -0.5 or 1e-3", quote(s))
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		p.fail(t.at, "got %s, expected a number such as -0.5 or 1e-3", quote(s))
	}
	return p.short(r, t.at)
}

// short returns r, which must be within maxBits, and all numbers together within maxCost.
func (p *parser) short(r *big.Rat, at position) *big.Rat {
	if r.Num().BitLen() > maxBits || r.Denom().BitLen() > maxBits {
		p.fail(at, "got a number whose numerator or denominator has more than %d bits, expected a shorter one", maxBits)
	}
	words := int64(r.Num().BitLen()+r.Denom().BitLen())/64 + 1
	if p.cost += words * words; p.cost > maxCost {
		p.fail(at, "got too much arithmetic on long numbers, expected fewer or shorter ones")
	}
	return r
}

// undecimal returns the part of r's denominator that is prime to 10: times that, r is a
// finite decimal.
func undecimal(r *big.Rat) *big.Int {
	d := new(big.Int).Rsh(r.Denom(), r.Denom().TrailingZeroBits())
	five, rest := big.NewInt(5), new(big.Int)
	for {
		q, m := new(big.Int).QuoRem(d, five, rest)
		if m.Sign() != 0 {
			return d
		}
		d = q
	}
}

// decimals returns c times the least positive integer that makes all its numbers finite
// decimals.
func (c Constraint) decimals() Constraint {
	least := undecimal(c.Bound)
	for _, t := range c.Terms {
		d := undecimal(t.Coef)
		g := new(big.Int).GCD(nil, nil, least, d)
		least = new(big.Int).Mul(least, d.Quo(d, g))
	}
	if least.IsInt64() && least.Int64() == 1 {
		return c
	}
	by := new(big.Rat).SetInt(least)
	scaled := Constraint{Bound: new(big.Rat).Mul(by, c.Bound), Strict: c.Strict}
	for _, t := range c.Terms {
		scaled.Terms = append(scaled.Terms, Term{t.Output, new(big.Rat).Mul(by, t.Coef)})
	}
	return scaled
}
