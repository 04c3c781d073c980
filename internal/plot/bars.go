package plot

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Bars is a chart of horizontal bars, each with its value.
type Bars struct {
	Layout
	Title, Subtitle string
	Label           string               // of the values, with their unit
	Format          func(float64) string // writes a value; nil: up to four digits
	Max             float64              // the end of the scale, which begins at 0; 0: the largest value
	Bars            []Bar
}

// Bar is one bar.
type Bar struct {
	Group     string // stands above the first of bars that follow each other in one group
	Name      string
	Value     float64 // at least 0; NaN: not known
	Low, High float64 // an interval drawn over its end, if they differ
	Note      string  // stands behind the value
	Color     int     // 1 … of the palette, around which it goes; 0: the first
}

// With is the chart in another layout.
func (b *Bars) With(l Layout) Chart { d := *b; d.Layout = l; return &d }

func (b *Bars) format(v float64) string {
	if b.Format != nil {
		return b.Format(v)
	}
	return short(v)
}

// check refuses what cannot be drawn.
func (b *Bars) check() error {
	if len(b.Bars) == 0 {
		return errors.New("no bars, want at least one")
	}
	bad := func(v float64) bool { return !(v >= 0) || math.IsInf(v, 1) }
	if bad(b.Max) {
		return fmt.Errorf("end of the scale: got %g, want a number of at least 0", b.Max)
	}
	for i := range b.Bars {
		k := &b.Bars[i]
		if !math.IsNaN(k.Value) && bad(k.Value) {
			return fmt.Errorf("bar %q: got %g, want a number of at least 0", k.Name, k.Value)
		}
		if bad(k.Low) || bad(k.High) || k.Low > k.High {
			return fmt.Errorf("bar %q: got an interval from %g to %g, want ascending numbers of at least 0", k.Name, k.Low, k.High)
		}
	}
	return nil
}

// text stands behind the bar.
func (b *Bars) text(k *Bar) string {
	if math.IsNaN(k.Value) {
		return strings.TrimSpace(absent + " " + k.Note)
	}
	t := b.format(k.Value)
	if k.Low != k.High {
		t += fmt.Sprintf(" [%s, %s]", b.format(k.Low), b.format(k.High))
	}
	return strings.TrimSpace(t + " " + k.Note)
}

// WriteSVG writes the chart.
func (b *Bars) WriteSVG(w io.Writer) error {
	if err := b.check(); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	s := newSVG(b.Layout)
	y := s.heading(b.Title, b.Subtitle)
	if b.Label != "" {
		s.text(s.left, y+14, s.subtitle, fit(b.Label, s.subtitle, s.right-s.left), look("", ink, none))
		y += 22
	}
	names, values, most := 0.0, 0.0, b.Max
	for i := range b.Bars {
		k := &b.Bars[i]
		names = max(names, textWidth(k.Name, s.subtitle))
		values = max(values, textWidth(b.text(k), s.small))
		if b.Max == 0 {
			most = max(most, k.reach())
		}
	}
	room := s.right - s.left
	names, values = min(names, 0.45*room), min(values, 0.45*room)
	left := s.left + names + 10
	if s.Narrow { // names stand above their bars
		left, names = s.left, room
	}
	right := s.right - values - 8
	scale := func(v float64) float64 {
		if most == 0 {
			return left
		}
		return left + float64((right-left)*min(v/most, 1))
	}
	const tall = 16
	group := ""
	for i := range b.Bars {
		k := &b.Bars[i]
		if k.Group != group {
			group = k.Group
			y += 22
			s.text(s.left, y-4, s.subtitle, fit(group, s.subtitle, room), look("group", ink, none, `font-weight="bold"`))
		}
		if s.Narrow {
			y += 17
			s.text(left, y-3, s.subtitle, fit(k.Name, s.subtitle, names), look("tick", soft, none))
		} else {
			s.text(left-8, y+4+0.78*tall, s.subtitle, fit(k.Name, s.subtitle, names), look("tick", soft, none, `text-anchor="end"`))
		}
		b.draw(s, k, left, y+3, tall, scale)
		s.text(scale(k.reach())+6, y+3+0.78*tall, s.small, fit(b.text(k), s.small, values), look("value", ink, none))
		s.line(left, y, left, y+tall+6, look("axes", none, frame))
		y += tall + 8
	}
	return s.finish(w, y+12, b.Title, b.Alt())
}

// reach is how far the bar goes, and the interval over its end.
func (k *Bar) reach() float64 {
	if math.IsNaN(k.Value) {
		return k.High
	}
	return max(k.Value, k.High)
}

func (b *Bars) draw(s *svg, k *Bar, x, y, tall float64, scale func(float64) float64) {
	s.elem(`<g class="%sthing"><title>%s: %s</title>`, raw(prefix), k.Name, b.text(k))
	if !math.IsNaN(k.Value) {
		s.elem(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" %s/>`, x, y, scale(k.Value)-x, tall, raw(look("bar", palette[max(0, k.Color-1)%len(palette)], none)))
	}
	if k.Low != k.High {
		lo, hi, mid := scale(k.Low), scale(k.High), y+tall/2
		style := look("interval", none, ink, `stroke-width="1.4"`)
		s.line(lo, mid, hi, mid, style)
		s.line(lo, mid-4, lo, mid+4, style)
		s.line(hi, mid-4, hi, mid+4, style)
	}
	s.elem("</g>")
}

// Table has a row for each bar.
func (b *Bars) Table() Table {
	t := Table{Caption: b.Title, Head: []string{"name", or(b.Label, "value")}}
	if b.check() != nil {
		return t
	}
	for i := range b.Bars {
		k := &b.Bars[i]
		name := k.Name
		if k.Group != "" {
			name = k.Group + ": " + name
		}
		t.Rows = append(t.Rows, []string{name, b.text(k)})
	}
	return t
}

// Alt tells the largest and the smallest.
func (b *Bars) Alt() string {
	if b.check() != nil {
		return sentences(b.Title)
	}
	low, high := -1, -1
	for i := range b.Bars {
		v := b.Bars[i].Value
		if math.IsNaN(v) {
			continue
		}
		if low < 0 || v < b.Bars[low].Value {
			low = i
		}
		if high < 0 || v > b.Bars[high].Value {
			high = i
		}
	}
	what := count(len(b.Bars), "bar")
	if b.Label != "" {
		what += ", " + b.Label
	}
	name := func(i int) string {
		k := &b.Bars[i]
		return strings.TrimPrefix(k.Group+", "+k.Name, ", ")
	}
	switch {
	case low < 0:
		return sentences(what + ": no value is known")
	case len(b.Bars) == 1 || b.Bars[low].Value == b.Bars[high].Value:
		return sentences(fmt.Sprintf("%s: %s, %s", what, name(low), b.format(b.Bars[low].Value)))
	}
	return sentences(fmt.Sprintf("%s: from %s for %s to %s for %s", what, b.format(b.Bars[low].Value), name(low), b.format(b.Bars[high].Value), name(high)))
}
