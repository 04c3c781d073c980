package check

import "math"

// op is what a node computes: f of rounding.go. It is immutable; what belongs to one
// certificate is in state.
type op interface {
	// interval sets lo, hi and d of node i, and what else backward needs, from the
	// bounds of the nodes that it reads.
	interval(s *state, i int, b *bounds) error

	// backward replaces node i, whose form s.forms[i] is, by the nodes that it reads
	// in (*), and returns what that adds to ĉ.
	backward(s *state, i int) (constant float64)
}

// bend is an op that is not linear. Backward it is a line, or a plane, for each sign of
// the coefficient, and rows may stop at its outputs.
type bend interface {
	op

	// open returns a function that reports whether better bounds l, u of element k of
	// what node i reads would make better lines of node i.
	open(s *state, i int) func(k int, l, u float64) bool

	// same reports whether node i's element k is linear between its bounds, and not
	// constant: else its interval is as good as anything from lines.
	same(b *bounds, k int) bool
}

// stated is a bend with lines whose slopes certificates may state.
type stated interface {
	// line returns the free line of element k of node i for a slope α in [0, 1] as
	// certificates state it.
	line(s *state, i, k int, alpha float64) (slope, intercept float64)
}

// input is the image.
type input struct{}

func (input) interval(s *state, _ int, b *bounds) error {
	copy(b.lo, s.ball.lo)
	copy(b.hi, s.ball.hi)
	for k := range b.d {
		b.d[k] = s.g * max(math.Abs(b.lo[k]), math.Abs(b.hi[k]))
	}
	return nil
}

func (input) backward(s *state, i int) float64 { return s.ball.lower(s.forms[i].a) }

// lines are two lines of each element of a bend that reads one element: low is nowhere
// above the function between l and u, high nowhere below it.
type lines struct {
	low, lowAt   []float64 // slopes, intercepts
	high, highAt []float64
	free         []free
}

// free says which of the lines is free: any slope of a range will do, and those of
// certificates take its place.
type free int8

const (
	neither free = iota
	lower
	upper
)

func newLines(size int) *lines {
	v := make([]float64, 4*size)
	return &lines{v[:size], v[size : 2*size], v[2*size : 3*size], v[3*size:], make([]free, size)}
}

// set makes both lines of element k one.
func (l *lines) set(k int, slope, intercept float64) {
	l.low[k], l.lowAt[k], l.high[k], l.highAt[k] = slope, intercept, slope, intercept
}

func (l *lines) same(k int) bool {
	return l.free[k] == neither && l.low[k] != 0 && l.low[k] == l.high[k] && l.lowAt[k] == l.highAt[k]
}

// throughLines replaces the outputs of a bend by lines of its inputs.
func (s *state) throughLines(i int) (constant float64) {
	a, l := s.forms[i].a, s.bounds[i].lines
	alpha := s.alpha[i] // below 0: adaptive
	o, _ := s.nodes[i].op.(stated)
	in := s.grow(s.nodes[i].in[0], s.forms[i].region)
	s.each(i, func(from, to int) {
		for k := from; k < to; k++ {
			v := a[k]
			if v == 0 {
				continue
			}
			slope, intercept, side := l.low[k], l.lowAt[k], lower
			if v < 0 { // a NaN, too, goes on and is refused in the end
				slope, intercept, side = l.high[k], l.highAt[k], upper
			}
			if alpha != nil && l.free[k] == side && alpha[k] >= 0 {
				slope, intercept = o.line(s, i, k, alpha[k])
			}
			in[k] += float64(v * slope)
			constant += float64(v * intercept)
		}
	})
	return constant
}
