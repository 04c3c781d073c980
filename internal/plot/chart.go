package plot

import (
	"fmt"
	"io"
	"strings"
)

// Chart is any chart of this package.
type Chart interface {
	// WriteSVG writes the drawing. What cannot be drawn is an error, and nothing is
	// written.
	WriteSVG(w io.Writer) error

	// Table has the numbers of the drawing. That of a chart that cannot be drawn has
	// no rows.
	Table() Table

	// Alt says in a sentence or two what is shown, and what stands out.
	Alt() string

	// With is the same chart in another layout.
	With(l Layout) Chart
}

// Layout says where a drawing stands.
type Layout struct {
	// ID tells apart the drawings that stand in one page: no identifier and no style of
	// one reaches into another. A letter, then letters, digits, "-" and "_"; "": "plot".
	// A narrow drawing appends "-narrow".
	ID string

	Narrow bool // 340 pixels wide, for phones and for columns side by side, rather than 800
	Bare   bool // no title, no subtitle and no background: the page has them; all is still read out
}

// Table is the numbers of a chart, formatted.
type Table struct {
	Caption string
	Head    []string   // of the columns
	Rows    [][]string // each as long as Head; the first cell names the row
}

// absent stands in a table where no value is known.
const absent = "–"

// measures are those of a layout, in pixels.
type measures struct {
	width, left, right     float64 // of the sheet; of what stands on it
	title, subtitle, small float64 // sizes of letters
	tall                   float64 // a plot area
}

func (l Layout) measures() measures {
	m := measures{width: 800, left: 24, right: 776, title: 20, subtitle: 13, small: 12, tall: 350}
	if l.Narrow {
		m = measures{width: 340, left: 10, right: 328, title: 16, subtitle: 12.5, small: 12, tall: 230}
	}
	if l.Bare { // the page has margins, too
		m.left, m.right = 1, m.width-12
	}
	return m
}

func (l Layout) id() string {
	id := l.ID
	if id == "" {
		id = "plot"
	}
	if l.Narrow {
		id += "-narrow"
	}
	return id
}

// check refuses an ID that would not be one in XML and in style sheets.
func (l Layout) check() error {
	for i, r := range l.ID {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-' || r == '_')) {
			return fmt.Errorf(`ID: got %q, want a letter, then letters, digits, "-" and "_"`, l.ID)
		}
	}
	return nil
}

// heading writes title and subtitle, unless the page has them, and returns where
// they end.
func (s *svg) heading(title, subtitle string) float64 {
	y := 8.0
	if s.Bare {
		return y
	}
	lines := func(t string, size float64, look string) {
		for _, line := range wrap(t, size, s.right-s.left) {
			y += 1.3 * size
			s.text(s.left, y, size, line, look)
		}
	}
	lines(title, s.title, look("title", ink, none, `font-weight="bold"`))
	y += 4
	lines(subtitle, s.subtitle, look("subtitle", soft, none))
	return y + 8
}

// legend places keys and names in rows from y on.
type legend struct {
	*svg
	x, y float64
}

const legendRow = 21

func (s *svg) legend(y float64) *legend { return &legend{s, s.left, y + 14} }

// put writes a name behind its key, which draw draws with its middle at (x, y).
func (l *legend) put(name string, wide float64, draw func(x, y float64)) {
	const gap = 7
	name = fit(name, l.subtitle, l.right-l.left-wide-gap)
	next := wide + gap + textWidth(name, l.subtitle)
	if l.x > l.left && l.x+next > l.right {
		l.newLine()
	}
	draw(l.x+wide/2, l.y-0.35*l.subtitle)
	l.text(l.x+wide+gap, l.y, l.subtitle, name, look("legend", ink, none))
	l.x += next + 20
}

func (l *legend) newLine() {
	if l.x > l.left {
		l.x, l.y = l.left, l.y+legendRow
	}
}

// end is where the legend ends.
func (l *legend) end() float64 {
	l.newLine()
	return l.y - 8
}

// sentences joins those that there are.
func sentences(list ...string) string {
	var all []string
	for _, t := range list {
		if t = strings.TrimSpace(t); t != "" {
			all = append(all, strings.TrimSuffix(t, ".")+".")
		}
	}
	return strings.Join(all, " ")
}

// listing is "a, b and c".
func listing(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// or is t, or another word if it is empty.
func or(t, other string) string {
	if t == "" {
		return other
	}
	return t
}
