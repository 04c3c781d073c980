package check

import "math"

// clip is min(max(x, least), most).
type clip struct{ least, most float64 }

func (o *clip) value(x float64) float64 { return min(max(x, o.least), o.most) }

func (o *clip) interval(s *state, i int, b *bounds) error {
	p := &s.bounds[s.nodes[i].in[0]]
	b.lines = newLines(len(b.lo))
	n := b.lines
	for k, l := range p.lo {
		u := p.hi[k]
		b.lo[k], b.hi[k] = o.value(l), o.value(u)
		at := 0.0
		switch {
		case u <= o.least || l >= o.most:
			at = math.Abs(b.lo[k])
			n.set(k, 0, b.lo[k])
		case o.least <= l && u <= o.most:
			n.set(k, 1, 0)
		default:
			n.low[k], n.lowAt[k] = o.lower(l, u)
			n.high[k], n.highAt[k] = o.upper(l, u)
			switch {
			case u <= o.most:
				n.free[k] = lower
			case l >= o.least:
				n.free[k] = upper
			}
			at = p.m[k] + max(math.Abs(o.least), math.Abs(o.most)) // of any slope in [0, 1]
		}
		b.d[k] = s.g * (p.m[k] + at)
	}
	return nil
}

// lower returns a line that is nowhere above f on [l, u].
func (o *clip) lower(l, u float64) (slope, intercept float64) {
	if slope, ok := o.straight(l, u); ok {
		return slope, o.below(slope, l, u)
	}
	low, _ := o.steepest(l, u)
	if l < o.least {
		low *= adaptive(l, o.least, u)
	}
	return low, o.below(low, l, u)
}

// upper returns a line that is nowhere below f on [l, u].
func (o *clip) upper(l, u float64) (slope, intercept float64) {
	if slope, ok := o.straight(l, u); ok {
		return slope, o.above(slope, l, u)
	}
	_, high := o.steepest(l, u)
	if u > o.most {
		high *= 1 - adaptive(l, o.most, u)
	}
	return high, o.above(high, l, u)
}

// straight returns the slope of f on [l, u], if there is no kink within.
func (o *clip) straight(l, u float64) (slope float64, ok bool) {
	switch {
	case u <= o.least || l >= o.most:
		return 0, true
	case o.least <= l && u <= o.most:
		return 1, true
	}
	return 0, false
}

// steepest returns the slopes of the steepest lines that are best somewhere: the lower
// one goes through (u, f(u)) and, if l is below the first kink, through it, else through
// (l, f(l)); the upper one likewise.
func (o *clip) steepest(l, u float64) (low, high float64) {
	slope := func(from, to float64) float64 {
		return max(0, min(1, (o.value(to)-o.value(from))/(to-from)))
	}
	return slope(max(l, o.least), u), slope(l, min(u, o.most))
}

// below returns the intercept of the highest line of a slope in [0, 1] that is nowhere
// above f on [l, u]. f minus the line is linear but for two kinks, of which the second,
// at most, turns down: so it is smallest at l, u or the first kink.
func (o *clip) below(slope, l, u float64) float64 {
	t := min(down(o.value(l)-up(float64(slope*l))), down(o.value(u)-up(float64(slope*u))))
	if l < o.least {
		t = min(t, down(o.least-up(float64(slope*o.least))))
	}
	return t
}

// above is below of the other side.
func (o *clip) above(slope, l, u float64) float64 {
	t := max(up(o.value(l)-down(float64(slope*l))), up(o.value(u)-down(float64(slope*u))))
	if u > o.most {
		t = max(t, up(o.most-down(float64(slope*o.most))))
	}
	return t
}

func (o *clip) backward(s *state, i int) (constant float64) {
	if s.fixes != nil {
		constant = s.takePoints(i, o)
	}
	return constant + s.throughLines(i)
}

func (o *clip) open(*state, int) func(k int, l, u float64) bool {
	return func(_ int, l, u float64) bool {
		return l < o.least && o.least < u || l < o.most && o.most < u
	}
}

func (*clip) same(b *bounds, k int) bool { return b.lines.same(k) }

func (o *clip) line(s *state, i, k int, alpha float64) (slope, intercept float64) {
	p := &s.bounds[s.nodes[i].in[0]]
	l, u := p.lo[k], p.hi[k]
	low, high := o.steepest(l, u)
	if s.bounds[i].lines.free[k] == lower {
		slope = float64(alpha * low)
		return slope, o.below(slope, l, u)
	}
	slope = float64(alpha * high)
	return slope, o.above(slope, l, u)
}
