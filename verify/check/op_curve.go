package check

import "math"

// curve is f(z) = centre + scale/(1 + e^(−scale·z)) − scale/2, which is sigmoid for scale
// 1 and centre ½, tanh for 2 and 0: convex up to 0, concave from there, f(−z) = 2·centre
// − f(z).
//
// Lines. The upper line of f on [l, u] is, by its slope a,
//
//	u ≤ 0       the chord from l to u
//	else        the tangent at t = max(d, (l + u)/2), where d ≥ max(l, 0) is the
//	            first point whose tangent is not below f(l), or the chord from l
//	            to u if d ≥ u
//
// which is, of the lines that are not below f, the one with the smallest area under
// it. Its intercept is what the proof of above asks for, whatever a and t are. The
// lower line is the upper one of [−u, −l], turned about (0, centre).
type curve struct {
	scale, centre float64
	steepest      float64 // f′(0)
}

const (
	// slack bounds the error of value, slopeSlack the relative one of slope, but for
	// slopeFloor.
	slack      = 0x1p-44
	slopeSlack = 0x1p-44
	slopeFloor = 0x1p-700

	// curveDistance is how far an execution's value may be from the exact one.
	curveDistance = 0x1p-20

	// narrow intervals take the tangent at their middle for a chord, whose slope would
	// be all rounding.
	narrow = 0x1p-16
)

// value returns f within slack. The error of e is below 2⁻⁴⁶e; both quotients pass on
// at most twice that, and their own roundings are below 2⁻⁵¹.
func (o *curve) value(z float64) float64 {
	e := decay(o.scale * math.Abs(z))
	switch {
	case o.scale == 2:
		return math.Copysign((1-e)/(1+e), z)
	case z >= 0:
		return 1 / (1 + e)
	}
	return e / (1 + e)
}

// slope returns f′, scale²·e/(1 + e)², for e = e^(−scale·|z|). Its relative error is at
// most that of e, which (1 + e)² diminishes, and 4 roundings.
func (o *curve) slope(z float64) float64 {
	e := decay(o.scale * math.Abs(z))
	return float64(o.scale*o.scale*e) / float64((1+e)*(1+e))
}

// decay returns e⁻ˣ for x ≥ 0 with a relative error below 2⁻⁴⁶, or 0 from 500 on, where
// it is below 2⁻⁷²¹.
//
// x = k·ln 2 + r, |r| ≤ 0.35: the product with the upper part of ln 2, of 32 bits, is
// exact, and so is the difference (Sterbenz), so that r errs by less than 2⁻⁵³, and e⁻ʳ
// by as much of itself. The Taylor series up to r¹⁴ leaves out 0.35¹⁵/15! < 2⁻⁶². By
// Horner's rule, three roundings a step, it errs by at most γ₄₂(2⁻⁵³)·e^|r|, which is
// below 86·2⁻⁵³·e⁻ʳ.
func decay(x float64) float64 {
	const (
		ln2High = 0x1.62e42feep-1
		ln2Low  = 0x1.a39ef35793c76p-33
	)
	if !(x < 500) {
		return 0
	}
	k := math.Floor(x/math.Ln2 + 0.5)
	r := (x - float64(k*ln2High)) - float64(k*ln2Low)
	p := 1.0
	for n := 14.0; n > 0; n-- { // 1 − r/1·(1 − r/2·(1 − …))
		p = 1 - float64(r/n*p)
	}
	return math.Ldexp(p, -int(k))
}

func (o *curve) interval(s *state, i int, b *bounds) error {
	p := &s.bounds[s.nodes[i].in[0]]
	b.lines = newLines(len(b.lo))
	n := b.lines
	most := o.centre + o.scale/2
	least := 2*o.centre - most
	e := 0.0
	if s.executed {
		e = keep(curveError, curveDistance)
	}
	for k, l := range p.lo {
		u := p.hi[k]
		b.lo[k] = max(least, o.value(l)-(slack+e))
		b.hi[k] = min(most, o.value(u)+(slack+e))
		n.high[k], n.highAt[k] = o.upper(l, u)
		n.low[k], n.lowAt[k] = o.lower(l, u)
		b.d[k] = e + float64(s.g*(float64(o.steepest*p.m[k])+max(math.Abs(n.lowAt[k]), math.Abs(n.highAt[k]))))
	}
	return nil
}

// upper returns a line that is nowhere below f on [l, u].
func (o *curve) upper(l, u float64) (slope, intercept float64) {
	slope, t := o.choose(l, u)
	return slope, o.above(slope, t, l, u)
}

// lower returns a line that is nowhere above f on [l, u].
func (o *curve) lower(l, u float64) (slope, intercept float64) {
	slope, at := o.upper(-u, -l)
	return slope, down(2*o.centre - at)
}

// choose returns the slope of the upper line and the point it touches, or u.
func (o *curve) choose(l, u float64) (slope, t float64) {
	middle := l/2 + u/2
	touches := func(d float64) bool { return o.value(d)-float64(o.slope(d)*(d-l)) >= o.value(l) }
	switch {
	case l >= 0:
		return o.slope(middle), middle
	case u-l < narrow:
		return o.slope(middle), max(0, min(middle, u))
	case u <= 0 || !touches(u):
		return max(0, min(o.steepest, (o.value(u)-o.value(l))/(u-l))), max(0, u)
	}
	t = max(0, middle)
	if !touches(t) {
		low, high := t, min(u, 512) // beyond, f is its largest value, and flat
		for range 60 {
			if t = low/2 + high/2; touches(t) {
				high = t
			} else {
				low = t
			}
		}
		t = high
	}
	return o.slope(t), t
}

// above returns an intercept b such that az + b ≥ f(z) on [l, u], for any a ≥ 0 and any
// t, in [max(l, 0), u] if u > 0.
//
// g(z) = f(z) − az is convex up to 0, so largest at the ends of that part of [l, u]:
// at l, and at u if u ≤ 0; else 0 belongs to the other part too, that from c = max(l,
// 0) on, where g is concave: g(z) ≤ g(t) + g′(t)(z − t), which is at most g(t) plus the
// larger one of g′(t)(u − t) and −g′(t)(t − c), if that is above 0. g′(t) = f′(t) − a,
// with f′ as slope has it, but for its errors.
func (o *curve) above(a, t, l, u float64) float64 {
	g := func(z float64) float64 { return up(up(o.value(z)+slack) - down(float64(a*z))) }
	if u <= 0 {
		return max(g(l), g(u))
	}
	d := o.slope(t)
	rise := (float64(d*(1+2*slopeSlack)) + slopeFloor - a) * (u - t)
	fall := (a - float64(d*(1-2*slopeSlack)) + slopeFloor) * (t - max(l, 0))
	return max(g(l), up(g(t)+float64(max(0, rise, fall)*room)))
}

func (o *curve) backward(s *state, i int) (constant float64) {
	if s.fixes != nil {
		constant = s.takePoints(i, o)
	}
	return constant + s.throughLines(i)
}

func (*curve) open(*state, int) func(k int, l, u float64) bool {
	return func(_ int, l, u float64) bool { return l < u }
}

func (*curve) same(*bounds, int) bool { return false }
