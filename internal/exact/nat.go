package exact

import (
	"math/bits"
	"slices"
)

// nat is a natural number in base 2³², the lowest digit first, without zeros at the end.
// No function changes its arguments.
type nat []uint32

func fromUint(v uint64) nat { return nat{uint32(v), uint32(v >> 32)}.trim() }

func (a nat) trim() nat {
	for len(a) > 0 && a[len(a)-1] == 0 {
		a = a[:len(a)-1]
	}
	return a
}

func (a nat) cmp(b nat) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			if a[i] < b[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

func (a nat) add(b nat) nat {
	if len(a) < len(b) {
		a, b = b, a
	}
	sum, carry := make(nat, len(a)+1), uint64(0)
	for i, v := range a {
		carry += uint64(v)
		if i < len(b) {
			carry += uint64(b[i])
		}
		sum[i], carry = uint32(carry), carry>>32
	}
	sum[len(a)] = uint32(carry)
	return sum.trim()
}

// sub returns a − b for a ≥ b.
func (a nat) sub(b nat) nat {
	d, borrow := make(nat, len(a)), uint32(0)
	for i, v := range a {
		w := uint32(0)
		if i < len(b) {
			w = b[i]
		}
		d[i], borrow = bits.Sub32(v, w, borrow)
	}
	return d.trim()
}

func (a nat) mul(b nat) nat {
	p := make(nat, len(a)+len(b))
	for i, v := range a {
		carry := uint64(0)
		for j, w := range b {
			carry += uint64(v)*uint64(w) + uint64(p[i+j])
			p[i+j], carry = uint32(carry), carry>>32
		}
		p[i+len(b)] = uint32(carry)
	}
	return p.trim()
}

func (a nat) shl(n int) nat {
	if len(a) == 0 {
		return nil
	}
	s := make(nat, n/32+len(a)+1)
	for i, v := range a {
		w := uint64(v) << (n % 32)
		s[n/32+i] |= uint32(w)
		s[n/32+i+1] = uint32(w >> 32)
	}
	return s.trim()
}

// divSmall returns a/d and the remainder, for 0 < d < 2³².
func (a nat) divSmall(d uint32) (q nat, rest uint32) {
	q = slices.Clone(a)
	r := uint64(0)
	for i := len(a) - 1; i >= 0; i-- {
		r = r<<32 | uint64(a[i])
		q[i], r = uint32(r/uint64(d)), r%uint64(d)
	}
	return q.trim(), uint32(r)
}

// div returns ⌊a/b⌋ and the remainder, for b > 0 (Knuth, The Art of Computer
// Programming, vol. 2, algorithm 4.3.1 D).
func (a nat) div(b nat) (q, rest nat) {
	if a.cmp(b) < 0 {
		return nil, a
	}
	if len(b) == 1 {
		q, r := a.divSmall(b[0])
		return q, fromUint(uint64(r))
	}
	shift := bits.LeadingZeros32(b[len(b)-1])
	v := b.shl(shift)
	u := append(a.shl(shift), 0, 0)[:len(a)+1] // one digit more than a, perhaps 0
	n := len(v)
	q = make(nat, len(a)-n+1)
	top, next := uint64(v[n-1]), uint64(v[n-2])
	for j := len(q) - 1; j >= 0; j-- {
		two := uint64(u[j+n])<<32 | uint64(u[j+n-1])
		guess, r := two/top, two%top
		for guess >= 1<<32 || guess*next > r<<32|uint64(u[j+n-2]) {
			guess--
			if r += top; r >= 1<<32 {
				break
			}
		}
		borrow, carry := uint32(0), uint64(0)
		for i, w := range v {
			carry += guess * uint64(w)
			u[i+j], borrow = bits.Sub32(u[i+j], uint32(carry), borrow)
			carry >>= 32
		}
		u[j+n], borrow = bits.Sub32(u[j+n], uint32(carry), borrow)
		if borrow > 0 { // the guess was one too large
			guess--
			c := uint32(0)
			for i, w := range v {
				u[i+j], c = bits.Add32(u[i+j], w, c)
			}
			u[j+n] += c
		}
		q[j] = uint32(guess)
	}
	return q.trim(), u.trim().shr(shift)
}

// shr returns a/2ⁿ, rounded down, for n < 32.
func (a nat) shr(n int) nat {
	s := make(nat, len(a))
	for i, v := range a {
		w := uint64(v)
		if i+1 < len(a) {
			w |= uint64(a[i+1]) << 32
		}
		s[i] = uint32(w >> n)
	}
	return s.trim()
}

// approx returns a float64 f and an exponent e with a ≈ f·2^e.
func (a nat) approx() (f float64, e int) {
	from := max(0, len(a)-3)
	for i := len(a) - 1; i >= from; i-- {
		f = f*(1<<32) + float64(a[i])
	}
	return f, 32 * from
}

func gcd(a, b nat) nat {
	for len(b) > 0 {
		_, r := a.div(b)
		a, b = b, r
	}
	return a
}

// pow returns bⁿ.
func pow(b uint32, n int) nat {
	p, f := nat{1}, nat{b}
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p = p.mul(f)
		}
		f = f.mul(f)
	}
	return p
}

// digits returns the decimal digits.
func (a nat) digits() string {
	if len(a) == 0 {
		return "0"
	}
	var d []byte
	for len(a) > 0 {
		var r uint32
		a, r = a.divSmall(10)
		d = append(d, byte('0'+r))
	}
	slices.Reverse(d)
	return string(d)
}
