package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
)

// curve is a fraction of the images over the radius.
type curve struct {
	name   string
	points [][2]float64 // radius and fraction
	color  int          // of palette
	dashed bool
}

// at adds a point, if the fraction is known.
func (c *curve) at(radius float64, fraction *float64) {
	if fraction != nil {
		c.points = append(c.points, [2]float64{radius, *fraction})
	}
}

// zero adds what is known at radius 0, unless the curve begins there: no attack moves
// an image, so what is right stays right.
func (c *curve) zero(clean *float64) {
	if !slices.ContainsFunc(c.points, func(p [2]float64) bool { return p[0] == 0 }) {
		c.at(0, clean)
	}
}

// securityCurve draws what eval found at several radii: for each model the accuracy
// under PGD, and the certified one below it.
func securityCurve(w io.Writer, r *report.Eval) error {
	var curves []curve
	for i := 0; i < len(r.Results); {
		first := r.Results[i]
		attacked := curve{name: fmt.Sprintf("%s, PGD-%d", first.Model, r.Steps), color: len(curves) / 2}
		proved := curve{name: first.Model + ", certified", color: len(curves) / 2, dashed: true}
		for seen := map[string]bool{}; i < len(r.Results) && r.Results[i].Model == first.Model && !seen[r.Results[i].EpsExact]; i++ {
			e := r.Results[i]
			seen[e.EpsExact] = true
			attacked.at(e.Eps, e.PGD)
			proved.at(e.Eps, e.Certified)
		}
		attacked.zero(first.Clean)
		curves = append(curves, attacked, proved)
	}
	one := r.Results[0]
	return drawCurves(w, "Accuracy under attack, and certified", show.Count(one.N, "image")+" of "+r.Data, "radius ε, "+one.Norm, curves)
}

// attackCurve draws the accuracy that an attack leaves at several radii.
func attackCurve(w io.Writer, r *report.AttackTable) error {
	one := r.Results[0]
	c := curve{name: "not fooled"}
	for _, a := range r.Results {
		c.at(a.Eps, a.Robust)
	}
	c.zero(one.Clean)
	return drawCurves(w, "Accuracy of "+one.Model+" under attack", fmt.Sprintf("%s of %s; %s, %s", show.Count(one.N, "image"), r.Data,
		one.Attack, show.Count(one.Steps, "step")), "radius ε, "+one.Norm, []curve{c})
}

// certifyCurve draws the certified accuracy of models at several radii.
func certifyCurve(w io.Writer, r *report.CertifyTable) error {
	var curves []curve
	seen := map[string]bool{}
	for _, c := range r.Results {
		if len(curves) == 0 || curves[len(curves)-1].name != c.Model || seen[c.EpsExact] {
			curves = append(curves, curve{name: c.Model, color: len(curves)})
			clear(seen)
		}
		seen[c.EpsExact] = true
		curves[len(curves)-1].at(*c.Eps, c.Certified)
	}
	one := r.Results[0]
	return drawCurves(w, "Certified accuracy", fmt.Sprintf("%s of %s; method %s", one.Images(), r.Data, one.Method), "radius ε, "+one.Norm, curves)
}

// drawCurves writes a picture of curves with their names beside it.
func drawCurves(w io.Writer, title, subtitle, xLabel string, curves []curve) error {
	const legend = 260
	s := newSVG(curveWidth+legend, curveHeight)
	s.text(curveLeft, 36, 20, title, `font-weight="bold" fill="#111111"`)
	s.text(curveLeft, 58, 13, subtitle, `fill="#444444"`)
	most := 0.0
	for _, c := range curves {
		for _, p := range c.points {
			most = max(most, p[0])
		}
	}
	(&radiusPlot{xLabel: xLabel}).axes(s, most)
	for i, c := range curves {
		slices.SortFunc(c.points, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
		style := fmt.Sprintf(`fill="none" stroke="%s" stroke-width="2"`, palette[c.color%len(palette)])
		if c.dashed {
			style += ` stroke-dasharray="6 4"`
		}
		var at []string
		for _, p := range c.points {
			x := curveLeft + float64(curveRight-curveLeft)*p[0]/most
			at = append(at, fmt.Sprintf("%.1f,%.1f", x, curveY(p[1])))
			fmt.Fprintf(s, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, curveY(p[1]), palette[c.color%len(palette)])
		}
		fmt.Fprintf(s, `<polyline class="curve" points="%s" %s/>`+"\n", strings.Join(at, " "), style)
		y := float64(curveTop + 8 + 22*i)
		s.line("key", curveRight+16, y, curveRight+44, y, style)
		s.text(curveRight+52, y+4, 12, c.name, `fill="#111111"`)
	}
	s.elem("</svg>")
	_, err := w.Write(s.Bytes())
	return err
}
