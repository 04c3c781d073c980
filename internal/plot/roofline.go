package plot

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// Roofline is a chart of operations a second over arithmetic intensity, with the
// measured limits of the machine above the points: Williams, Waterman and
// Patterson, Roofline, CACM 2009. All panels have the same axes.
type Roofline struct {
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

// Measures of a roofline, in pixels.
const (
	roofWidth  = 1000
	panelWidth = roofWidth - 100
	panelTall  = 500
	panelStep  = panelTall + 80
	panelLeft  = 70
	panelTop   = 118
)

// rooflinePlot is a roofline being drawn.
type rooflinePlot struct {
	*svg
	*Roofline
	series  []string
	markers []string // in order of appearance
	sizes   []int
}

// WriteSVG writes the chart.
func (r *Roofline) WriteSVG(w io.Writer) error {
	p := &rooflinePlot{Roofline: r}
	for i := range r.Panels {
		if n := &r.Panels[i]; len(n.Peaks) == 0 || len(n.Reads) == 0 {
			return fmt.Errorf("plot: panel %q: got %d peaks and %d bandwidths, want both", n.Title, len(n.Peaks), len(n.Reads))
		}
		for k := range r.Panels[i].Points {
			o := &r.Panels[i].Points[k]
			if !(o.Intensity > 0 && o.GFLOPS > 0) || math.IsInf(o.Intensity, 1) || math.IsInf(o.GFLOPS, 1) {
				return fmt.Errorf("plot: point %q: got intensity %g and %g GFLOP/s, want both above 0", o.Tooltip, o.Intensity, o.GFLOPS)
			}
			p.series = appendNew(p.series, o.Series)
			p.markers = appendNew(p.markers, o.Marker)
			if o.Size > 0 {
				p.sizes = appendNew(p.sizes, o.Size)
			}
		}
	}
	slices.Sort(p.sizes)
	bottom := panelTop + float64(len(r.Panels))*panelStep
	legend, tall := p.legend(bottom)
	p.svg = newSVG(roofWidth, bottom+tall+20, r.Title)
	p.text(panelLeft, 38, 22, fit(r.Title, 22, panelWidth), look("title", ink, none, `font-weight="bold"`))
	for i, t := range r.Subtitle {
		p.text(panelLeft, 62+18*float64(i), 13, t, look("subtitle", soft, none))
	}
	a := p.bounds()
	for i := range r.Panels {
		top := panelTop + float64(i)*panelStep
		a.box = box{panelLeft, top, panelLeft + panelWidth, top + panelTall}
		p.panel(a, &r.Panels[i])
	}
	p.Write(legend.Bytes())
	p.elem("</svg>")
	_, err := w.Write(p.Bytes())
	return err
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
	p.text(a.x0, a.y0-10, 15, n.Title, look("panel", ink, none, `font-weight="bold"`))
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
		fmt.Fprintf(p, `<g class="point">`)
		p.elem("<title>%s</title>", o.Tooltip)
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
			placed[key] = l.place(p.svg, at.x, at.y, far, o.Label, p.color(o.Series))
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

func (p *rooflinePlot) color(series string) color {
	if series == "" {
		return gray
	}
	return palette[slices.Index(p.series, series)%len(palette)]
}

// legend draws what colours and markers mean from y on, and returns its height.
func (p *rooflinePlot) legend(y float64) (s *svg, tall float64) {
	s = &svg{}
	x, start := float64(panelLeft), y
	put := func(t, op string, c color) {
		w := textWidth(t, 13) + 38
		if x+w > panelLeft+panelWidth {
			x, y = panelLeft, y+24
		}
		s.marker(x+7, y-4, 5.5, op, c)
		s.text(x+19, y, 13, t, look("legend", ink, none))
		x += w
	}
	newLine := func() {
		if x > panelLeft {
			x, y = panelLeft, y+24
		}
	}
	for _, n := range p.series {
		if n != "" {
			put(n, "forward", p.color(n))
		}
	}
	newLine()
	for _, op := range p.markers {
		put(op, op, gray)
	}
	newLine()
	if len(p.sizes) > 1 {
		s.text(x, y, 12, "Larger markers are larger batches (b). Each marker's name and numbers are in its tooltip.", look("note", soft, none))
		y += 24
	}
	return s, y - start
}
