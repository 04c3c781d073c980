package plot

import (
	"fmt"
	"io"
	"math"
)

// Matrix is a heat map: its cells show their values by colour, and by number where
// that fits. Larger ones are darker on light paper and brighter on dark.
type Matrix struct {
	Layout
	Title, Subtitle       string
	RowLabel, ColumnLabel string // what rows and columns are, as "true class"
	Rows, Columns         []string
	Cells                 [][]float64 // a row each; none below 0

	// Diagonal marks the cells where row and column are the same, as in a confusion
	// matrix.
	Diagonal bool

	// Format writes the value of a cell; nil: up to four digits.
	Format func(float64) string
}

// level is the look of cells of about one size.
type level struct{ cell, text color }

// levels go from 0, which has the first alone, to the largest value. Lightness
// alone tells them apart, in either theme, and text on each has a contrast of at
// least 4.5.
var levels = []level{
	{color{"m0", "#f7f9fb", "#1b1f25"}, color{"t0", "#5c6570", "#98a0a9"}},
	{color{"m1", "#e3eef7", "#1d2c3a"}, color{"t1", "#111111", "#ffffff"}},
	{color{"m2", "#cbdff0", "#1f3a52"}, color{"t2", "#111111", "#ffffff"}},
	{color{"m3", "#abcde6", "#214a6c"}, color{"t3", "#111111", "#ffffff"}},
	{color{"m4", "#82b6da", "#2a5f8a"}, color{"t4", "#111111", "#ffffff"}},
	{color{"m5", "#579bcb", "#4688ba"}, color{"t5", "#111111", "#111111"}},
	{color{"m6", "#3079b4", "#64a3d0"}, color{"t6", "#ffffff", "#111111"}},
	{color{"m7", "#165a96", "#98c7e8"}, color{"t7", "#ffffff", "#111111"}},
	{color{"m8", "#083a6b", "#d3e9f8"}, color{"t8", "#ffffff", "#111111"}},
}

// With is the chart in another layout.
func (m *Matrix) With(l Layout) Chart { d := *m; d.Layout = l; return &d }

func (m *Matrix) format(v float64) string {
	if m.Format != nil {
		return m.Format(v)
	}
	return short(v)
}

// check refuses what cannot be drawn.
func (m *Matrix) check() error {
	if len(m.Rows) == 0 || len(m.Columns) == 0 || len(m.Cells) != len(m.Rows) {
		return fmt.Errorf("got %d rows and %d columns with %d rows of cells, want at least one of each, and as many rows", len(m.Rows), len(m.Columns), len(m.Cells))
	}
	if m.Diagonal && len(m.Rows) != len(m.Columns) {
		return fmt.Errorf("got %d rows and %d columns, want as many for a diagonal", len(m.Rows), len(m.Columns))
	}
	for i, row := range m.Cells {
		if len(row) != len(m.Columns) {
			return fmt.Errorf("row %q: got %d cells, want one for each of %d columns", m.Rows[i], len(row), len(m.Columns))
		}
		for j, v := range row {
			if !(v >= 0) || math.IsInf(v, 1) {
				return fmt.Errorf("row %q, column %q: got %g, want a number of at least 0", m.Rows[i], m.Columns[j], v)
			}
		}
	}
	return nil
}

func (m *Matrix) largest() float64 {
	most := 0.0
	for _, row := range m.Cells {
		for _, v := range row {
			most = max(most, v)
		}
	}
	return most
}

// levelOf grows with the square root, so that what is rare is seen.
func levelOf(v, most float64) level {
	if v == 0 {
		return levels[0]
	}
	n := float64(len(levels) - 1)
	return levels[int(min(n, 1+math.Floor(n*math.Sqrt(v/most))))]
}

// WriteSVG writes the chart.
func (m *Matrix) WriteSVG(w io.Writer) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	s := newSVG(m.Layout)
	y := s.heading(m.Title, m.Subtitle)
	rows, columns := s.widest(m.Rows), s.widest(m.Columns)
	g := grid{x: s.left + rows + 8}
	if s.Narrow { // what rows and columns are stands above
		for _, line := range wrap(fmt.Sprintf("rows: %s; columns: %s", or(m.RowLabel, "unnamed"), or(m.ColumnLabel, "unnamed")), s.subtitle, s.right-s.left) {
			y += 16
			s.text(s.left, y, s.subtitle, line, look("", ink, none))
		}
	} else {
		y += 16
		g.x += 22
	}
	g.side = min((s.right-g.x)/float64(len(m.Columns)), 44)
	middle := point{g.x + g.side*float64(len(m.Columns))/2, y}
	if g.upright = columns > g.side-4; g.upright {
		g.y = y + columns + 14
	} else {
		g.y = y + s.small + 16
	}
	bottom := g.y + g.side*float64(len(m.Rows))
	if !s.Narrow {
		s.text(middle.x, middle.y, s.subtitle, m.ColumnLabel, look("", ink, none, `text-anchor="middle"`))
		x, y := s.left+10, (g.y+bottom)/2
		s.text(x, y, s.subtitle, m.RowLabel, look("", ink, none, `text-anchor="middle"`, fmt.Sprintf(`transform="rotate(-90 %.1f %.1f)"`, x, y)))
	}
	m.drawNames(s, g, rows, columns)
	m.drawCells(s, g)
	return s.finish(w, m.key(s, bottom+14), m.Title, m.Alt())
}

// widest is the width of the widest name, as far as there is room.
func (s *svg) widest(names []string) (wide float64) {
	for _, n := range names {
		wide = max(wide, textWidth(n, s.small))
	}
	return min(wide, (s.right-s.left)/3)
}

// grid is where the cells are.
type grid struct {
	x, y, side float64
	upright    bool // the names of columns
}

// drawNames writes the names of rows and columns, as many as fit.
func (m *Matrix) drawNames(s *svg, g grid, rows, columns float64) {
	every := int(math.Ceil((s.small + 1) / g.side))
	for i := 0; i < len(m.Rows); i += every {
		y := g.y + g.side*(float64(i)+0.5)
		s.text(g.x-6, y+0.36*s.small, s.small, fit(m.Rows[i], s.small, rows), look("tick", soft, none, `text-anchor="end"`))
	}
	for j := 0; j < len(m.Columns); j += every {
		x := g.x + g.side*(float64(j)+0.5)
		if !g.upright {
			s.text(x, g.y-7, s.small, m.Columns[j], look("tick", soft, none, `text-anchor="middle"`))
			continue
		}
		x += 0.36 * s.small
		s.text(x, g.y-6, s.small, fit(m.Columns[j], s.small, columns), look("tick", soft, none, fmt.Sprintf(`transform="rotate(-90 %.1f %.1f)"`, x, g.y-6)))
	}
}

func (m *Matrix) drawCells(s *svg, g grid) {
	most := m.largest()
	gap := min(1, g.side/10)
	for i, row := range m.Cells {
		for j, v := range row {
			x, y := g.x+g.side*float64(j), g.y+g.side*float64(i)
			l := levelOf(v, most)
			s.elem(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" %s><title>%s, %s: %s</title></rect>`,
				x+gap/2, y+gap/2, g.side-gap, g.side-gap, raw(look("cell", l.cell, none)), m.Rows[i], m.Columns[j], m.format(v))
			if t := m.format(v); textWidth(t, s.small) <= g.side-2 && g.side >= s.small+4 {
				s.text(x+g.side/2, y+g.side/2+0.36*s.small, s.small, t, look("value", l.text, none, `text-anchor="middle" pointer-events="none"`))
			}
		}
	}
	for i := range m.Rows {
		if m.Diagonal {
			at := g.side * float64(i)
			s.elem(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" %s/>`, g.x+at, g.y+at, g.side, g.side, raw(look("diagonal", none, palette[1], fmt.Sprintf(`stroke-width="%.1f"`, min(2, g.side/6)))))
		}
	}
}

// key shows the colours from y on, and returns where it ends.
func (m *Matrix) key(s *svg, y float64) float64 {
	const wide = 18
	x := s.left
	put := func(t string) {
		s.text(x, y+13, s.small, t, look("legend", soft, none))
		x += textWidth(t, s.small) + 6
	}
	put(m.format(0))
	for _, l := range levels {
		s.elem(`<rect x="%.1f" y="%.1f" width="%d" height="16" %s/>`, x, y, wide-1, raw(look("key", l.cell, none)))
		x += wide
	}
	x += 6
	put(m.format(m.largest()))
	if m.Diagonal {
		x += 12
		s.elem(`<rect x="%.1f" y="%.1f" width="15" height="15" %s/>`, x, y, raw(look("key", none, palette[1], `stroke-width="2"`)))
		x += 22
		put("row = column")
	}
	return y + 28
}

// Table is the matrix.
func (m *Matrix) Table() Table {
	t := Table{Caption: m.Title, Head: append([]string{or(m.RowLabel, "row") + " \\ " + or(m.ColumnLabel, "column")}, m.Columns...)}
	if m.check() != nil {
		return t
	}
	for i, cells := range m.Cells {
		row := []string{m.Rows[i]}
		for _, v := range cells {
			row = append(row, m.format(v))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Alt tells the share of the diagonal and the largest cell beside it.
func (m *Matrix) Alt() string {
	if m.check() != nil {
		return sentences(m.Title)
	}
	all, same, top := 0.0, 0.0, [2]int{-1, -1}
	for i, row := range m.Cells {
		for j, v := range row {
			all += v
			if m.Diagonal && i == j {
				same += v
				continue
			}
			if v > 0 && (top[0] < 0 || v > m.Cells[top[0]][top[1]]) {
				top = [2]int{i, j}
			}
		}
	}
	what := fmt.Sprintf("Matrix of %d by %d, rows %s, columns %s", len(m.Rows), len(m.Columns), or(m.RowLabel, "unnamed"), or(m.ColumnLabel, "unnamed"))
	share, most := "", "All cells are 0"
	if m.Diagonal && all > 0 {
		share = fmt.Sprintf("%s of %s (%s) on the diagonal", m.format(same), m.format(all), Percent(same/all))
		most = "nothing beside it"
	}
	if top[0] >= 0 {
		where := "largest"
		if m.Diagonal {
			where = "most beside it"
		}
		most = fmt.Sprintf("%s: %s in row %s, column %s", where, m.format(m.Cells[top[0]][top[1]]), m.Rows[top[0]], m.Columns[top[1]])
	}
	if share != "" {
		most = share + "; " + most
	}
	return sentences(what, most)
}
