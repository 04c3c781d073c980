package charts

import (
	"fmt"
	"io"
	"slices"

	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/report"
)

// Radii draws the radii of the images that r sums up, in steps of resolution:
// certified, and attacked if an attack ran.
func Radii(w io.Writer, r *report.Certify, resolution float64, certified, attacked []int) error {
	p := radiusPlot{
		title:    "Certified accuracy of " + r.Model,
		subtitle: fmt.Sprintf("%s of %s; method %s", r.Images(), r.Data, r.Method),
		xLabel:   fmt.Sprintf("radius ε, %s", r.Norm), resolution: resolution,
		certified: certified[:r.N],
	}
	if r.AttackSteps > 0 {
		p.subtitle += fmt.Sprintf(", attack PGD-%d", r.AttackSteps)
	}
	if r.AttackSteps > 0 || r.Timeout != nil {
		p.attacked = attacked[:r.N]
	}
	return p.chart().WriteSVG(w)
}

// radiusPlot is certified accuracy against the radius: each image is proved up to
// its certified radius and fooled from its attacked one on.
type radiusPlot struct {
	title, subtitle string
	xLabel          string
	resolution      float64 // a step's length
	certified       []int   // steps; −1: none
	attacked        []int   // steps; −1: never; nil: not attacked
}

func (p *radiusPlot) chart() *plot.Curves {
	most := max(1, slices.Max(p.certified))
	for _, k := range p.attacked {
		most = max(most, k)
	}
	x := make([]float64, most+1)
	for k := range x {
		x[k] = float64(k) * p.resolution
	}
	c := &plot.Curves{
		Title: p.title, Subtitle: p.subtitle,
		X: plot.Axis{Label: p.xLabel}, Y: plot.Axis{Label: "images", Max: 1, Format: plot.Percent},
	}
	proved := plot.Curve{
		Name: "proved at this radius", X: x, Color: 1, Shape: plot.StepBefore,
		Y: steps(p.certified, most, func(k, r int) bool { return r >= k }),
	}
	if p.attacked != nil {
		standing := plot.Curve{
			Name: "not fooled at this radius", X: x, Color: 2, Shape: plot.StepAfter,
			Y: steps(p.attacked, most, func(k, r int) bool { return r < 0 || r > k }),
		}
		c.Curves = append(c.Curves, standing)
		c.Bands = append(c.Bands, plot.Band{Name: "undecided", Low: proved, High: standing})
	}
	c.Curves = append(c.Curves, proved)
	return c
}

// steps returns the fraction of radii for which holds(k, radius), for k = 0 … most.
func steps(radii []int, most int, holds func(k, radius int) bool) []float64 {
	f := make([]float64, most+1)
	for k := range f {
		n := 0
		for _, r := range radii {
			if holds(k, r) {
				n++
			}
		}
		f[k] = float64(n) / float64(len(radii))
	}
	return f
}
