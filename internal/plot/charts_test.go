package plot

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func smallScatter() *Scatter {
	return &Scatter{
		Title: "price <of> robustness", X: Axis{Label: "clean", Format: Percent}, Y: Axis{Max: 1, Format: Percent},
		Series: []string{"auto", "certified"},
		Points: []ScatterPoint{
			{"plain", 0.99, []float64{0.2, 0}},
			{"robust", 0.97, []float64{0.9, 0.8}},
			{"unproved", 0.97, []float64{0.95, math.NaN()}},
			{"unknown", 0.5, []float64{math.NaN(), math.NaN()}},
		},
	}
}

func smallMatrix() *Matrix {
	return &Matrix{
		Title: "confusion", RowLabel: "true", ColumnLabel: "predicted", Diagonal: true,
		Rows: []string{"cat", "dog"}, Columns: []string{"cat", "dog"},
		Cells: [][]float64{{90, 10}, {0, 100}},
	}
}

func smallBars() *Bars {
	return &Bars{
		Title: "speed", Label: "images/s",
		Bars: []Bar{
			{Group: "net <a>", Name: "forward", Value: 2000, Low: 1900, High: 2100},
			{Group: "net <a>", Name: "attack", Value: 50, Note: "PGD"},
			{Group: "b", Name: "proof", Value: math.NaN(), Note: "not run", Color: 2},
		},
	}
}

func smallCurves() *Curves {
	return &Curves{
		Title: "accuracy", X: Axis{Label: "ε"}, Y: Axis{Label: "images", Max: 1, Format: Percent},
		Curves: []Curve{
			{Name: "auto", X: []float64{0, 0.1, 0.2}, Y: []float64{0.9, 0.5, 0.1}, Points: true},
			{Name: "proved", X: []float64{0, 0.2}, Y: []float64{0.8, 0}},
		},
	}
}

func allCharts() []Chart {
	return []Chart{smallCurves(), smallScatter(), smallMatrix(), smallBars(), smallRoofline()}
}

func TestScatter(t *testing.T) {
	classes, texts, all := drawn(t, smallScatter())
	assert.Equal(t, 3, classes["thing"], "of one nothing is known")
	assert.Equal(t, 3, classes["stem"])
	assert.Equal(t, 5+2, classes["marker"], "and the legend's")
	assert.Equal(t, 3, classes["label"])
	for _, want := range []string{"price <of> robustness", "plain", "robust", "unproved", "plain: clean 99%, auto 20%, certified 0%", "unproved: clean 97%, auto 95%"} {
		assert.Contains(t, texts, want+"\n")
	}
	assert.NotContains(t, all, "unknown")
	assert.Equal(t, Table{
		Caption: "price <of> robustness", Head: []string{"name", "clean", "auto", "certified"},
		Rows: [][]string{
			{"plain", "99%", "20%", "0%"},
			{"robust", "97%", "90%", "80%"},
			{"unproved", "97%", "95%", "–"},
			{"unknown", "50%", "–", "–"},
		},
	}, smallScatter().Table())
	assert.Equal(t, "4 points, clean across and auto and certified up: auto is highest for unproved, 95% at 97%; certified is highest for robust, 80% at 97%.", smallScatter().Alt())
}

// Labels lie on no marker and on no other label; where names have no room, numbers
// stand for them.
func TestScatterLabels(t *testing.T) {
	c := smallScatter()
	c.Points = nil
	for i := range 7 {
		v := float64(i) / 1000
		c.Points = append(c.Points, ScatterPoint{fmt.Sprintf("a model with a long name %d", i), 0.98 + v, []float64{0.9 + v, 0.85 - 30*v}})
	}
	for _, narrow := range []bool{false, true} {
		d := c.With(Layout{Narrow: narrow})
		_, texts, all := drawn(t, d)
		var boxes []box
		for _, m := range regexp.MustCompile(`<text x="([\d.]+)" y="([\d.]+)" font-size="([\d.]+)" class="p-label[^>]*>([^<]*)<`).FindAllStringSubmatch(all, -1) {
			x, y, size := number(t, m[1]), number(t, m[2]), number(t, m[3])
			half := textWidth(m[4], size) / 2
			boxes = append(boxes, box{x - half, y - 0.8*size, x + half, y + 0.2*size})
		}
		require.Len(t, boxes, len(c.Points))
		for i, b := range boxes {
			for _, o := range boxes[:i] {
				assert.False(t, b.overlaps(o), "narrow %t: %v, %v", narrow, b, o)
			}
		}
		for i := range c.Points {
			assert.Contains(t, texts, c.Points[i].Name+"\n")
		}
		assert.Equal(t, narrow, strings.Contains(all, ">7</text>"))
	}
}

func number(t *testing.T, s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return v
}

func TestSpread(t *testing.T) {
	for _, c := range []struct{ x, wide, want []float64 }{
		{nil, nil, nil},
		{[]float64{50, 10}, []float64{10, 10}, []float64{50, 10}},
		{[]float64{20, 20}, []float64{10, 10}, []float64{15, 25}},
		{[]float64{24, 20, 90}, []float64{10, 10, 10}, []float64{27, 17, 90}},
		{[]float64{20, 20, 29}, []float64{10, 10, 10}, []float64{13, 23, 33}}, // two push the third
		{[]float64{20, 20}, []float64{10, 30}, []float64{5, 25}},
	} {
		x := append([]float64(nil), c.x...)
		spread(x, c.wide)
		assert.Equal(t, c.want, x)
	}
}

// Markers of about one height stand beside each other, in the order of series.
func TestFan(t *testing.T) {
	c := thing{marks: []point{{10, 50}, {10, 80}, {10, 51}, {10, 56}}}
	assert.Equal(t, 11.0, c.fan())
	assert.Equal(t, []point{{4.5, 50}, {10, 80}, {10, 51}, {15.5, 56}}, c.marks)
}

func TestMatrix(t *testing.T) {
	classes, texts, all := drawn(t, smallMatrix())
	assert.Equal(t, 4, classes["cell"])
	assert.Equal(t, 4, classes["value"])
	assert.Equal(t, 2, classes["diagonal"])
	for _, want := range []string{"cat, dog: 10", "true", "predicted", "cat", "dog", "90"} {
		assert.Contains(t, texts, want+"\n")
	}
	assert.Contains(t, all, `class="p-cell p-f-m0"`, "0 has the first colour alone")
	assert.Equal(t, Table{Caption: "confusion", Head: []string{`true \ predicted`, "cat", "dog"}, Rows: [][]string{{"cat", "90", "10"}, {"dog", "0", "100"}}}, smallMatrix().Table())
	assert.Equal(t, "Matrix of 2 by 2, rows true, columns predicted. 190 of 200 (95%) on the diagonal; most beside it: 10 in row cat, column dog.", smallMatrix().Alt())

	zero := smallMatrix()
	zero.Cells = [][]float64{{0, 0}, {0, 0}}
	assert.Contains(t, zero.Alt(), "All cells are 0.")
	drawn(t, zero)

	many := &Matrix{Cells: [][]float64{make([]float64, 100), make([]float64, 100)}, Rows: []string{"a", "b"}, Columns: make([]string, 100)}
	for i := range many.Columns {
		many.Columns[i] = fmt.Sprintf("class %d", i)
	}
	many.Cells[1][99] = 7
	classes, texts, _ = drawn(t, many)
	assert.Equal(t, 200, classes["cell"])
	assert.Zero(t, classes["value"], "no number fits")
	assert.Less(t, classes["tick"], 70)
	assert.Contains(t, texts, "largest: 7 in row b, column class 99")
}

// The text of each level can be read on its cell, and the levels are in the order
// of their lightness in either theme.
func TestLevels(t *testing.T) {
	for i, l := range levels {
		assert.GreaterOrEqual(t, contrast(l.cell.light, l.text.light), 4.5, l.cell.name)
		assert.GreaterOrEqual(t, contrast(l.cell.dark, l.text.dark), 4.5, l.cell.name)
		if i > 0 {
			assert.Less(t, luminance(l.cell.light), luminance(levels[i-1].cell.light), l.cell.name)
			assert.Greater(t, luminance(l.cell.dark), luminance(levels[i-1].cell.dark), l.cell.name)
		}
	}
	for _, c := range append([]color{ink, soft}, words...) {
		assert.GreaterOrEqual(t, contrast(paper.light, c.light), 4.5, c.name)
		assert.GreaterOrEqual(t, contrast(paper.dark, c.dark), 4.5, c.name)
	}
	for _, c := range palette {
		assert.GreaterOrEqual(t, contrast(paper.light, c.light), 3.0, c.name)
		assert.GreaterOrEqual(t, contrast(paper.dark, c.dark), 3.0, c.name)
	}
	assert.Equal(t, levels[0], levelOf(0, 9))
	assert.Equal(t, levels[1], levelOf(0.01, 9))
	assert.Equal(t, levels[len(levels)-1], levelOf(9, 9))
}

// contrast is that of WCAG 2.1 between two colours.
func contrast(a, b string) float64 {
	hi, lo := luminance(a), luminance(b)
	if hi < lo {
		hi, lo = lo, hi
	}
	return (hi + 0.05) / (lo + 0.05)
}

func luminance(hex string) float64 {
	v, err := strconv.ParseUint(hex[1:], 16, 32)
	if err != nil {
		panic(err)
	}
	l := 0.0
	for i, w := range []float64{0.0722, 0.7152, 0.2126} { // blue comes last
		c := float64(v>>(8*i)&255) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		l += float64(w * c)
	}
	return l
}

func TestBars(t *testing.T) {
	classes, texts, _ := drawn(t, smallBars())
	assert.Equal(t, 2, classes["bar"])
	assert.Equal(t, 3, classes["value"])
	assert.Equal(t, 2, classes["group"])
	assert.Equal(t, 3, classes["interval"])
	for _, want := range []string{"net <a>", "b", "2000 [1900, 2100]", "50 PGD", "– not run", "forward", "images/s"} {
		assert.Contains(t, texts, want+"\n")
	}
	assert.Equal(t, Table{
		Caption: "speed", Head: []string{"name", "images/s"},
		Rows: [][]string{{"net <a>: forward", "2000 [1900, 2100]"}, {"net <a>: attack", "50 PGD"}, {"b: proof", "– not run"}},
	}, smallBars().Table())
	assert.Equal(t, "3 bars, images/s: from 50 for net <a>, attack to 2000 for net <a>, forward.", smallBars().Alt())
	assert.Equal(t, "1 bar: one, 0.", (&Bars{Bars: []Bar{{Name: "one"}}}).Alt())
	none := &Bars{Bars: []Bar{{Name: "a", Value: math.NaN()}, {Name: "b", Value: math.NaN()}}}
	assert.Equal(t, "2 bars: no value is known.", none.Alt())
	drawn(t, none)
}

func TestRefusedCharts(t *testing.T) {
	scatter := func(change func(*Scatter)) Chart { c := smallScatter(); change(c); return c }
	matrix := func(change func(*Matrix)) Chart { c := smallMatrix(); change(c); return c }
	bars := func(change func(*Bars)) Chart { c := smallBars(); change(c); return c }
	for want, c := range map[string]Chart{
		"no series":                          scatter(func(c *Scatter) { c.Series = nil }),
		"no points":                          scatter(func(c *Scatter) { c.Points = nil }),
		`point "plain": got 1 y, want one f`: scatter(func(c *Scatter) { c.Points[0].Y = []float64{1} }),
		`point "plain": x: got NaN`:          scatter(func(c *Scatter) { c.Points[0].X = math.NaN() }),
		`point "plain": certified: got +Inf`: scatter(func(c *Scatter) { c.Points[0].Y[1] = math.Inf(1) }),
		"ends of the x axis: got 2 and 1":    scatter(func(c *Scatter) { c.X.Min, c.X.Max = 2, 1 }),
		"ends of the y axis: got 2 and 1":    scatter(func(c *Scatter) { c.Y.Min = 2 }),

		"got 2 rows and 0 columns":            matrix(func(m *Matrix) { m.Columns = nil }),
		"with 1 rows of cells":                matrix(func(m *Matrix) { m.Cells = m.Cells[:1] }),
		"got 2 rows and 1 columns, want as m": matrix(func(m *Matrix) { m.Columns = m.Columns[:1] }),
		`row "dog": got 1 cells`:              matrix(func(m *Matrix) { m.Cells[1] = m.Cells[1][:1] }),
		`row "cat", column "dog": got -1`:     matrix(func(m *Matrix) { m.Cells[0][1] = -1 }),
		`row "dog", column "cat": got NaN`:    matrix(func(m *Matrix) { m.Cells[1][0] = math.NaN() }),

		"no bars":                             bars(func(b *Bars) { b.Bars = nil }),
		`bar "attack": got -1`:                bars(func(b *Bars) { b.Bars[1].Value = -1 }),
		`bar "attack": got +Inf`:              bars(func(b *Bars) { b.Bars[1].Value = math.Inf(1) }),
		`bar "attack": got an interval from`:  bars(func(b *Bars) { b.Bars[1].Low = 1 }),
		"end of the scale: got NaN":           bars(func(b *Bars) { b.Max = math.NaN() }),
		`ID: got "1a", want a letter`:         smallBars().With(Layout{ID: "1a"}),
		`ID: got "a b", want a letter`:        smallCurves().With(Layout{ID: "a b"}),
		`ID: got "x\"><script>", want a lett`: smallMatrix().With(Layout{ID: `x"><script>`}),
		"no panels":                           &Roofline{},
	} {
		var b bytes.Buffer
		assert.ErrorContains(t, c.WriteSVG(&b), want)
		assert.Zero(t, b.Len(), want)
		assert.NotPanics(t, func() { c.Table(); c.Alt() }, want)
	}
}

func TestTables(t *testing.T) {
	c := smallCurves()
	assert.Equal(t, Table{
		Caption: "accuracy: images", Head: []string{"ε", "auto", "proved"},
		Rows: [][]string{{"0", "90%", "80%"}, {"0.1", "50%", "–"}, {"0.2", "10%", "0%"}},
	}, c.Table())
	assert.Equal(t, "2 curves, images over ε: auto falls from 90% at 0 to 10% at 0.2; proved falls from 80% at 0 to 0% at 0.2.", c.Alt())

	// Rows that repeat, and rows beyond what is read, are left out.
	long := Curve{Name: "long"}
	for i := range 200 {
		long.X, long.Y = append(long.X, float64(i)), append(long.Y, float64(i/50))
	}
	c = &Curves{Title: "t", Curves: []Curve{long}}
	assert.Equal(t, Table{
		Caption: "t (8 of 200 rows)", Head: []string{"x", "long"},
		Rows: [][]string{{"0", "0"}, {"49", "0"}, {"50", "1"}, {"99", "1"}, {"100", "2"}, {"149", "2"}, {"150", "3"}, {"199", "3"}},
	}, c.Table())
	for i := range long.Y {
		long.Y[i] = float64(i)
	}
	rows := c.Table().Rows
	assert.Len(t, rows, 51)
	assert.Equal(t, []string{"0", "0"}, rows[0])
	assert.Equal(t, []string{"199", "199"}, rows[50])
	jump := Curve{Name: "jump", X: []float64{1, 1, 2}, Y: []float64{3, 4, math.NaN()}}
	assert.Equal(t, [][]string{{"1", "3, 4"}, {"2", "–"}}, (&Curves{Curves: []Curve{jump}}).Table().Rows)

	r := smallRoofline().Table()
	assert.Equal(t, []string{"FMA peak, avx2", "–", "100", "–"}, r.Rows[0])
	assert.Equal(t, []string{"reading memory", "–", "–", "20"}, r.Rows[3])
	assert.Equal(t, []string{"forward/m/b8", "10", "70", "7"}, r.Rows[4])
	assert.Contains(t, smallRoofline().Alt(), "1 thread: peak avx2, 100 GFLOP/s; fastest of 4 points, 70 GFLOP/s (70%) in forward/m/b8.")
	for _, c := range allCharts() {
		table := c.Table()
		require.NotEmpty(t, table.Rows)
		for _, row := range table.Rows {
			assert.Len(t, row, len(table.Head), table.Caption)
		}
	}
}

// How a curve goes, in words.
func TestStories(t *testing.T) {
	nan := math.NaN()
	for want, y := range map[string][]float64{
		"k rises from 1 at 0 to 3 at 2":                {1, 2, 3},
		"k falls from 3 at 0 to 1 at 2":                {3, 3, 1},
		"k stays at 2 from 0 to 2":                     {2, 2, 2},
		"k goes from 1 at 0 to 2 at 2, highest 5 at 1": {1, 5, 2},
		"k goes from 1 at 0 to 2 at 2, lowest -5 at 1": {1, -5, 2},
		"k goes from 2 at 0 to 2 at 2, highest 3 at 1": {2, 3, 2},
		"k is 4 at 1":                   {nan, 4, nan},
		"k has no values":               {nan, nan, nan},
		"k rises from 1 at 1 to 2 at 2": {nan, 1, 2},
	} {
		c := &Curves{Curves: []Curve{{Name: "k", X: []float64{0, 1, 2}, Y: y}}}
		assert.Equal(t, "1 curve, values over x: "+want+".", c.Alt())
	}
	many := &Curves{}
	for i := range 6 {
		many.Curves = append(many.Curves, Curve{Name: fmt.Sprint("k", i), X: []float64{0, 1}, Y: []float64{1, float64((i * 5) % 6)}})
	}
	many.Curves[0].Y[1] = nan
	assert.Equal(t, "6 curves, values over x. Highest at its end: k1 rises from 1 at 0 to 5 at 1; lowest: k0 is 1 at 0.", many.Alt())
}

// Drawings of one page share no identifier, and no rule of a drawing's style
// reaches beyond it.
func TestInOnePage(t *testing.T) {
	ids := map[string]bool{}
	for i, c := range allCharts() {
		for _, l := range []Layout{{ID: fmt.Sprint("chart-", i)}, {ID: fmt.Sprint("chart-", i), Narrow: true, Bare: i%2 == 0}} {
			_, texts, all := drawn(t, c.With(l))
			for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(all, -1) {
				assert.False(t, ids[m[1]], m[1])
				ids[m[1]] = true
				assert.True(t, strings.HasPrefix(m[1], l.id()), m[1])
			}
			for _, m := range regexp.MustCompile(`#([\w-]+)\)`).FindAllStringSubmatch(all, -1) {
				assert.True(t, ids[m[1]], m[1])
			}
			rules := regexp.MustCompile(`(?m)^([^\n{}]*)\{[^{}]*\}$`).FindAllStringSubmatch(all, -1)
			assert.NotEmpty(t, rules)
			for _, r := range rules {
				assert.True(t, strings.HasPrefix(r[1], "#"+l.id()+" .p-"), r[1])
			}
			assert.Equal(t, 1, strings.Count(all, "@media screen and (prefers-color-scheme: dark)"))
			assert.Contains(t, all, fmt.Sprintf(`role="img" aria-labelledby="%[1]s-title %[1]s-desc"`, l.id()))
			assert.Contains(t, texts, c.Alt())
			assert.Equal(t, !l.Bare, strings.Contains(all, "p-background"))
			assert.Equal(t, !l.Bare, strings.Contains(all, "p-title"))
			width := 340
			if !l.Narrow {
				width = int(newSVG(l).width)
			}
			if _, ok := c.(*Roofline); ok && !l.Narrow {
				width = 1000
			}
			assert.Contains(t, all, fmt.Sprintf(`viewBox="0 0 %d `, width))
		}
	}
	assert.NoError(t, smallBars().With(Layout{}).WriteSVG(io.Discard))
}

// With leaves the chart as it was.
func TestWith(t *testing.T) {
	for _, c := range allCharts() {
		_, _, before := drawn(t, c)
		assert.NotEqual(t, before, func() string { _, _, all := drawn(t, c.With(Layout{Narrow: true})); return all }())
		_, _, after := drawn(t, c)
		assert.Equal(t, before, after)
	}
}
