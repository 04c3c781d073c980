package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// radiusPlot is certified accuracy against the radius: each image is proved up to
// its certified radius and fooled from its attacked one on.
type radiusPlot struct {
	title, subtitle string
	xLabel          string
	resolution      float64 // a step's length
	certified       []int   // steps; −1: none
	attacked        []int   // steps; −1: never; nil: not attacked
}

const (
	curveWidth, curveHeight = 800, 500
	curveLeft, curveTop     = 70, 90
	curveRight              = curveWidth - 30
	curveBottom             = curveHeight - 60
)

func (p *radiusPlot) write(w io.Writer) error {
	s := newSVG(curveWidth, curveHeight)
	s.text(curveLeft, 36, 20, p.title, `font-weight="bold" fill="#111111"`)
	s.text(curveLeft, 58, 13, p.subtitle, `fill="#444444"`)
	most := max(1, slices.Max(p.certified))
	for _, k := range p.attacked {
		most = max(most, k)
	}
	p.axes(s, float64(most)*p.resolution)

	at := func(k int, fraction float64) string {
		x := curveLeft + float64(curveRight-curveLeft)*float64(k)/float64(most)
		return fmt.Sprintf("%.1f,%.1f", x, curveY(fraction))
	}
	proved := steps(p.certified, most, func(k, r int) bool { return r >= k })
	provedPath := path(proved, at)
	if p.attacked != nil {
		standing := steps(p.attacked, most, func(k, r int) bool { return r < 0 || r > k })
		standingPath := path(standing, at)
		undecided := append(slices.Clone(standingPath), reversed(provedPath)...)
		s.elem(`<polygon class="undecided" points="%s" fill="#dddddd"/>`, strings.Join(undecided, " "))
		s.elem(`<polyline class="attacked" points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(standingPath, " "), palette[1])
	}
	s.elem(`<polyline class="certified" points="%s" fill="none" stroke="%s" stroke-width="2.5"/>`, strings.Join(provedPath, " "), palette[0])
	p.legend(s)
	s.elem("</svg>")
	_, err := w.Write(s.Bytes())
	return err
}

func curveY(fraction float64) float64 { return curveBottom - (curveBottom-curveTop)*fraction }

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

// path draws a step function that keeps its value up to the next change.
func path(f []float64, at func(k int, fraction float64) string) (points []string) {
	for k, v := range f {
		if k == 0 || v != f[k-1] || k == len(f)-1 {
			if k > 0 {
				points = append(points, at(k, f[k-1]))
			}
			points = append(points, at(k, v))
		}
	}
	return points
}

func reversed(s []string) []string {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}

func (p *radiusPlot) axes(s *svg, most float64) {
	for i := 0; i <= 10; i += 2 {
		y := curveY(float64(i) / 10)
		s.line("grid", curveLeft, y, curveRight, y, `stroke="#e5e5e5"`)
		s.text(curveLeft-8, y+4, 12, fmt.Sprintf("%d%%", 10*i), `text-anchor="end" fill="#444444"`)
	}
	unit := math.Pow(10, math.Floor(math.Log10(most)))
	for unit*4 > most {
		unit /= 2
	}
	for v := 0.0; v <= most*(1+1e-9); v += unit {
		x := curveLeft + float64(curveRight-curveLeft)*v/most
		s.line("tick", x, curveBottom, x, curveBottom+5, `stroke="#444444"`)
		s.text(x, curveBottom+20, 12, strconv.FormatFloat(v, 'g', 4, 64), `text-anchor="middle" fill="#444444"`)
	}
	s.line("axis", curveLeft, curveBottom, curveRight, curveBottom, `stroke="#444444"`)
	s.text((curveLeft+curveRight)/2, curveHeight-16, 13, p.xLabel, `text-anchor="middle" fill="#111111"`)
	s.text(curveLeft, curveTop-10, 13, "images", `text-anchor="middle" fill="#111111"`)
}

func (p *radiusPlot) legend(s *svg) {
	entries := []struct{ text, color string }{{"proved at this radius", palette[0]}}
	if p.attacked != nil {
		entries = append(entries, struct{ text, color string }{"not fooled at this radius", palette[1]},
			struct{ text, color string }{"undecided", "#dddddd"})
	}
	for i, e := range entries {
		y := float64(curveTop + 16 + 20*i)
		s.line("key", curveRight-200, y, curveRight-175, y, fmt.Sprintf(`stroke="%s" stroke-width="4"`, e.color))
		s.text(curveRight-168, y+4, 12, e.text, `fill="#111111"`)
	}
}
