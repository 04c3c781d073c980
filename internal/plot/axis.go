package plot

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Scale is how an axis maps values to places.
type Scale int

// The scales.
const (
	Linear Scale = iota
	Log          // all values are above 0
)

// Axis is one axis of a chart.
type Axis struct {
	Label string
	Scale Scale

	// Min and Max are the ends, if they differ. Otherwise they are chosen so that
	// all values are shown.
	Min, Max float64

	// Format writes the value at a tick; nil: up to four digits.
	Format func(float64) string
}

// Percent formats a fraction, for Axis.Format.
func Percent(v float64) string { return short(100*v) + "%" }

func (a *Axis) format(v float64) string {
	if a.Format != nil {
		return a.Format(v)
	}
	return short(v)
}

// short writes up to four digits, with an exponent only where there would be many
// zeros.
func short(v float64) string {
	t := strconv.FormatFloat(v, 'g', 4, 64)
	if size := math.Abs(v); size >= 1e-4 && size < 1e6 {
		v, _ = strconv.ParseFloat(t, 64)
		t = strconv.FormatFloat(v, 'f', -1, 64)
	}
	return t
}

// check refuses values that have no place on the axis.
func (a *Axis) check(v float64) error {
	switch {
	case math.IsNaN(v), math.IsInf(v, 0):
		return fmt.Errorf("got %g, want a number", v)
	case a.Scale == Log && v <= 0:
		return fmt.Errorf("got %g on a logarithmic axis, want more than 0", v)
	}
	return nil
}

// checkEnds refuses ends that are given and make no axis.
func (a *Axis) checkEnds() error {
	if a.Min == a.Max {
		return nil
	}
	if a.Min > a.Max {
		return fmt.Errorf("got %g and %g, want them ascending", a.Min, a.Max)
	}
	return errors.Join(a.check(a.Min), a.check(a.Max))
}

// ends sets Min and Max for values from lo to hi; round: to whole ticks.
func (a *Axis) ends(lo, hi float64, round bool) {
	switch {
	case a.Min != a.Max:
		return
	case lo < hi:
	case a.Scale == Log:
		lo, hi = lo/2, 2*hi
	case lo == 0:
		hi = 1
	default:
		lo, hi = min(0, 2*lo), max(0, 2*hi)
	}
	for round && a.Scale == Linear { // wider ends may want wider ticks
		before := hi - lo
		unit := tickUnit(lo, hi)
		lo, hi = unit*math.Floor(lo/unit), unit*math.Ceil(hi/unit)
		round = hi-lo > before
	}
	a.Min, a.Max = lo, hi
}

// fraction is the place of v: 0 at Min, 1 at Max.
func (a *Axis) fraction(v float64) float64 {
	if a.Scale == Log {
		return math.Log(v/a.Min) / math.Log(a.Max/a.Min)
	}
	return (v - a.Min) / (a.Max - a.Min)
}

// ticks lists the values to mark.
func (a *Axis) ticks() (list []float64) {
	if a.Scale == Log {
		return logTicks(a.Min, a.Max)
	}
	unit := tickUnit(a.Min, a.Max)
	first := math.Ceil(a.Min/unit - 1e-9)
	for i := 0; ; i++ {
		v := (first + float64(i)) * unit
		if v > a.Max+1e-9*unit {
			break
		}
		if v == 0 {
			v = 0 // not −0
		}
		list = append(list, v)
	}
	return list
}

// tickUnit is the smallest of 1, 2, 5, 10, … times a power of ten that leaves at
// most six parts.
func tickUnit(lo, hi float64) float64 {
	for p := math.Pow(10, math.Floor(math.Log10((hi-lo)/10))); ; p *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if (hi-lo)/(m*p) <= 6 {
				return m * p
			}
		}
	}
}

// logTicks lists 1, 2, 5, 10, … from lo to hi, and only powers of ten where these
// are many.
func logTicks(lo, hi float64) (list []float64) {
	factors := []float64{1, 2, 5}
	if hi/lo > 1e5 {
		factors = factors[:1]
	}
	for p := math.Pow(10, math.Floor(math.Log10(lo))); p <= hi; p *= 10 {
		for _, m := range factors {
			if v := m * p; v >= lo && v <= hi {
				list = append(list, v)
			}
		}
	}
	return list
}

// area is a plot area.
type area struct {
	box   // in pixels
	x, y  Axis
	inset float64 // of the ends of the axes, so that what lies there is clear of the frame
}

// at is the place of a value.
func (a *area) at(x, y float64) point {
	wide, tall := a.x1-a.x0-2*a.inset, a.y1-a.y0-2*a.inset
	return point{a.x0 + a.inset + float64(wide*a.x.fraction(x)), a.y1 - a.inset - float64(tall*a.y.fraction(y))}
}

// room returns the width that the labels of the y axis want on its left.
func (a *area) room(s *svg) float64 {
	wide := 0.0
	for _, v := range a.y.ticks() {
		wide = max(wide, textWidth(a.y.format(v), s.small))
	}
	if wide += 8; !s.Narrow {
		wide = max(wide+26, 56)
	}
	return wide
}

// above is the height that the label of the y axis wants above the area: where
// there is little room, it does not stand beside it.
func (a *area) above(s *svg) float64 {
	if s.Narrow && a.y.Label != "" {
		return 20
	}
	return 8
}

// below is the height that the labels of the x axis want.
const below = 48

// clip begins a group that is cut off a little beyond the area.
func (a *area) clip(s *svg) {
	const margin = 6
	s.elem(`<clipPath id="%s-clip"><rect x="%.1f" y="%.1f" width="%.1f" height="%.1f"/></clipPath>`,
		s.id(), a.x0-margin, a.y0-margin, a.x1-a.x0+2*margin, a.y1-a.y0+2*margin)
	s.elem(`<g clip-path="url(#%s-clip)">`, s.id())
}

// draw draws the grid, the frame and the labels of the axes.
func (a *area) draw(s *svg) {
	written := math.Inf(-1) // up to here
	for _, v := range a.x.ticks() {
		x := a.at(v, a.y.Min).x
		s.line(x, a.y0, x, a.y1, look("grid", none, faint))
		t := a.x.format(v)
		half := textWidth(t, s.small) / 2
		if x = min(x, s.width-2-half); x-half > written+4 {
			s.text(x, a.y1+17, s.small, t, look("tick", soft, none, `text-anchor="middle"`))
			written = x + half
		}
	}
	for _, v := range a.y.ticks() {
		y := a.at(a.x.Min, v).y
		s.line(a.x0, y, a.x1, y, look("grid", none, faint))
		s.text(a.x0-7, y+4, s.small, a.y.format(v), look("tick", soft, none, `text-anchor="end"`))
	}
	s.elem(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" %s/>`, a.x0, a.y0, a.x1-a.x0, a.y1-a.y0, raw(look("axes", none, frame)))
	label := fit(a.x.Label, s.subtitle, s.right-s.left)
	x := (a.x0 + a.x1) / 2
	x = min(x, s.right-textWidth(label, s.subtitle)/2)
	s.text(x, a.y1+38, s.subtitle, label, look("", ink, none, `text-anchor="middle"`))
	if s.Narrow {
		s.text(s.left, a.y0-10, s.subtitle, fit(a.y.Label, s.subtitle, s.right-s.left), look("", ink, none))
		return
	}
	x, y := s.left+10, (a.y0+a.y1)/2
	s.text(x, y, s.subtitle, a.y.Label, look("", ink, none, `text-anchor="middle"`, fmt.Sprintf(`transform="rotate(-90 %.1f %.1f)"`, x, y)))
}
