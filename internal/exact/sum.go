package exact

import "math"

// Sum is a sum of distances between float32, or of their squares, without rounding.
type Sum struct {
	n      nat // in units of 2^−149, squared for squares
	square bool
}

// NewSum returns the empty sum, of squares or of distances.
func NewSum(squares bool) *Sum { return &Sum{square: squares} }

const unit = 149 // every finite float32 is a multiple of 2^−unit

// Add adds |a − b|, or its square.
func (s *Sum) Add(a, b float32) {
	d := apart(a, b)
	if s.square {
		d = d.mul(d)
	}
	s.n = s.n.add(d)
}

// Cmp compares the sum, or the root of the sum of squares, with r.
func (s *Sum) Cmp(r Rat) int {
	n, d := r.parts()
	if s.square {
		return sign(s.n.mul(d.mul(d)).cmp(n.mul(n).shl(2 * unit)))
	}
	return sign(s.n.mul(d).cmp(n.shl(unit)))
}

// units returns |f| in units.
func units(f float32) nat {
	b := math.Float32bits(f) &^ (1 << 31)
	e, v := int(b>>23), uint64(b&(1<<23-1))
	if e > 0 {
		v |= 1 << 23
	}
	return fromUint(v).shl(max(e, 1) - 1)
}

func apart(a, b float32) nat {
	x, y := units(a), units(b)
	if math.Signbit(float64(a)) != math.Signbit(float64(b)) {
		return x.add(y)
	}
	if x.cmp(y) < 0 {
		x, y = y, x
	}
	return x.sub(y)
}

// Offset returns x + r or, with minus, x − r: its absolute value and its sign.
func Offset(x float32, r Rat, minus bool) (v Rat, negative bool) {
	n, d := r.parts()
	a, b, neg := units(x).mul(d), n.shl(unit), math.Signbit(float64(x))
	switch den := d.shl(unit); {
	case neg == minus:
		return Rat{a.add(b), den}, neg
	case a.cmp(b) >= 0:
		return Rat{a.sub(b), den}, neg
	default:
		return Rat{b.sub(a), den}, !neg
	}
}
