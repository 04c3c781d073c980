package plot

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// thing is a point with the places of its markers.
type thing struct {
	*ScatterPoint
	x      float64 // of its stem
	marks  []point
	series []int
}

// things places those of which anything is known. Where stems would lie on each
// other, they stand side by side.
func (c *Scatter) things(a *area) (list []thing) {
	var x, wide []float64
	for i := range c.Points {
		t := thing{ScatterPoint: &c.Points[i]}
		for k, y := range t.Y {
			if !math.IsNaN(y) {
				t.marks, t.series = append(t.marks, a.at(t.X, y)), append(t.series, k)
			}
		}
		if t.marks == nil {
			continue
		}
		x = append(x, t.marks[0].x)
		wide = append(wide, 7+t.fan())
		list = append(list, t)
	}
	spread(x, wide)
	for i := range list {
		t := &list[i]
		t.x = x[i]
		for k := range t.marks {
			t.marks[k].x += t.x - a.at(t.X, a.y.Min).x
		}
	}
	return list
}

// fan puts markers of about one height side by side, and returns how far they reach.
func (t *thing) fan() (wide float64) {
	const near, step = 7, 5.5
	order := make([]int, len(t.marks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(t.marks[i].y, t.marks[j].y) })
	for len(order) > 0 {
		n := 1
		for n < len(order) && t.marks[order[n]].y-t.marks[order[n-1]].y < near {
			n++
		}
		row := order[:n]
		slices.Sort(row) // in the order of series
		for i, k := range row {
			t.marks[k].x += step * (float64(i) - float64(n-1)/2)
		}
		wide = max(wide, step*float64(n-1))
		order = order[n:]
	}
	return wide
}

// spread moves places as little as needed for what is so wide to stand beside each
// other: those that are too close stand around their mean.
func spread(x, wide []float64) {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(x[i], x[j]) })
	type group struct {
		first, n     int
		middle, wide float64
	}
	var groups []group
	for k, i := range order {
		g := group{k, 1, x[i], wide[i]}
		for len(groups) > 0 {
			before := groups[len(groups)-1]
			if before.middle+before.wide/2 <= g.middle-g.wide/2 {
				break
			}
			n := before.n + g.n
			middle := float64(before.middle*float64(before.n)) + float64(g.middle*float64(g.n))
			g = group{before.first, n, middle / float64(n), before.wide + g.wide}
			groups = groups[:len(groups)-1]
		}
		groups = append(groups, g)
	}
	for _, g := range groups {
		left := g.middle - g.wide/2
		for _, i := range order[g.first : g.first+g.n] {
			x[i] = left + wide[i]/2
			left += wide[i]
		}
	}
}

// stem is the line through all markers.
func (t *thing) stem() box {
	b := box{t.x, t.marks[0].y, t.x, t.marks[0].y}
	for _, p := range t.marks {
		b.y0, b.y1 = min(b.y0, p.y), max(b.y1, p.y)
	}
	return b
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
		all = l.place(s, things[i].marks, far, s.small, label(i), ink, gray) && all
	}
	return all
}
