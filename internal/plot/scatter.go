package plot

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Scatter is a chart of things with one x and several y each, as models with their
// clean accuracy, and with their accuracy under attacks and certified: a marker for
// each y, joined by a vertical line, with the name of the thing beside them. Things
// of about one x stand side by side, a few pixels off, and so do markers of one y.
type Scatter struct {
	Layout
	Title, Subtitle string
	X, Y            Axis
	Series          []string // names of the y: at least one; gives colour and shape
	Points          []ScatterPoint
}

// ScatterPoint is one thing.
type ScatterPoint struct {
	Name string
	X    float64
	Y    []float64 // for each series; NaN: not known
}

// markers of series and of curves, in turn.
var markers = []string{"forward", "backward-input", "ibp", "pgd-step", "train-step"}

// With is the chart in another layout.
func (c *Scatter) With(l Layout) Chart { d := *c; d.Layout = l; return &d }

// WriteSVG writes the chart.
func (c *Scatter) WriteSVG(w io.Writer) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	s := newSVG(c.Layout)
	l := s.legend(s.heading(c.Title, c.Subtitle))
	for i, name := range c.Series {
		l.put(name, 12, func(x, y float64) { s.series(x, y, i) })
	}
	a := c.area()
	y := l.end() + a.above(s)
	a.box = box{s.left + a.room(s), y, s.right, y + s.tall}
	a.draw(s)
	a.clip(s)
	things := c.things(a)
	for i := range things {
		c.draw(s, &things[i])
	}
	s.elem("</g>")
	return s.finish(w, names(s, a, things), c.Title, c.Alt())
}

// check refuses what cannot be drawn.
func (c *Scatter) check() error {
	if len(c.Series) == 0 {
		return errors.New("no series, want at least one")
	}
	if len(c.Points) == 0 {
		return errors.New("no points, want at least one")
	}
	if err := c.X.checkEnds(); err != nil {
		return fmt.Errorf("ends of the x axis: %w", err)
	}
	if err := c.Y.checkEnds(); err != nil {
		return fmt.Errorf("ends of the y axis: %w", err)
	}
	for i := range c.Points {
		p := &c.Points[i]
		if len(p.Y) != len(c.Series) {
			return fmt.Errorf("point %q: got %d y, want one for each of %d series", p.Name, len(p.Y), len(c.Series))
		}
		if err := c.X.check(p.X); err != nil {
			return fmt.Errorf("point %q: x: %w", p.Name, err)
		}
		for k, y := range p.Y {
			if math.IsNaN(y) {
				continue
			}
			if err := c.Y.check(y); err != nil {
				return fmt.Errorf("point %q: %s: %w", p.Name, c.Series[k], err)
			}
		}
	}
	return nil
}

// area chooses the ends of the axes that are left open, with room beside the points.
func (c *Scatter) area() *area {
	a := &area{x: c.X, y: c.Y, inset: 16}
	lo, hi := point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	for i := range c.Points {
		p := &c.Points[i]
		lo.x, hi.x = min(lo.x, p.X), max(hi.x, p.X)
		for _, y := range p.Y {
			if !math.IsNaN(y) {
				lo.y, hi.y = min(lo.y, y), max(hi.y, y)
			}
		}
	}
	if lo.y > hi.y { // nothing known
		lo.y, hi.y = 1, 1
	}
	a.x.ends(lo.x, hi.x, true)
	a.y.ends(lo.y, hi.y, true)
	return a
}

// series draws the marker of series i.
func (s *svg) series(x, y float64, i int) {
	s.marker(x, y, 4.8, markers[i%len(markers)], palette[i%len(palette)])
}

func (c *Scatter) draw(s *svg, t *thing) {
	s.elem(`<g class="%sthing"><title>%s: %s</title>`, raw(prefix), t.Name, c.values(t.ScatterPoint))
	stem := t.stem()
	s.line(stem.x0, stem.y0, stem.x1, stem.y1, look("stem", none, frame, `stroke-width="1.2"`))
	for k, p := range t.marks {
		s.series(p.x, p.y, t.series[k])
	}
	s.elem("</g>")
}

// values lists what is known of p.
func (c *Scatter) values(p *ScatterPoint) string {
	list := []string{fmt.Sprintf("%s %s", or(c.X.Label, "x"), c.X.format(p.X))}
	for i, y := range p.Y {
		if !math.IsNaN(y) {
			list = append(list, c.Series[i]+" "+c.Y.format(y))
		}
	}
	return strings.Join(list, ", ")
}

// Table has a row for each point.
func (c *Scatter) Table() Table {
	t := Table{Caption: c.Title, Head: append([]string{"name", or(c.X.Label, "x")}, c.Series...)}
	if c.check() != nil {
		return t
	}
	for i := range c.Points {
		p := &c.Points[i]
		row := []string{p.Name, c.X.format(p.X)}
		for _, y := range p.Y {
			if math.IsNaN(y) {
				row = append(row, absent)
			} else {
				row = append(row, c.Y.format(y))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Alt names the point that is highest in each series.
func (c *Scatter) Alt() string {
	if c.check() != nil {
		return sentences(c.Title)
	}
	var best []string
	for k, name := range c.Series {
		top := -1
		for i := range c.Points {
			if y := c.Points[i].Y[k]; !math.IsNaN(y) && (top < 0 || y > c.Points[top].Y[k]) {
				top = i
			}
		}
		if top >= 0 {
			p := &c.Points[top]
			best = append(best, fmt.Sprintf("%s is highest for %s, %s at %s", name, p.Name, c.Y.format(p.Y[k]), c.X.format(p.X)))
		}
	}
	return sentences(fmt.Sprintf("%s, %s across and %s up: %s", count(len(c.Points), "point"), or(c.X.Label, "x"), or(c.Y.Label, listing(c.Series)), strings.Join(best, "; ")))
}
