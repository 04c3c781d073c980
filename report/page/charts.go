package page

import (
	"fmt"
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
)

// named is a chart with an identifier of its own on the page.
type named struct {
	id, title string
	chart     plot.Chart
	n         int // of images; 0: it is not of images, or not of those of the page
}

// allCharts lists the charts of a page, in order.
func allCharts(r *report.Page) (list []named) {
	for _, part := range []func(*report.Page) []named{tradeoff, security, radii, training, confusion, throughput} {
		list = append(list, part(r)...)
	}
	return list
}

// known is a fraction, or NaN for one that is not known.
func known(f *float64) float64 {
	if f == nil {
		return math.NaN()
	}
	return *f
}

// attackNames are short names of the attacks: their methods', where these differ.
func attackNames(r *report.Page) []string {
	names := make([]string, len(r.Attacks))
	times := map[string]int{}
	for k, text := range r.Attacks {
		names[k] = text
		if s, err := attack.ParseSpec(text); err == nil {
			names[k] = s.Name
		}
		times[names[k]]++
	}
	for k, text := range r.Attacks {
		if times[names[k]] > 1 {
			names[k] = text
		}
	}
	return names
}

// images says of how many images a figure is.
func images(r *report.Page) string { return show.Count(r.N, "image") + " of " + r.Data }

// tradeoff draws what models withstand over their clean accuracy.
func tradeoff(r *report.Page) []named {
	names := attackNames(r)
	c := &plot.Scatter{
		Title:    "Clean accuracy, and what is left of it at ε = " + r.EpsExact,
		Subtitle: images(r) + ", " + r.Norm,
		X:        plot.Axis{Label: "clean accuracy", Format: plot.Percent},
		Y:        plot.Axis{Label: "left at ε = " + r.EpsExact, Min: 0, Max: 1, Format: plot.Percent},
	}
	for _, name := range names {
		c.Series = append(c.Series, "not fooled by "+name)
	}
	c.Series = append(c.Series, "certified, "+r.Bounds)
	for i := range r.Models {
		m := &r.Models[i]
		if m.Clean == nil || m.Points == nil {
			continue
		}
		p := r.Point(m)
		y := []float64{}
		for _, f := range p.NotFooled {
			y = append(y, known(f))
		}
		c.Points = append(c.Points, plot.ScatterPoint{Name: m.Name, X: *m.Clean, Y: append(y, known(p.Certified))})
	}
	if len(c.Points) == 0 {
		return nil
	}
	c.X.Min, c.X.Max = c.Points[0].X, c.Points[0].X
	for _, p := range c.Points {
		c.X.Min, c.X.Max = min(c.X.Min, p.X), max(c.X.Max, p.X)
	}
	room := max(0.01, (c.X.Max-c.X.Min)/10)
	c.X.Min, c.X.Max = max(0, c.X.Min-room), min(1, c.X.Max+room)
	return []named{{"tradeoff", c.Title, c, r.N}}
}

// security draws accuracies of each model over the radius.
func security(r *report.Page) (list []named) {
	names := attackNames(r)
	for i := range r.Models {
		m := &r.Models[i]
		if m.Points == nil || m.Clean == nil {
			continue
		}
		c := &plot.Curves{
			Title: m.Name, Subtitle: images(r),
			X: plot.Axis{Label: "radius ε, " + r.Norm}, Y: plot.Axis{Label: "images", Max: 1, Format: plot.Percent},
		}
		curve := func(name string, color int, at func(p *report.PagePoint) *float64) (k plot.Curve, whole bool) {
			k = plot.Curve{Name: name, Points: true, Color: color}
			some, all := false, true
			add := func(x float64, f *float64) {
				k.X, k.Y = append(k.X, x), append(k.Y, known(f))
				all = all && f != nil
			}
			add(0, m.Clean)
			for j := range m.Points {
				f := at(&m.Points[j])
				some = some || f != nil
				add(r.Radii[j].Eps, f)
			}
			if some {
				c.Curves = append(c.Curves, k)
			}
			return k, all
		}
		for a, name := range names {
			curve("not fooled by "+name, 1+a, func(p *report.PagePoint) *float64 { return p.NotFooled[a] })
		}
		certified, all := curve("certified", 1+len(names), func(p *report.PagePoint) *float64 { return p.Certified })
		if m.Certified != nil {
			c.Curves[len(c.Curves)-1].Dashed = true
		}
		standing := plot.Curve{Name: "fooled by none", X: certified.X}
		standing.Y = append(standing.Y, *m.Clean)
		for j := range m.Points {
			standing.Y = append(standing.Y, known(m.Points[j].Standing))
			all = all && m.Points[j].Standing != nil
		}
		if all {
			c.Bands = []plot.Band{{Name: "neither fooled nor proved", Low: certified, High: standing}}
		}
		if len(c.Curves) > 0 {
			list = append(list, named{fmt.Sprintf("security-%d", i+1), c.Title, c, r.N})
		}
	}
	return list
}

// radii draws which share of the images has at least some certified radius.
func radii(r *report.Page) []named {
	c := &plot.Curves{
		Title: "Certified radii", Subtitle: images(r) + "; " + r.Bounds,
		X: plot.Axis{Label: "radius ε, " + r.Norm}, Y: plot.Axis{Label: "images proved", Max: 1, Format: plot.Percent},
	}
	most := 1
	for i := range r.Models {
		for _, k := range r.Models[i].Certified {
			most = max(most, k)
		}
	}
	most = min(most+1, max(1, r.Tried))
	for i := range r.Models {
		m := &r.Models[i]
		if m.Certified == nil {
			continue
		}
		k := plot.Curve{Name: m.Name, Shape: plot.StepBefore, Color: i + 1, Dashed: i/colors%2 > 0}
		left := make([]int, most+2) // images by their radius
		for _, steps := range m.Certified {
			left[min(steps, most)+1]++
		}
		n := len(m.Certified) - left[0]
		for step := range most + 1 {
			k.X, k.Y = append(k.X, float64(step)*r.Resolution), append(k.Y, show.Fraction(n, len(m.Certified)))
			n -= left[step+1]
		}
		c.Curves = append(c.Curves, k)
	}
	if len(c.Curves) == 0 {
		return nil
	}
	return []named{{"radii", "Images proved up to a radius", c, r.N}}
}

// confusion draws what is taken for what.
func confusion(r *report.Page) (list []named) {
	if r.Classes > maxMatrix {
		return nil
	}
	for i := range r.Models {
		m := &r.Models[i]
		if m.Confusion == nil {
			continue
		}
		c := &plot.Matrix{Title: m.Name, Subtitle: images(r) + " under attack, ε = " + r.EpsExact, RowLabel: "label", ColumnLabel: "taken for"}
		columns := r.Classes
		for _, row := range m.Confusion {
			if row[r.Classes] > 0 {
				columns = r.Classes + 1
			}
		}
		c.Diagonal = columns == r.Classes
		for k := range columns {
			name := fmt.Sprint(k)
			if k == r.Classes {
				name = "none"
			} else {
				c.Rows = append(c.Rows, name)
			}
			c.Columns = append(c.Columns, name)
		}
		for _, row := range m.Confusion {
			cells := []float64{}
			for _, n := range row[:columns] {
				cells = append(cells, float64(n))
			}
			c.Cells = append(c.Cells, cells)
		}
		list = append(list, named{fmt.Sprintf("confusion-%d", i+1), c.Title, c, r.N})
	}
	return list
}

// colors is how many the palette has, after which curves are dashed.
const colors = 7

// maxMatrix is how many classes a matrix shows.
const maxMatrix = 20

// throughput draws how fast models were looked at.
func throughput(r *report.Page) (list []named) {
	if r.Timings == nil {
		return nil
	}
	add := func(id, title, label string, value func(t *report.PageTiming) float64) {
		c := &plot.Bars{Title: title, Label: label, Format: show.Rate}
		some := false
		for i := range r.Models {
			v := value(&r.Timings.Models[i])
			some = some || v > 0
			c.Bars = append(c.Bars, plot.Bar{Name: r.Models[i].Name, Value: v, Color: i + 1})
		}
		if some {
			list = append(list, named{id, title, c, 0})
		}
	}
	add("speed-forward", "Forward passes", "images a second", func(t *report.PageTiming) float64 { return t.Forward })
	for a, name := range attackNames(r) {
		add(fmt.Sprintf("speed-attack-%d", a+1), "Steps of "+name, "steps of one image a second", func(t *report.PageTiming) float64 { return t.Steps[a] })
	}
	add("speed-radii", "Certified radii by "+r.Bounds, "images a second", func(t *report.PageTiming) float64 { return t.Proofs })
	return list
}
