package plot

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Roofline is a chart of operations a second over arithmetic intensity, with the
// measured limits of the machine above the points: Williams, Waterman and
// Patterson, Roofline, CACM 2009. All panels have the same axes.
type Roofline struct {
	Layout
	Title    string
	Subtitle []string // lines
	Panels   []RooflinePanel
}

// RooflinePanel is what the machine can do and does with some number of threads.
type RooflinePanel struct {
	Title  string
	Peaks  []Peak // the first is drawn solid
	Reads  []Bandwidth
	Points []RooflinePoint
}

// Peak is a flat roof.
type Peak struct {
	Name   string
	GFLOPS float64
}

// Bandwidth is a slanted roof.
type Bandwidth struct {
	Name string
	GBps float64
}

// RooflinePoint is a measurement.
type RooflinePoint struct {
	Intensity float64 // operations a byte
	GFLOPS    float64

	Tooltip string
	Label   string // written beside it once, if there is room
	Far     bool   // the label may stand further off
	Series  string // gives the colour; "": gray
	Marker  string // an operation: gives the shape
	Size    int    // larger ones are larger; 0: of middle size
}

// rooflinePlot is a roofline being drawn.
type rooflinePlot struct {
	*svg
	*Roofline
	series  []string
	markers []string // in order of appearance
	sizes   []int
}

// With is the chart in another layout.
func (r *Roofline) With(l Layout) Chart { d := *r; d.Layout = l; return &d }

// WriteSVG writes the chart.
func (r *Roofline) WriteSVG(w io.Writer) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	p := &rooflinePlot{Roofline: r, svg: newSVG(r.Layout)}
	if !r.Narrow { // points crowd
		p.right += 1000 - p.width
		p.width, p.tall = 1000, 500
	}
	for i := range r.Panels {
		for k := range r.Panels[i].Points {
			o := &r.Panels[i].Points[k]
			p.series = appendNew(p.series, o.Series)
			p.markers = appendNew(p.markers, o.Marker)
			if o.Size > 0 {
				p.sizes = appendNew(p.sizes, o.Size)
			}
		}
	}
	slices.Sort(p.sizes)
	y := p.heading(r.Title, strings.Join(r.Subtitle, " "))
	a := p.bounds()
	left := p.left + a.room(p.svg)
	for i := range r.Panels {
		y += 26 + a.above(p.svg)
		a.box = box{left, y, p.right, y + p.tall}
		p.panel(a, &r.Panels[i])
		y = a.y1 + below
	}
	return p.finish(w, p.keys(y), r.Title, r.Alt())
}

// check refuses what cannot be drawn.
func (r *Roofline) check() error {
	if len(r.Panels) == 0 {
		return errors.New("no panels, want at least one")
	}
	for i := range r.Panels {
		n := &r.Panels[i]
		if len(n.Peaks) == 0 || len(n.Reads) == 0 {
			return fmt.Errorf("panel %q: got %d peaks and %d bandwidths, want both", n.Title, len(n.Peaks), len(n.Reads))
		}
		for k := range n.Points {
			o := &n.Points[k]
			if !(o.Intensity > 0 && o.GFLOPS > 0) || math.IsInf(o.Intensity, 1) || math.IsInf(o.GFLOPS, 1) {
				return fmt.Errorf("point %q: got intensity %g and %g GFLOP/s, want both above 0", o.Tooltip, o.Intensity, o.GFLOPS)
			}
		}
	}
	return nil
}

func appendNew[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// bounds chooses the axes, the same for all panels.
func (p *rooflinePlot) bounds() *area {
	slowest, fastest, peak, lowest := math.Inf(1), 0.0, 0.0, math.Inf(1)
	for i := range p.Panels {
		for _, b := range p.Panels[i].Reads {
			slowest, fastest = min(slowest, b.GBps), max(fastest, b.GBps)
		}
		peak, lowest = max(peak, p.Panels[i].Peaks[0].GFLOPS), min(lowest, p.Panels[i].Peaks[0].GFLOPS)
	}
	// Both ends of the slanted roofs, and all points.
	a := &area{
		x: Axis{Label: "arithmetic intensity, FLOP/byte", Scale: Log, Min: lowest / fastest / 3, Max: 4 * peak / slowest},
		y: Axis{Label: "GFLOP/s", Scale: Log, Min: lowest / 30, Max: 1.7 * peak},
	}
	for i := range p.Panels {
		for _, o := range p.Panels[i].Points {
			a.x.Min, a.x.Max = min(a.x.Min, o.Intensity/1.5), max(a.x.Max, 1.5*o.Intensity)
			a.y.Min, a.y.Max = min(a.y.Min, o.GFLOPS/1.4), max(a.y.Max, 1.4*o.GFLOPS)
		}
	}
	a.y.Min = max(a.y.Min, a.y.Max/1e5)
	return a
}

func (p *rooflinePlot) panel(a *area, n *RooflinePanel) {
	p.text(a.x0, a.y0-a.above(p.svg)-6, 15, n.Title, look("panel", ink, none, `font-weight="bold"`))
	l := &labels{within: a.box}
	a.draw(p.svg)
	p.roofs(a, l, n)
	for i := range n.Points {
		o := &n.Points[i]
		at := a.at(o.Intensity, o.GFLOPS)
		l.taken = append(l.taken, around(at.x, at.y, p.radius(o)+1))
	}
	for i := range n.Points {
		o := &n.Points[i]
		at := a.at(o.Intensity, o.GFLOPS)
		p.elem(`<g class="%spoint"><title>%s</title>`, raw(prefix), o.Tooltip)
		p.marker(at.x, at.y, p.radius(o), o.Marker, p.color(o.Series))
		p.elem("</g>")
	}
	placed := map[string]bool{}
	for i := range n.Points {
		o := &n.Points[i]
		if key := o.Series + " " + o.Label; !placed[key] {
			far := 18.0
			if o.Far {
				far = 54
			}
			at := a.at(o.Intensity, o.GFLOPS)
			placed[key] = l.place(p.svg, []point{at}, far, 11, o.Label, p.word(o.Series), p.color(o.Series))
		}
	}
}

// roofs draws the measured limits and keeps labels off their names.
func (p *rooflinePlot) roofs(a *area, l *labels, n *RooflinePanel) {
	for i, k := range n.Peaks {
		if k.GFLOPS < a.y.Min {
			continue
		}
		style := look("roof", none, roof, `stroke-width="1.6"`)
		if i > 0 {
			style += ` stroke-dasharray="5 4"`
		}
		from := a.at(ridge(k.GFLOPS, n, a), k.GFLOPS)
		p.line(from.x, from.y, a.x1, from.y, style)
		t := fmt.Sprintf("FMA peak, %s: %.4g GFLOP/s", k.Name, k.GFLOPS)
		p.text(a.x1-8, from.y-6, 12, t, look("", ink, none, `text-anchor="end"`))
		l.taken = append(l.taken, box{a.x1 - 8 - textWidth(t, 12), from.y - 18, a.x1, from.y + 2})
	}
	for _, b := range n.Reads {
		p.slant(a, l, b, n.Peaks[0].GFLOPS)
	}
}

// ridge is the intensity where the fastest memory meets a peak.
func ridge(peak float64, n *RooflinePanel, a *area) float64 {
	x := a.x.Max
	for _, b := range n.Reads {
		x = min(x, peak/b.GBps)
	}
	return max(x, a.x.Min)
}

// slant draws the roof of a bandwidth, with its name along it.
func (p *rooflinePlot) slant(a *area, l *labels, b Bandwidth, peak float64) {
	lo, hi := max(a.x.Min, a.y.Min/b.GBps), min(a.x.Max, peak/b.GBps)
	if lo >= hi {
		return
	}
	from, to := a.at(lo, lo*b.GBps), a.at(hi, hi*b.GBps)
	p.line(from.x, from.y, to.x, to.y, look("roof", none, roof, `stroke-width="1.6"`))
	const size = 12
	t := fmt.Sprintf("%s %.3g GB/s", b.Name, b.GBps)
	angle := math.Atan2(to.y-from.y, to.x-from.x)
	sin, cos := math.Sincos(angle)
	length := textWidth(t, size)
	for at := 12.0; at+length < math.Hypot(to.x-from.x, to.y-from.y); at += 10 {
		var boxes []box // along the text
		free := true
		for d := at; d < at+length; d += 6 {
			c := around(from.x+d*cos+9*sin, from.y+d*sin-9*cos, 6)
			boxes = append(boxes, c)
			free = free && l.free(c)
		}
		if free {
			x, y := from.x+at*cos, from.y+at*sin
			p.text(x, y, size, t, look("", ink, none, fmt.Sprintf(`dy="-5" transform="rotate(%.2f %.1f %.1f)"`, angle*180/math.Pi, x, y)))
			l.taken = append(l.taken, boxes...)
			return
		}
	}
}

// radius grows with the size.
func (p *rooflinePlot) radius(o *RooflinePoint) float64 {
	if o.Size == 0 || len(p.sizes) < 2 {
		return 5
	}
	return 3.6 + 2.6*float64(slices.Index(p.sizes, o.Size))/float64(len(p.sizes)-1)
}

// word is the colour of the series' text.
func (p *rooflinePlot) word(series string) color {
	if series == "" {
		return soft
	}
	return words[slices.Index(p.series, series)%len(words)]
}

func (p *rooflinePlot) color(series string) color {
	if series == "" {
		return gray
	}
	return palette[slices.Index(p.series, series)%len(palette)]
}

// keys draws what colours and markers mean from y on, and returns where it ends.
func (p *rooflinePlot) keys(y float64) float64 {
	l := p.legend(y)
	put := func(t, op string, c color) {
		l.put(t, 14, func(x, y float64) { p.marker(x, y, 5.5, op, c) })
	}
	for _, n := range p.series {
		if n != "" {
			put(n, "forward", p.color(n))
		}
	}
	l.newLine()
	for _, op := range p.markers {
		put(op, op, gray)
	}
	l.newLine()
	if len(p.sizes) > 1 {
		for _, line := range wrap("Larger markers are larger batches (b). Each marker's name and numbers are in its tooltip.", p.small, p.right-p.left) {
			p.text(p.left, l.y, p.small, line, look("note", soft, none))
			l.y += 17
		}
	}
	return l.end() + 10
}
