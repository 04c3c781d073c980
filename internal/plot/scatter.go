package plot

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Scatter is a chart of things with one x and several y each, as models with their
// clean accuracy, and with their accuracy under attacks and certified: a marker for
// each y, joined by a vertical line, with the name of the thing beside them.
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

// markers of series, in turn.
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
	for i := range c.Points {
		c.draw(s, a, &c.Points[i])
	}
	s.elem("</g>")
	return s.finish(w, c.names(s, a), c.Title, c.Alt())
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
	a := &area{x: c.X, y: c.Y}
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
	s.marker(x, y, 5, markers[i%len(markers)], palette[i%len(palette)])
}

func (c *Scatter) draw(s *svg, a *area, p *ScatterPoint) {
	s.elem(`<g class="%sthing"><title>%s: %s</title>`, raw(prefix), p.Name, c.values(p))
	if top, bottom, ok := p.span(); ok {
		from, to := a.at(p.X, top), a.at(p.X, bottom)
		s.line(from.x, from.y, to.x, to.y, look("stem", none, frame, `stroke-width="1.2"`))
	}
	for i, y := range p.Y {
		if !math.IsNaN(y) {
			at := a.at(p.X, y)
			s.series(at.x, at.y, i)
		}
	}
	s.elem("</g>")
}

// span is the highest and the lowest y, if any is known.
func (p *ScatterPoint) span() (top, bottom float64, ok bool) {
	top, bottom = math.Inf(-1), math.Inf(1)
	for _, y := range p.Y {
		if !math.IsNaN(y) {
			top, bottom, ok = max(top, y), min(bottom, y), true
		}
	}
	return top, bottom, ok
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

// names writes the names beside the points, or numbers if there is no room for all
// of them, with the names below the chart. It returns the height of the drawing.
func (c *Scatter) names(s *svg, a *area) float64 {
	end := a.y1 + below
	before := s.Len()
	if c.place(s, a, 90, func(i int) string { return c.Points[i].Name }) {
		return end
	}
	s.Truncate(before)
	c.place(s, a, 200, func(i int) string { return strconv.Itoa(i + 1) })
	l := s.legend(end)
	for i := range c.Points {
		l.put(c.Points[i].Name, textWidth("88", s.subtitle), func(x, y float64) {
			s.text(x, y+0.35*s.subtitle, s.subtitle, strconv.Itoa(i+1), look("key", ink, none, `text-anchor="middle" font-weight="bold"`))
		})
	}
	return l.end() + 12
}

// place writes a label beside each thing of which anything is known, and reports
// whether there was room for all.
func (c *Scatter) place(s *svg, a *area, far float64, label func(int) string) (all bool) {
	l := &labels{within: a.box}
	for i := range c.Points {
		p := &c.Points[i]
		top, bottom, ok := p.span()
		if !ok {
			continue
		}
		from, to := a.at(p.X, top), a.at(p.X, bottom)
		l.taken = append(l.taken, box{from.x - 2, from.y, from.x + 2, to.y})
		for _, y := range p.Y {
			if !math.IsNaN(y) {
				at := a.at(p.X, y)
				l.taken = append(l.taken, around(at.x, at.y, 6))
			}
		}
	}
	all = true
	for i := range c.Points {
		p := &c.Points[i]
		if _, _, ok := p.span(); !ok {
			continue
		}
		var anchors []point
		for _, y := range p.Y {
			if !math.IsNaN(y) {
				anchors = append(anchors, a.at(p.X, y))
			}
		}
		all = l.place(s, anchors, far, s.small, label(i), gray) && all
	}
	return all
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
