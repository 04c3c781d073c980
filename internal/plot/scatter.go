package plot

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
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

// thing is a point with the places of its markers, from the top down.
type thing struct {
	*ScatterPoint
	marks  []point
	series []int
}

// things places those of which anything is known. Where stems would lie on each
// other, they stand side by side.
func (c *Scatter) things(a *area) (list []thing) {
	for i := range c.Points {
		t := thing{ScatterPoint: &c.Points[i]}
		for k, y := range t.Y {
			if !math.IsNaN(y) {
				t.marks, t.series = append(t.marks, a.at(t.X, y)), append(t.series, k)
			}
		}
		if t.marks != nil {
			list = append(list, t)
		}
	}
	x := make([]float64, len(list))
	for i := range list {
		x[i] = list[i].marks[0].x
	}
	spread(x, 7)
	for i := range list {
		for k := range list[i].marks {
			list[i].marks[k].x = x[i]
		}
	}
	return list
}

// spread moves places as little as needed to be some gap apart: those that are
// closer stand around their mean.
func spread(x []float64, gap float64) {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(x[i], x[j]) })
	type group struct{ first, n, middle float64 } // as floats, for their sums
	var groups []group
	half := func(g group) float64 { return gap * (g.n - 1) / 2 }
	for k, i := range order {
		g := group{float64(k), 1, x[i]}
		for len(groups) > 0 {
			before := groups[len(groups)-1]
			if before.middle+half(before)+gap <= g.middle-half(g) {
				break
			}
			n := before.n + g.n
			g = group{before.first, n, float64(before.middle*before.n)/n + float64(g.middle*g.n)/n}
			groups = groups[:len(groups)-1]
		}
		groups = append(groups, g)
	}
	for _, g := range groups {
		for k := range int(g.n) {
			x[order[int(g.first)+k]] = g.middle - half(g) + float64(gap*float64(k))
		}
	}
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

// stem is the line through all markers.
func (t *thing) stem() box {
	b := box{t.marks[0].x, t.marks[0].y, t.marks[0].x, t.marks[0].y}
	for _, p := range t.marks {
		b.y0, b.y1 = min(b.y0, p.y), max(b.y1, p.y)
	}
	return b
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
func names(s *svg, a *area, things []thing) float64 {
	end := a.y1 + below
	before := s.Len()
	if place(s, a, things, 54, func(i int) string { return things[i].Name }) {
		return end
	}
	s.Truncate(before)
	place(s, a, things, 200, func(i int) string { return strconv.Itoa(i + 1) })
	l := s.legend(end)
	for i := range things {
		l.put(things[i].Name, textWidth("88", s.subtitle), func(x, y float64) {
			s.text(x, y+0.35*s.subtitle, s.subtitle, strconv.Itoa(i+1), look("key", ink, none, `text-anchor="middle" font-weight="bold"`))
		})
	}
	return l.end() + 12
}

// place writes a label beside each thing, and reports whether there was room for all.
func place(s *svg, a *area, things []thing, far float64, label func(int) string) (all bool) {
	l := &labels{within: a.box}
	for i := range things {
		stem := things[i].stem()
		l.taken = append(l.taken, box{stem.x0 - 2, stem.y0, stem.x1 + 2, stem.y1})
		for _, p := range things[i].marks {
			l.taken = append(l.taken, around(p.x, p.y, 6))
		}
	}
	all = true
	for i := range things {
		all = l.place(s, things[i].marks, far, s.small, label(i), gray) && all
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
