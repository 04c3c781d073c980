package plot

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// Curves is a chart of curves over one pair of axes.
type Curves struct {
	Layout
	Title, Subtitle string
	X, Y            Axis
	Curves          []Curve // at least one; later ones lie above
	Bands           []Band  // below all curves
}

// Curve is a line through points.
type Curve struct {
	Name string
	X, Y []float64 // as many; X ascending; a Y that is NaN leaves a gap

	Shape  Shape
	Points bool // mark each point; a tooltip has its values
	Color  int  // 1 … of the palette, around which it goes; 0: by the curve's place in the chart
	Dashed bool
}

// Shape is what a curve does between its points.
type Shape int

// The shapes.
const (
	Line       Shape = iota // goes straight from one to the next
	StepAfter               // Y[i] holds from X[i] until X[i+1]
	StepBefore              // Y[i] holds from X[i-1], excluded, up to X[i]
)

// Band is the area between two curves that begin and end at the same X. Their
// names and looks do not matter.
type Band struct {
	Name      string
	Low, High Curve
}

// With is the chart in another layout.
func (c *Curves) With(l Layout) Chart { d := *c; d.Layout = l; return &d }

// WriteSVG writes the chart.
func (c *Curves) WriteSVG(w io.Writer) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	s := newSVG(c.Layout)
	y := c.legend(s, s.heading(c.Title, c.Subtitle))
	a := c.area()
	y += a.above(s)
	a.box = box{s.left + a.room(s), y, s.right, y + s.tall}
	a.draw(s)
	a.clip(s) // what lies beyond given ends
	for i := range c.Bands {
		b := &c.Bands[i]
		outline := path(a, &b.Low)[0]
		high := path(a, &b.High)[0]
		for k := range high {
			outline = append(outline, high[len(high)-1-k])
		}
		s.elem(`<polygon points="%s" %s><title>%s</title></polygon>`, raw(points(outline)), raw(look("band", shade, none)), b.Name)
	}
	for i := range c.Curves {
		c.draw(s, a, i)
	}
	s.elem("</g>")
	return s.finish(w, a.y1+below, c.Title, c.Alt())
}

// check refuses what cannot be drawn.
func (c *Curves) check() error {
	if len(c.Curves) == 0 {
		return errors.New("no curves, want at least one")
	}
	if err := c.X.checkEnds(); err != nil {
		return fmt.Errorf("ends of the x axis: %w", err)
	}
	if err := c.Y.checkEnds(); err != nil {
		return fmt.Errorf("ends of the y axis: %w", err)
	}
	for i := range c.Curves {
		if err := c.checkCurve(&c.Curves[i], true); err != nil {
			return fmt.Errorf("curve %q: %w", c.Curves[i].Name, err)
		}
	}
	for i := range c.Bands {
		b := &c.Bands[i]
		for _, side := range []*Curve{&b.Low, &b.High} {
			if err := c.checkCurve(side, false); err != nil {
				return fmt.Errorf("band %q: %w", b.Name, err)
			}
		}
	}
	return nil
}

func (c *Curves) checkCurve(k *Curve, gaps bool) error {
	if len(k.X) != len(k.Y) || len(k.X) == 0 {
		return fmt.Errorf("got %d x and %d y, want as many, at least one", len(k.X), len(k.Y))
	}
	for i, x := range k.X {
		if i > 0 && x < k.X[i-1] {
			return fmt.Errorf("x[%d]: got %g after %g, want them ascending", i, x, k.X[i-1])
		}
		if err := c.X.check(x); err != nil {
			return fmt.Errorf("x[%d]: %w", i, err)
		}
		if gaps && math.IsNaN(k.Y[i]) {
			continue
		}
		if err := c.Y.check(k.Y[i]); err != nil {
			return fmt.Errorf("y[%d]: %w", i, err)
		}
	}
	return nil
}

// area chooses the ends of the axes that are left open.
func (c *Curves) area() *area {
	a := &area{x: c.X, y: c.Y}
	lo, hi := point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	cover := func(k *Curve) {
		for i, x := range k.X {
			lo.x, hi.x = min(lo.x, x), max(hi.x, x)
			if y := k.Y[i]; !math.IsNaN(y) {
				lo.y, hi.y = min(lo.y, y), max(hi.y, y)
			}
		}
	}
	for i := range c.Curves {
		cover(&c.Curves[i])
	}
	for i := range c.Bands {
		cover(&c.Bands[i].Low)
		cover(&c.Bands[i].High)
	}
	if lo.y > hi.y { // gaps alone
		lo.y, hi.y = 1, 1
	}
	a.x.ends(lo.x, hi.x, false)
	a.y.ends(lo.y, hi.y, true)
	return a
}

// path is the line of a curve, in the pieces that gaps leave.
func path(a *area, k *Curve) (pieces [][]point) {
	var line []point
	for i, x := range k.X {
		if math.IsNaN(k.Y[i]) {
			if line != nil {
				pieces, line = append(pieces, line), nil
			}
			continue
		}
		p := a.at(x, k.Y[i])
		if n := len(line); n > 0 && p.y != line[n-1].y {
			switch k.Shape {
			case StepAfter:
				line = append(line, point{p.x, line[n-1].y})
			case StepBefore:
				line = append(line, point{line[n-1].x, p.y})
			}
		}
		if n := len(line); n > 1 && line[n-2].y == p.y && line[n-1].y == p.y {
			line = line[:n-1] // on the way
		}
		line = append(line, p)
	}
	if line != nil {
		pieces = append(pieces, line)
	}
	return pieces
}

// place is that of curve i in the palette.
func (c *Curves) place(i int) int {
	if k := c.Curves[i].Color; k > 0 {
		return (k - 1) % len(palette)
	}
	return i % len(palette)
}

func (c *Curves) color(i int) color { return palette[c.place(i)] }

// mark draws the marker of curve i, which tells it apart where colours do not.
func (c *Curves) mark(s *svg, x, y float64, i int) {
	s.marker(x, y, 3.6, markers[c.place(i)%len(markers)], c.color(i))
}

// look is that of the line of curve i.
func (c *Curves) look(class string, i int) string {
	look := look(class, none, c.color(i), `stroke-width="2.2"`)
	if c.Curves[i].Dashed {
		look += ` stroke-dasharray="6 4"`
	}
	return look
}

func (c *Curves) draw(s *svg, a *area, i int) {
	k := &c.Curves[i]
	s.elem(`<g class="%sseries"><title>%s</title>`, raw(prefix), k.Name)
	for _, line := range path(a, k) {
		if len(line) == 1 && !k.Points {
			s.elem(`<circle cx="%.1f" cy="%.1f" r="2" %s/>`, line[0].x, line[0].y, raw(look("curve", c.color(i), none)))
			continue
		}
		s.elem(`<polyline points="%s" %s/>`, raw(points(line)), raw(c.look("curve", i)))
	}
	for j, y := range k.Y {
		if !k.Points || math.IsNaN(y) {
			continue
		}
		p := a.at(k.X[j], y)
		s.elem(`<g class="%spoint"><title>%s: %s, %s</title>`, raw(prefix), k.Name, a.x.format(k.X[j]), a.y.format(y))
		c.mark(s, p.x, p.y, i)
		s.elem("</g>")
	}
	s.elem("</g>")
}

// legend draws the names of curves and bands from y on, and returns where it ends.
func (c *Curves) legend(s *svg, y float64) float64 {
	const wide = 32
	l := s.legend(y)
	for i := range c.Curves {
		l.put(c.Curves[i].Name, wide, func(x, y float64) {
			s.line(x-wide/2, y, x+wide/2, y, c.look("key", i))
			if c.Curves[i].Points {
				c.mark(s, x, y, i)
			}
		})
	}
	for i := range c.Bands {
		l.put(c.Bands[i].Name, wide, func(x, y float64) {
			s.elem(`<rect x="%.1f" y="%.1f" width="%d" height="12" %s/>`, x-wide/2, y-6, wide, raw(look("key", shade, none)))
		})
	}
	return l.end()
}
