package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/report"
)

// curve is a fraction of the images over the radius.
type curve struct{ plot.Curve }

// newCurve returns a curve without points.
func newCurve(name string, color int, dashed bool) *curve {
	return &curve{plot.Curve{Name: name, Points: true, Color: color, Dashed: dashed}}
}

// at puts in a point, if the fraction is known.
func (c *curve) at(radius float64, fraction *float64) {
	if fraction == nil {
		return
	}
	k, _ := slices.BinarySearch(c.X, radius)
	c.X, c.Y = slices.Insert(c.X, k, radius), slices.Insert(c.Y, k, *fraction)
}

// zero puts in what is known at radius 0, unless the curve begins there: no attack
// moves an image, so what is right stays right.
func (c *curve) zero(clean *float64) {
	if !slices.Contains(c.X, 0) {
		c.at(0, clean)
	}
}

// securityCurve draws what eval found at several radii: for each model the accuracy
// that no attack takes, and the certified one below it.
func securityCurve(w io.Writer, r *report.Eval) error {
	var curves []*curve
	for i := 0; i < len(r.Results); {
		first := r.Results[i]
		color := 1 + len(curves)/2
		attacked := newCurve(first.Model+", under attack", color, false)
		proved := newCurve(first.Model+", certified", color, true)
		for seen := map[string]bool{}; i < len(r.Results) && r.Results[i].Model == first.Model && !seen[r.Results[i].EpsExact]; i++ {
			e := r.Results[i]
			seen[e.EpsExact] = true
			attacked.at(e.Eps, e.Robust())
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
	c := newCurve("not fooled", 1, false)
	for _, a := range r.Results {
		c.at(a.Eps, a.Robust)
	}
	c.zero(one.Clean)
	return drawCurves(w, "Accuracy of "+one.Model+" under attack", fmt.Sprintf("%s of %s; %s", show.Count(one.N, "image"), r.Data,
		one.Attack), "radius ε, "+one.Norm, []*curve{c})
}

// certifyCurve draws the certified accuracy of models at several radii.
func certifyCurve(w io.Writer, r *report.CertifyTable) error {
	var curves []*curve
	seen := map[string]bool{}
	for _, c := range r.Results {
		if len(curves) == 0 || curves[len(curves)-1].Name != c.Model || seen[c.EpsExact] {
			curves = append(curves, newCurve(c.Model, 0, false))
			clear(seen)
		}
		seen[c.EpsExact] = true
		curves[len(curves)-1].at(*c.Eps, c.Certified)
	}
	one := r.Results[0]
	return drawCurves(w, "Certified accuracy", fmt.Sprintf("%s of %s; method %s", one.Images(), r.Data, one.Method), "radius ε, "+one.Norm, curves)
}

// drawCurves draws curves of fractions over the radius.
func drawCurves(w io.Writer, title, subtitle, xLabel string, curves []*curve) error {
	c := plot.Curves{
		Title: title, Subtitle: subtitle,
		X: plot.Axis{Label: xLabel}, Y: plot.Axis{Label: "images", Max: 1, Format: plot.Percent},
	}
	for _, k := range curves {
		c.Curves = append(c.Curves, k.Curve)
	}
	return c.WriteSVG(w)
}
