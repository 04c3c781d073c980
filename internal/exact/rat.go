// Package exact computes with fractions exactly: what radii need, in a tenth of the
// code that math/big brings to a program. Numbers are small here, a few hundred digits
// at most, and nothing of it is in a loop over pixels but for ties.
package exact

import (
	"math"
	"strconv"
	"strings"
)

// Rat is a fraction ≥ 0. The zero value is 0. It is immutable.
type Rat struct{ num, den nat }

func (r Rat) parts() (num, den nat) {
	if len(r.num) == 0 {
		return nil, nat{1}
	}
	return r.num, r.den
}

// reduced is parts in lowest terms.
func (r Rat) reduced() (num, den nat) {
	num, den = r.parts()
	if g := gcd(num, den); g.cmp(nat{1}) > 0 {
		num, _ = num.div(g)
		den, _ = den.div(g)
	}
	return num, den
}

// Parse reads a decimal such as "0.1" or "1e-3", whose exponent has at most four
// digits, or a fraction of integers such as "8/255". negative is true, and r its
// absolute value, for what has a minus sign and is not 0.
func Parse(s string) (r Rat, negative, ok bool) {
	sign := s != "" && s[0] == '-'
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	if num, den, fraction := strings.Cut(s, "/"); fraction {
		if den != "" && den[0] == '+' {
			den = den[1:]
		}
		n, ok1 := natural(num)
		d, ok2 := natural(den)
		if !ok1 || !ok2 || len(d) == 0 {
			return Rat{}, false, false
		}
		return Rat{n, d}, sign && len(n) > 0, true
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || e < -9999 || e > 9999 {
			return Rat{}, false, false
		}
		s, exponent = s[:i], e
	}
	whole, after, _ := strings.Cut(s, ".")
	n, ok := natural(whole + after)
	if !ok {
		return Rat{}, false, false
	}
	exponent -= len(after)
	if exponent >= 0 {
		r = Rat{n.mul(pow(10, exponent)), nat{1}}
	} else {
		r = Rat{n, pow(10, -exponent)}
	}
	return r, sign && len(n) > 0, true
}

// natural reads one or more digits.
func natural(s string) (n nat, ok bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return nil, false
		}
		n = n.mul(nat{10}).add(fromUint(uint64(s[i] - '0')))
	}
	return n, s != ""
}

// IsZero reports whether r is 0.
func (r Rat) IsZero() bool { return len(r.num) == 0 }

// Cmp returns −1, 0 or 1 as r is less than, equal to or more than o.
func (r Rat) Cmp(o Rat) int {
	a, b := r.parts()
	c, d := o.parts()
	return sign(a.mul(d).cmp(c.mul(b)))
}

func sign(v int) int { return min(max(v, -1), 1) }

// Times returns k·r, k ≥ 0.
func (r Rat) Times(k int) Rat {
	n, d := r.parts()
	return Rat{n.mul(fromUint(uint64(k))), d}
}

// Quo returns ⌊r/o⌋, or limit if that is less, and whether the quotient is a whole
// number; o > 0.
func (r Rat) Quo(o Rat, limit int) (n int, whole bool) {
	a, b := r.parts()
	c, d := o.parts()
	q, rest := a.mul(d).div(b.mul(c))
	if q.cmp(fromUint(uint64(limit))) > 0 {
		return limit, len(rest) == 0
	}
	for i := len(q) - 1; i >= 0; i-- {
		n = n<<16<<16 | int(q[i]) // an int may have 32 bits
	}
	return n, len(rest) == 0
}

// String returns the decimal if it ends after at most 30 places, otherwise the fraction
// or the integer.
func (r Rat) String() string {
	n, d := r.reduced()
	const places = 30
	for p := range places + 1 {
		if p == 1 && !ends(d, places) {
			break
		}
		q, rest := n.mul(pow(10, p)).div(d)
		if len(rest) > 0 {
			continue
		}
		s := q.digits()
		if p == 0 {
			return s
		}
		if len(s) <= p {
			s = strings.Repeat("0", p+1-len(s)) + s
		}
		return s[:len(s)-p] + "." + s[len(s)-p:]
	}
	return n.digits() + "/" + d.digits()
}

// ends reports whether a fraction with the denominator d, in lowest terms, is a decimal
// of at most so many places.
func ends(d nat, places int) bool {
	_, rest := pow(10, places).div(d)
	return len(rest) == 0
}

// Fraction returns numerator and denominator in decimal digits.
func (r Rat) Fraction() (num, den string) {
	n, d := r.reduced()
	return n.digits(), d.digits()
}

// float splits f ≥ 0, finite, into m·2^e.
func float(f float64) (m nat, e int) {
	b := math.Float64bits(f)
	e = int(b >> 52)
	v := b & (1<<52 - 1)
	if e > 0 {
		v |= 1 << 52
	}
	return fromUint(v), max(e, 1) - 1075
}

// CmpFloat compares r with f ≥ 0, finite.
func (r Rat) CmpFloat(f float64) int {
	n, d := r.parts()
	m, e := float(f)
	if e < 0 {
		return sign(n.shl(-e).cmp(m.mul(d)))
	}
	return sign(n.cmp(m.mul(d).shl(e)))
}

// Floor returns the largest float64 not above r, and whether it is r.
func (r Rat) Floor() (f float64, exact bool) {
	n, d := r.parts()
	a, e := n.approx()
	b, g := d.approx()
	f = min(math.Ldexp(a/b, e-g), math.MaxFloat64) // within a few units in the last place
	for r.CmpFloat(f) < 0 {
		f = math.Nextafter(f, 0)
	}
	for f < math.MaxFloat64 && r.CmpFloat(math.Nextafter(f, math.Inf(1))) >= 0 {
		f = math.Nextafter(f, math.Inf(1))
	}
	return f, r.CmpFloat(f) == 0
}

// Nearest returns the float64 nearest to r, of two the even one; +Inf if that is beyond
// all.
func (r Rat) Nearest() float64 {
	f, exact := r.Floor()
	if exact {
		return f
	}
	m, e := float(f)
	n, d := r.parts()
	half := m.add(m).add(nat{1}) // (2m + 1)·2^(e−1)
	c := 0
	if e--; e < 0 {
		c = n.shl(-e).cmp(half.mul(d))
	} else {
		c = n.cmp(half.mul(d).shl(e))
	}
	if c > 0 || c == 0 && math.Float64bits(f)&1 == 1 {
		return math.Float64frombits(math.Float64bits(f) + 1)
	}
	return f
}

// Less returns r − f for 0 ≤ f ≤ r.
func (r Rat) Less(f float64) Rat {
	n, d := r.parts()
	m, e := float(f)
	if e < 0 {
		return Rat{n.shl(-e).sub(m.mul(d)), d.shl(-e)}
	}
	return Rat{n.sub(m.shl(e).mul(d)), d}
}
