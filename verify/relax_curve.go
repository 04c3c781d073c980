package verify

import "math"

// curve is sigmoid or tanh: f(z) = centre + scale·(1/(1 + e^(−scale·z)) − ½), convex up to
// 0 and concave from there, f(−z) = 2·centre − f(z).
//
// 9c. Its upper line on [l, h] is the chord if h ≤ 0; else the tangent at the middle, or at
// the first point d ≥ 0 whose tangent is not below f(l), if that is farther right; or the
// chord if d ≥ h. So the area under the line is the smallest. The lower line is the upper
// one of [−h, −l], turned about (0, centre).
//
// Whatever slope s, rounded to float32, and touching point comes out of this, the
// intercept is computed for it. g(z) = f(z) − sz is convex where z ≤ 0, so it is largest at
// l or at min(h, 0) there; where z ≥ c = max(l, 0) it is concave, so below its tangent at
// any point τ of that part: at most g(τ) + max(g′(τ)(h − τ), −g′(τ)(τ − c), 0). g(0) is
// covered by the concave part, if h > 0. value errs by at most 2⁻⁴⁴, slope by as much of
// itself.
//
// value. e = e⁻ˣ, x = scale·|z| ≥ 0, has a relative error below 2⁻⁴⁶: x = k·ln 2 + r,
// where k·ln 2 has its high part exact, e⁻ʳ is a Taylor series to the 15th power, whose
// rest is below 2⁻⁶³ for |r| ≤ 0.35 and whose roundings are below 2⁻⁴⁷ of it, being at most
// 3·15·2⁻⁵³ times e^2|r|. From 600 on, where it is below 2⁻⁸⁶⁵, it is taken to be 0. The
// quotients have three more roundings and change by less than e does.
type curve struct{ scale, centre, steepest float64 }

var (
	sigmoidCurve = curve{1, 0.5, 0.25}
	tanhCurve    = curve{2, 0, 1}
)

const (
	// curveDistance is how far an execution may be from the exact value: the certificate
	// covers every implementation that is closer.
	curveDistance = 0x1p-20

	curveError = 0x1p-44 // of value, and relative of slope
	slopeLeast = 0x1p-800
	narrow     = 0x1p-16 // the chord of a shorter interval would be all rounding
)

// expNeg returns e⁻ˣ for x ≥ 0: the same bits on every platform.
func expNeg(x float64) float64 {
	const (
		high = 0x1.62e42fefap-1 // 33 bits of ln 2
		low  = 0x1.cf79abc9e3b3ap-40
	)
	if !(x < 600) {
		return 0
	}
	k := math.Floor(float64(x*(1/math.Ln2)) + 0.5)
	r := -(x - float64(k*high) - float64(k*low))
	sum := 1.0
	for n := 15.0; n >= 1; n-- {
		sum = 1 + float64(sum*r)/n
	}
	return math.Ldexp(sum, -int(k))
}

func (o *curve) value(z float64) float64 {
	e := expNeg(float64(o.scale * math.Abs(z)))
	v := (1 - e) / (1 + e) / 2 * o.scale
	if z < 0 {
		v = -v
	}
	return o.centre + v
}

func (o *curve) slope(z float64) float64 {
	e := expNeg(float64(o.scale * math.Abs(z)))
	d := 1 + e
	return float64(o.scale*o.scale*e) / float64(d*d)
}

// lines bounds the function on [l, h].
func (o *curve) lines(l, h float32) bent {
	d := keep(termCurve, curveDistance) + curveError
	most := o.centre + o.scale/2
	lo, hi := float64(l), float64(h)
	b := bent{
		lo: down32(max(2*o.centre-most, o.value(lo)-d)),
		hi: up32(min(most, o.value(hi)+d)),
	}
	s, t := o.upper(lo, hi)
	b.high, b.highAt = s, intercept(t+d)
	s, t = o.upper(-hi, -lo)
	b.low, b.lowAt = s, -intercept(t+d-2*o.centre)
	return b
}

// upper returns the upper line on [l, h].
func (o *curve) upper(l, h float64) (s float32, t float64) {
	a, touch := o.choose(l, h)
	s = float32(a)
	c := float64(s)
	g := func(z float64) float64 { return above(o.value(z), float64(c*z)) + curveError } // both float32 in z, or touch
	if h <= 0 {
		return s, max(g(l), g(h))
	}
	d := o.slope(touch)
	rise := (float64(d*(1+curveError)) + slopeLeast - c) * (h - touch)
	fall := (c - float64(d*(1-curveError)) + slopeLeast) * (touch - max(l, 0))
	t = g(touch) + float64(max(0, rise, fall)*(1+slack))
	return s, max(g(l), t+float64(math.Abs(t)*0x1p-50))
}

// choose returns the slope of the upper line, and where it touches, or h.
func (o *curve) choose(l, h float64) (slope, touch float64) {
	middle := (l + h) / 2
	// reaches reports whether the tangent at z is not below f(l).
	reaches := func(z float64) bool { return o.value(z)-float64(o.slope(z)*(z-l)) >= o.value(l) }
	switch {
	case l >= 0:
		return o.slope(middle), middle
	case h-l < narrow:
		return o.slope(middle), max(0, min(middle, h))
	case h <= 0 || !reaches(h):
		return max(0, min(o.steepest, (o.value(h)-o.value(l))/(h-l))), max(0, h)
	}
	touch = max(0, middle)
	if !reaches(touch) {
		from, to := touch, min(h, 512) // beyond, f is flat
		for range 60 {
			if touch = (from + to) / 2; reaches(touch) {
				to = touch
			} else {
				from = touch
			}
		}
		touch = to
	}
	return o.slope(touch), touch
}
