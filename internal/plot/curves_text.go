package plot

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// tableRows is about how many rows a table of curves has at most.
const tableRows = 60

// Table has a row for each x and a column for each curve. Long ones leave out rows.
func (c *Curves) Table() Table {
	t := Table{Caption: c.Title, Head: []string{or(c.X.Label, "x")}}
	if c.Y.Label != "" {
		t.Caption = strings.TrimPrefix(t.Caption+": "+c.Y.Label, ": ")
	}
	for i := range c.Curves {
		t.Head = append(t.Head, c.Curves[i].Name)
	}
	if c.check() != nil {
		return t
	}
	var all []float64
	for i := range c.Curves {
		all = append(all, c.Curves[i].X...)
	}
	slices.Sort(all)
	for _, x := range slices.Compact(all) {
		row := []string{c.X.format(x)}
		for i := range c.Curves {
			row = append(row, c.cell(&c.Curves[i], x))
		}
		t.Rows = append(t.Rows, row)
	}
	n := len(t.Rows)
	t.Rows = withoutRepeats(t.Rows)
	if len(t.Rows) > tableRows {
		t.Rows = thinned(t.Rows)
	}
	if len(t.Rows) < n {
		t.Caption += fmt.Sprintf(" (%d of %d rows)", len(t.Rows), n)
	}
	return t
}

// cell is what a curve is at x; where it jumps, both values.
func (c *Curves) cell(k *Curve, x float64) string {
	var list []string
	for i := range k.X {
		if k.X[i] == x && !math.IsNaN(k.Y[i]) {
			list = append(list, c.Y.format(k.Y[i]))
		}
	}
	return or(strings.Join(slices.Compact(list), ", "), absent)
}

// withoutRepeats keeps the first and the last of rows that differ in x alone.
func withoutRepeats(rows [][]string) (kept [][]string) {
	same := func(i, j int) bool { return slices.Equal(rows[i][1:], rows[j][1:]) }
	for i, r := range rows {
		if i == 0 || i == len(rows)-1 || !same(i, i-1) || !same(i, i+1) {
			kept = append(kept, r)
		}
	}
	return kept
}

// thinned keeps each k-th row and the last.
func thinned(rows [][]string) (kept [][]string) {
	k := (len(rows) + tableRows - 1) / tableRows
	for i := 0; i < len(rows); i += k {
		kept = append(kept, rows[i])
	}
	if (len(rows)-1)%k != 0 {
		kept = append(kept, rows[len(rows)-1])
	}
	return kept
}

// Alt tells how the curves go: each of a few, of many the ends.
func (c *Curves) Alt() string {
	if c.check() != nil {
		return sentences(c.Title)
	}
	what := fmt.Sprintf("%s over %s", or(c.Y.Label, "values"), or(c.X.Label, "x"))
	var each []string
	var last []float64
	for i := range c.Curves {
		each = append(each, c.story(&c.Curves[i]))
		last = append(last, lastOf(&c.Curves[i]))
	}
	if len(each) <= 4 {
		return sentences(fmt.Sprintf("%s, %s: %s", count(len(each), "curve"), what, strings.Join(each, "; ")))
	}
	best, worst := 0, 0
	for i, v := range last {
		if v > last[best] || math.IsNaN(last[best]) {
			best = i
		}
		if v < last[worst] || math.IsNaN(last[worst]) {
			worst = i
		}
	}
	return sentences(fmt.Sprintf("%s, %s. Highest at its end: %s; lowest: %s", count(len(each), "curve"), what, each[best], each[worst]))
}

// lastOf is the last value of a curve; NaN: it has none.
func lastOf(k *Curve) float64 {
	for i := len(k.Y) - 1; i >= 0; i-- {
		if !math.IsNaN(k.Y[i]) {
			return k.Y[i]
		}
	}
	return math.NaN()
}

// story tells how a curve goes.
func (c *Curves) story(k *Curve) string {
	var at []int // the points that there are
	for i, y := range k.Y {
		if !math.IsNaN(y) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return k.Name + " has no values"
	}
	first, last := at[0], at[len(at)-1]
	low, high := first, first
	for _, i := range at {
		if k.Y[i] < k.Y[low] {
			low = i
		}
		if k.Y[i] > k.Y[high] {
			high = i
		}
	}
	point := func(i int) string { return fmt.Sprintf("%s at %s", c.Y.format(k.Y[i]), c.X.format(k.X[i])) }
	ends := fmt.Sprintf("from %s to %s", point(first), point(last))
	switch a, b := k.Y[first], k.Y[last]; {
	case first == last:
		return fmt.Sprintf("%s is %s", k.Name, point(first))
	case k.Y[low] == k.Y[high]:
		return fmt.Sprintf("%s stays at %s from %s to %s", k.Name, c.Y.format(a), c.X.format(k.X[first]), c.X.format(k.X[last]))
	case k.Y[high] > max(a, b):
		return fmt.Sprintf("%s goes %s, highest %s", k.Name, ends, point(high))
	case k.Y[low] < min(a, b):
		return fmt.Sprintf("%s goes %s, lowest %s", k.Name, ends, point(low))
	case a < b:
		return fmt.Sprintf("%s rises %s", k.Name, ends)
	default:
		return fmt.Sprintf("%s falls %s", k.Name, ends)
	}
}

// count is "1 curve" or "3 curves".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
