package check

import "math"

// relu is max(x, 0). Below it is α·z, for any α in [0, 1]; above, a line of a slope s in
// [0, 1] with the intercept max(0, −s·l, u − s·u): max(z, 0) − s·z is convex, and so
// largest at l or u.
type relu struct{}

func (relu) interval(s *state, i int, b *bounds) error {
	p := &s.bounds[s.nodes[i].in[0]]
	b.lines = newLines(len(b.lo))
	for k, l := range p.lo {
		u := p.hi[k]
		b.lo[k], b.hi[k] = max(0, l), max(0, u)
		switch {
		case l >= 0:
			b.lines.set(k, 1, 0)
		case u > 0:
			b.lines.free[k] = lower
			b.lines.high[k], b.lines.highAt[k] = upperLine(l, u)
			if u > -l {
				b.lines.low[k] = 1
			}
		}
		if u > 0 { // or the output is 0, exactly
			b.d[k] = s.g * (p.m[k] + b.lines.highAt[k])
		}
	}
	return nil
}

func (relu) backward(s *state, i int) float64 {
	if s.fixes != nil {
		s.takeFixes(i)
	}
	constant := s.takePlanes(i)
	return constant + s.throughLines(i)
}

func (relu) open(*state, int) func(k int, l, u float64) bool { return crossesZero }

func (relu) same(b *bounds, k int) bool { return b.lines.same(k) }

func (relu) line(_ *state, _, _ int, alpha float64) (slope, intercept float64) { return alpha, 0 }

func crossesZero(_ int, l, u float64) bool { return l < 0 && u > 0 }

// adaptive returns 1 or 0 as u is farther from a kink than l or not: of the lines
// through the kink that are on one side of the function, that one leaves the smallest
// area between them. Where the kink is in the middle, as it often is, rounding must not
// decide: it takes a thousandth more for a 1.
func adaptive(l, kink, u float64) float64 {
	if u-kink > (1+0x1p-10)*(kink-l) {
		return 1
	}
	return 0
}

// upperLine returns a slope in [0, 1] and an intercept ≥ 0 of a line above
// max(z, 0) on [l, u], l < 0 < u.
func upperLine(l, u float64) (slope, intercept float64) {
	slope = min(1, u/(u-l))
	atL := up(float64(-slope * l))
	atU := up(u - down(float64(slope*u)))
	return slope, max(0, atL, atU)
}

// leakyReLU is x where x > 0, else slope·x, of one slope or one for each channel. It
// is convex if the slope is at most 1, else concave.
type leakyReLU struct{ slope []float64 }

func (o *leakyReLU) of(s *state, i, k int) float64 {
	return o.slope[k%s.nodes[i].shape.C%len(o.slope)]
}

func (o *leakyReLU) interval(s *state, i int, b *bounds) error {
	p := &s.bounds[s.nodes[i].in[0]]
	b.lines = newLines(len(b.lo))
	for k, l := range p.lo {
		u, slope := p.hi[k], o.of(s, i, k)
		most := float64(max(1, math.Abs(slope)) * p.m[k]) // of the product, needed or not
		if l >= 0 {                                       // exact
			if err := s.fits(most); err != nil {
				return err
			}
			b.lo[k], b.hi[k], b.d[k] = l, u, s.g*p.m[k]
			b.lines.set(k, 1, 0)
			continue
		}
		low, high, intercept := float64(slope*l), float64(slope*u), 0.0
		if u <= 0 {
			b.lines.set(k, slope, 0)
			b.lo[k], b.hi[k] = min(low, high), max(low, high)
		} else {
			intercept = o.unstable(b.lines, k, slope, l, u)
			b.lo[k], b.hi[k] = min(low, 0), max(low, u)
		}
		e := keep(leakyError, float64(math.Abs(low)*u32)*room) + keep(underflow, eta)
		if err := s.widen(b, k, most+math.Abs(intercept), rounded{e, e}, most); err != nil {
			return err
		}
	}
	return nil
}

// unstable sets the lines of an element k that may have either sign, and returns the
// intercept of the one that is not free.
//
// That is λz + β, λ about the slope between the ends. The function minus any line
// is, like the function, convex or concave, and so largest, or smallest, at l or u:
// these ask for β. The free line goes through 0 with a slope between those of the
// function's two pieces, on the other side of both.
func (o *leakyReLU) unstable(n *lines, k int, slope, l, u float64) float64 {
	chord := between(slope, (u-float64(slope*l))/(u-l))
	free := between(slope, slope+float64(adaptive(l, 0, u)*(1-slope)))
	if slope <= 1 {
		n.free[k], n.low[k] = lower, free
		n.high[k] = chord
		n.highAt[k] = max(up(up(float64(slope*l))-down(float64(chord*l))), up(u-down(float64(chord*u))))
		return n.highAt[k]
	}
	n.free[k], n.high[k] = upper, free
	n.low[k] = chord
	n.lowAt[k] = min(down(down(float64(slope*l))-up(float64(chord*l))), down(u-up(float64(chord*u))))
	return n.lowAt[k]
}

// between moves v to between a slope and 1.
func between(slope, v float64) float64 {
	return max(min(slope, 1), min(max(slope, 1), v))
}

func (*leakyReLU) backward(s *state, i int) float64 {
	if s.fixes != nil {
		s.takeFixes(i)
	}
	return s.throughLines(i)
}

func (*leakyReLU) open(*state, int) func(k int, l, u float64) bool { return crossesZero }

func (*leakyReLU) same(b *bounds, k int) bool { return b.lines.same(k) }

func (o *leakyReLU) line(s *state, i, k int, alpha float64) (slope, intercept float64) {
	v := o.of(s, i, k)
	return between(v, v+float64(alpha*(1-v))), 0
}
