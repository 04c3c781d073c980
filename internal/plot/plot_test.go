package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// drawn draws a chart, reads the drawing as XML, and counts its classes. Two
// drawings are the same, and need nothing from elsewhere.
func drawn(t *testing.T, c Chart) (classes map[string]int, texts, all string) {
	t.Helper()
	var b, again bytes.Buffer
	require.NoError(t, c.WriteSVG(&b))
	require.NoError(t, c.WriteSVG(&again))
	require.Equal(t, b.String(), again.String())
	classes = map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return classes, texts, b.String()
		}
		require.NoError(t, err)
		switch e := token.(type) {
		case xml.StartElement:
			assert.NotContains(t, []string{"script", "image", "use", "a", "foreignObject"}, e.Name.Local)
			for _, a := range e.Attr {
				for _, bad := range []string{"NaN", "Inf", "%!"} {
					assert.NotContains(t, a.Value, bad)
				}
				assert.Equal(t, strings.Count(a.Value, "url("), strings.Count(a.Value, "url(#"))
				if a.Name.Local == "class" {
					for _, c := range strings.Fields(a.Value) {
						name, ok := strings.CutPrefix(c, prefix)
						assert.True(t, ok, c)
						classes[name]++
					}
				}
			}
		case xml.CharData:
			texts += string(e) + "\n"
		}
	}
}

func TestCurves(t *testing.T) {
	x := []float64{0, 0.05, 0.1}
	c := &Curves{
		Title: "a <b>", Subtitle: "s & s", X: Axis{Label: "radius ε"}, Y: Axis{Label: "images", Max: 1, Format: Percent},
		Curves: []Curve{
			{Name: "not <fooled>", X: x, Y: []float64{0.9, 0.6, 0.1}, Points: true},
			{Name: "proved", X: x, Y: []float64{0.8, 0.4, 0}, Shape: StepBefore, Color: 1, Dashed: true},
		},
	}
	c.Bands = []Band{{Name: "undecided", Low: c.Curves[1], High: c.Curves[0]}}
	classes, texts, all := drawn(t, c)
	assert.Equal(t, 2, classes["curve"])
	assert.Equal(t, 3, classes["point"])
	assert.Equal(t, 1, classes["band"])
	assert.Equal(t, 3, classes["legend"])
	for _, want := range []string{"a <b>", "s & s", "radius ε", "images", "not <fooled>", "proved", "undecided", "0%", "80%", "100%", "0.02", "not <fooled>: 0.05, 60%"} {
		assert.Contains(t, texts, want+"\n")
	}
	assert.NotContains(t, texts, "-0")
	assert.Contains(t, all, "prefers-color-scheme: dark")
	assert.Equal(t, 2, strings.Count(all, "stroke-dasharray")) // the curve, and its key
	assert.NotContains(t, all, palette[1].light+`"`, "both curves have the first colour")
}

// What a curve does between its points: the polylines, in fractions of the area.
func TestShapes(t *testing.T) {
	a := &area{box: box{0, 0, 1, 1}, x: Axis{Max: 1}, y: Axis{Max: 1}}
	k := Curve{X: []float64{0, 0.5, 1}, Y: []float64{1, 0.25, 0.25}}
	assert.Equal(t, [][]point{{{0, 0}, {0.5, 0.75}, {1, 0.75}}}, path(a, &k))
	k.Shape = StepAfter
	assert.Equal(t, [][]point{{{0, 0}, {0.5, 0}, {0.5, 0.75}, {1, 0.75}}}, path(a, &k))
	k.Shape = StepBefore
	assert.Equal(t, [][]point{{{0, 0}, {0, 0.75}, {1, 0.75}}}, path(a, &k))
	k.Y[1] = math.NaN()
	assert.Equal(t, [][]point{{{0, 0}}, {{1, 0.75}}}, path(a, &k))
	k.Y[0] = math.NaN()
	k.Y[2] = math.NaN()
	assert.Empty(t, path(a, &k))
}

func TestAxes(t *testing.T) {
	for _, c := range []struct {
		axis   Axis
		lo, hi float64
		ticks  []float64
	}{
		{Axis{}, 0, 1, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{Axis{}, 0.1, 0.1, []float64{0, 0.05, 0.1, 0.15, 0.2}},
		{Axis{}, 0, 0, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{Axis{}, -3, -3, []float64{-6, -5, -4, -3, -2, -1, 0}},
		{Axis{}, -1, 0.9, []float64{-1, -0.5, 0, 0.5, 1}},
		{Axis{}, 100, 1234, []float64{0, 500, 1000, 1500}},
		{Axis{Min: 2, Max: 8}, 3, 4, []float64{2, 3, 4, 5, 6, 7, 8}},
		{Axis{Scale: Log}, 0.3, 30, []float64{0.5, 1, 2, 5, 10, 20}},
		{Axis{Scale: Log}, 7, 7, []float64{5, 10}},
		{Axis{Scale: Log}, 1e-3, 1e3, []float64{1e-3, 1e-2, 0.1, 1, 10, 100, 1000}},
	} {
		c.axis.ends(c.lo, c.hi, true)
		assert.InDeltaSlice(t, c.ticks, c.axis.ticks(), 1e-9, "%g %g", c.lo, c.hi)
		assert.Zero(t, c.axis.fraction(c.axis.Min))
		assert.InDelta(t, 1, c.axis.fraction(c.axis.Max), 1e-12)
	}
	a := Axis{Scale: Log, Min: 1, Max: 100}
	assert.InDelta(t, 0.5, a.fraction(10), 1e-12)
	for v, want := range map[float64]string{0: "0", 0.30000000000000004: "0.3", 1234.56: "1235", 20000: "20000", 1e7: "1e+07", 2e-5: "2e-05", -0.5: "-0.5"} {
		assert.Equal(t, want, short(v))
	}
}

// Odd charts are drawn: one point, gaps alone, values beyond the ends, long names,
// more curves than colours.
func TestOddCurves(t *testing.T) {
	one := Curve{Name: "one", X: []float64{3}, Y: []float64{0}}
	many := make([]Curve, 2*len(palette))
	for i := range many {
		many[i] = Curve{Name: strings.Repeat("name ", 40), X: []float64{1, 2}, Y: []float64{1, float64(i)}, Dashed: i >= len(palette)}
	}
	nan := math.NaN()
	for name, c := range map[string]*Curves{
		"one":    {Curves: []Curve{one}},
		"gaps":   {Curves: []Curve{{X: []float64{1, 2}, Y: []float64{nan, nan}}}},
		"beyond": {X: Axis{Min: 1, Max: 2}, Y: Axis{Min: -1, Max: 1}, Curves: []Curve{{X: []float64{0, 9}, Y: []float64{-5, 5}, Points: true}}},
		"many":   {Title: strings.Repeat("title ", 90), Curves: many},
		"log":    {X: Axis{Scale: Log}, Y: Axis{Scale: Log}, Curves: []Curve{{X: []float64{1e-6, 1, 1e6}, Y: []float64{1, 1e-9, 3}}}},
		"wide":   {Title: "漢字 e\u0301", Curves: []Curve{{Name: "漢字", X: []float64{0, 1}, Y: []float64{0, 1}}}},
	} {
		classes, _, _ := drawn(t, c)
		assert.Equal(t, len(c.Curves), classes["series"], name)
	}
}

func TestRefusedCurves(t *testing.T) {
	line := Curve{Name: "k", X: []float64{0, 1}, Y: []float64{0, 1}}
	with := func(change func(*Curve)) []Curve { k := line; change(&k); return []Curve{k} }
	inf := math.Inf(1)
	for want, c := range map[string]*Curves{
		"no curves":                                         {},
		`curve "k": got 2 x and 1 y`:                        {Curves: with(func(k *Curve) { k.Y = k.Y[:1] })},
		`curve "k": got 0 x and 0 y`:                        {Curves: with(func(k *Curve) { k.X, k.Y = nil, nil })},
		`curve "k": x[1]: got -1 after 0`:                   {Curves: with(func(k *Curve) { k.X = []float64{0, -1} })},
		`curve "k": x[0]: got NaN`:                          {Curves: with(func(k *Curve) { k.X = []float64{math.NaN(), 1} })},
		`curve "k": y[1]: got +Inf`:                         {Curves: with(func(k *Curve) { k.Y = []float64{0, inf} })},
		`curve "k": x[0]: got 0 on a logarithmic axis`:      {X: Axis{Scale: Log}, Curves: []Curve{line}},
		`curve "k": y[0]: got 0 on a logarithmic axis`:      {Y: Axis{Scale: Log}, Curves: []Curve{line}},
		"ends of the x axis: got 2 and 1":                   {X: Axis{Min: 2, Max: 1}, Curves: []Curve{line}},
		"ends of the y axis: got 0 on a logarithmic axis":   {Y: Axis{Scale: Log, Max: 1}, Curves: []Curve{line}},
		`band "b": y[0]: got NaN`:                           {Curves: []Curve{line}, Bands: []Band{{Name: "b", Low: line, High: Curve{X: []float64{1}, Y: []float64{math.NaN()}}}}},
		`band "b": got 0 x and 0 y, want as many, at least`: {Curves: []Curve{line}, Bands: []Band{{Name: "b", Low: line}}},
	} {
		var b bytes.Buffer
		assert.ErrorContains(t, c.WriteSVG(&b), want)
		assert.Zero(t, b.Len(), want)
	}
}

func smallRoofline() *Roofline {
	return &Roofline{
		Title: `Roofline: <b>&"x"`, Subtitle: []string{"a", "b"},
		Panels: []RooflinePanel{{
			Title: "1 thread", Peaks: []Peak{{"avx2", 100}, {"generic", 5}}, Reads: []Bandwidth{{"L1", 200}, {"memory", 20}},
			Points: []RooflinePoint{
				{Intensity: 10, GFLOPS: 70, Tooltip: "forward/m/b8", Label: "m b8", Far: true, Series: "m", Marker: "forward", Size: 8},
				{Intensity: 1, GFLOPS: 9, Tooltip: "forward/m/b1", Label: "m b1", Far: true, Series: "m", Marker: "forward", Size: 1},
				{Intensity: 20, GFLOPS: 60, Tooltip: "layer", Label: "conv0 b8", Series: "m", Marker: "layer backward-weights", Size: 8},
				{Intensity: 0.1, GFLOPS: 2, Tooltip: "kernel", Label: "add L1", Marker: "element-wise kernel"},
			},
		}},
	}
}

func TestRoofline(t *testing.T) {
	classes, texts, _ := drawn(t, smallRoofline())
	assert.Equal(t, 4, classes["point"])
	assert.Equal(t, 4, classes["roof"])
	assert.Equal(t, 4, classes["label"])
	for _, want := range []string{`Roofline: <b>&"x"`, "1 thread", "GFLOP/s", "FMA peak, avx2: 100 GFLOP/s", "memory 20 GB/s", "forward/m/b8", "Larger markers"} {
		assert.Contains(t, texts, want)
	}
}

func TestRefusedRooflines(t *testing.T) {
	for want, change := range map[string]func(*Roofline){
		`panel "1 thread": got 0 peaks`:            func(r *Roofline) { r.Panels[0].Peaks = nil },
		`panel "1 thread": got 2 peaks and 0 band`: func(r *Roofline) { r.Panels[0].Reads = nil },
		`point "layer": got intensity 0 and 60`:    func(r *Roofline) { r.Panels[0].Points[2].Intensity = 0 },
		`point "kernel": got intensity 0.1 and N`:  func(r *Roofline) { r.Panels[0].Points[3].GFLOPS = math.NaN() },
	} {
		r := smallRoofline()
		change(r)
		assert.ErrorContains(t, r.WriteSVG(io.Discard), want)
	}
}

// A writer that fails is heard.
func TestWriterFails(t *testing.T) {
	for _, c := range allCharts() {
		assert.ErrorIs(t, c.WriteSVG(failing{}), errFull)
	}
}

var errFull = fmt.Errorf("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }
