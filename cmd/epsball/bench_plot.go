package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// The roofline of a report: a panel for one thread and one for all.
const (
	plotWidth  = 1000
	panelWidth = plotWidth - 100
	panelTall  = 500
	panelStep  = panelTall + 80
	panelLeft  = 70
	panelTop   = 118
)

// palette is that of Okabe and Ito, told apart by the colour-blind.
var palette = []string{"#0072b2", "#d55e00", "#009e73", "#a0568f", "#b8860b", "#3a87b5", "#444444"}

const kernelColor = "#777777"

// plotter draws a report.
type plotter struct {
	*svg
	r     *benchReport
	rows  []*benchRow // those with a place in the plot
	nets  []string
	ops   []string // markers, in order of appearance
	sizes []int    // batches
}

// plotRoofline writes the roofline of the first kernel set as SVG.
func plotRoofline(w io.Writer, r *benchReport) error {
	p := &plotter{r: r}
	threads := slices.Compact([]int{1, r.Threads})
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.ISA != r.ISA || row.Variant != direct || row.Intensity <= 0 || !slices.Contains(threads, row.Threads) {
			continue
		}
		p.rows = append(p.rows, row)
		p.nets = appendNew(p.nets, row.net())
		p.ops = appendNew(p.ops, row.operation())
		p.sizes = appendNew(p.sizes, row.Batch)
	}
	slices.Sort(p.sizes)
	legend, tall := p.legend(panelTop + float64(len(threads))*panelStep)
	height := panelTop + float64(len(threads))*panelStep + tall + 20
	p.svg = newSVG(plotWidth, height)
	p.text(panelLeft, 38, 22, "Roofline: "+r.CPU, `font-weight="bold" fill="#111111"`)
	p.text(panelLeft, 62, 13, fmt.Sprintf("epsball bench, kernel set %s. Dots are medians; arithmetic intensity counts the traffic that cannot be avoided:", r.ISA), `fill="#444444"`)
	p.text(panelLeft, 80, 13, "weights once, activations of the batch in and out, of each layer. Roofs are measured, too.", `fill="#444444"`)
	a := p.bounds()
	for i, t := range threads {
		top := panelTop + float64(i)*panelStep
		a.box = box{panelLeft, top, panelLeft + panelWidth, top + panelTall}
		p.panel(a, t)
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

// net is the network of a row, empty for kernels.
func (r *benchRow) net() string {
	parts := strings.Split(r.Name, "/")
	switch r.Kind {
	case kindPass, kindEdge:
		return parts[1]
	case kindLayer:
		return parts[2]
	}
	return ""
}

// operation is what a row's marker says.
func (r *benchRow) operation() string {
	parts := strings.Split(r.Name, "/")
	switch r.Kind {
	case kindPass:
		return parts[0]
	case kindEdge:
		return "forward"
	case kindLayer:
		return "layer " + parts[1]
	}
	return "element-wise kernel"
}

// label is the text beside the marker; rows of one label share it.
func (r *benchRow) label() string {
	parts := strings.Split(r.Name, "/")
	switch r.Kind {
	case kindPass, kindEdge:
		return fmt.Sprintf("%s b%d", parts[1], r.Batch)
	case kindLayer:
		return fmt.Sprintf("%s b%d", parts[3], r.Batch)
	}
	return parts[1] + " " + parts[2]
}

// bounds chooses the axes, the same for all panels.
func (p *plotter) bounds() *area {
	slowest, fastest, peak, lowest := math.Inf(1), 0.0, 0.0, math.Inf(1)
	for _, b := range p.r.Read {
		slowest, fastest = min(slowest, b.GBps), max(fastest, b.GBps)
	}
	for _, k := range p.r.Peaks {
		if k.ISA == p.r.ISA {
			peak, lowest = max(peak, k.GFLOPS), min(lowest, k.GFLOPS)
		}
	}
	// Both ends of the slanted roofs, and all points.
	a := &area{minX: lowest / fastest / 3, maxX: 4 * peak / slowest, minY: lowest / 30, maxY: 1.7 * peak}
	for _, r := range p.rows {
		a.minX, a.maxX = min(a.minX, r.Intensity/1.5), max(a.maxX, 1.5*r.Intensity)
		a.minY, a.maxY = min(a.minY, r.GFLOPS/1.4), max(a.maxY, 1.4*r.GFLOPS)
	}
	a.minY = max(a.minY, a.maxY/1e5)
	return a
}

func (p *plotter) panel(a *area, threads int) {
	p.text(a.x0, a.y0-10, 15, count(threads, "thread"), `font-weight="bold" fill="#111111"`)
	l := &labels{within: a.box}
	p.axes(a)
	p.roofs(a, l, threads)

	var rows []*benchRow
	for _, r := range p.rows {
		if r.Threads == threads {
			rows = append(rows, r)
			l.taken = append(l.taken, around(a.x(r.Intensity), a.y(r.GFLOPS), p.radius(r)+1))
		}
	}
	for _, r := range rows {
		fmt.Fprintf(p, `<g class="point">`)
		p.elem("<title>%s: %.3g GFLOP/s, %.1f%% of peak, %.3g FLOP/byte, spread %.1f%%</title>", r.Name, r.GFLOPS, 100*r.FractionOfPeak, r.Intensity, 100*r.Spread)
		p.marker(a.x(r.Intensity), a.y(r.GFLOPS), p.radius(r), r.operation(), p.color(r))
		p.elem("</g>")
	}
	placed := map[string]bool{}
	for _, r := range rows {
		key := r.net() + " " + r.label() // markers tell the operation, colours the network
		if !placed[key] {
			far := 18.0
			if r.Kind == kindPass {
				far = 54
			}
			placed[key] = l.place(p.svg, a.x(r.Intensity), a.y(r.GFLOPS), far, r.label(), p.color(r))
		}
	}
}

func (p *plotter) axes(a *area) {
	for _, v := range ticks(a.minX, a.maxX) {
		p.line("grid", a.x(v), a.y0, a.x(v), a.y1, `stroke="#e8e8e8"`)
		p.text(a.x(v), a.y1+17, 12, fmt.Sprintf("%g", v), `text-anchor="middle" fill="#444444"`)
	}
	for _, v := range ticks(a.minY, a.maxY) {
		p.line("grid", a.x0, a.y(v), a.x1, a.y(v), `stroke="#e8e8e8"`)
		p.text(a.x0-8, a.y(v)+4, 12, fmt.Sprintf("%g", v), `text-anchor="end" fill="#444444"`)
	}
	p.elem(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="none" stroke="#888888"/>`, a.x0, a.y0, a.x1-a.x0, a.y1-a.y0)
	p.text((a.x0+a.x1)/2, a.y1+38, 13, "arithmetic intensity, FLOP/byte", `text-anchor="middle" fill="#111111"`)
	x, y := a.x0-50, (a.y0+a.y1)/2
	p.text(x, y, 13, "GFLOP/s", fmt.Sprintf(`text-anchor="middle" fill="#111111" transform="rotate(-90 %.1f %.1f)"`, x, y))
}

// roofs draws the measured limits and keeps labels off their names.
func (p *plotter) roofs(a *area, l *labels, threads int) {
	const style = `stroke="#333333" stroke-width="1.6"`
	var top float64
	for _, k := range p.r.Peaks {
		if k.Threads != threads {
			continue
		}
		dash := ` stroke-dasharray="5 4"`
		if k.ISA == p.r.ISA {
			top, dash = k.GFLOPS, ""
		}
		if k.GFLOPS < a.minY {
			continue
		}
		y := a.y(k.GFLOPS)
		p.line("roof", a.x(p.ridge(k.GFLOPS, threads, a)), y, a.x1, y, style+dash)
		t := fmt.Sprintf("FMA peak, %s: %.4g GFLOP/s", k.ISA, k.GFLOPS)
		p.text(a.x1-8, y-6, 12, t, `text-anchor="end" fill="#111111"`)
		l.taken = append(l.taken, box{a.x1 - 8 - textWidth(t, 12), y - 18, a.x1, y + 2})
	}
	for _, b := range p.r.Read {
		if b.Threads == threads {
			p.slant(a, l, b, top, style)
		}
	}
}

// ridge is the intensity where the fastest memory meets a peak.
func (p *plotter) ridge(peak float64, threads int, a *area) float64 {
	x := a.maxX
	for _, b := range p.r.Read {
		if b.Threads == threads {
			x = min(x, peak/b.GBps)
		}
	}
	return max(x, a.minX)
}

// slant draws the roof of a bandwidth, with its name along it.
func (p *plotter) slant(a *area, l *labels, b bandwidth, peak float64, style string) {
	from, to := max(a.minX, a.minY/b.GBps), min(a.maxX, peak/b.GBps)
	if from >= to {
		return
	}
	x0, y0, x1, y1 := a.x(from), a.y(from*b.GBps), a.x(to), a.y(to*b.GBps)
	p.line("roof", x0, y0, x1, y1, style)
	const size = 12
	t := fmt.Sprintf("%s %.3g GB/s", b.Level, b.GBps)
	angle := math.Atan2(y1-y0, x1-x0)
	sin, cos := math.Sincos(angle)
	length := textWidth(t, size)
	for at := 12.0; at+length < math.Hypot(x1-x0, y1-y0); at += 10 {
		var boxes []box // along the text
		free := true
		for d := at; d < at+length; d += 6 {
			c := around(x0+d*cos+9*sin, y0+d*sin-9*cos, 6)
			boxes = append(boxes, c)
			free = free && l.free(c)
		}
		if free {
			x, y := x0+at*cos, y0+at*sin
			p.text(x, y, size, t, fmt.Sprintf(`fill="#111111" dy="-5" transform="rotate(%.2f %.1f %.1f)"`, angle*180/math.Pi, x, y))
			l.taken = append(l.taken, boxes...)
			return
		}
	}
}

// radius grows with the batch.
func (p *plotter) radius(r *benchRow) float64 {
	if r.Kind == kindKernel || len(p.sizes) < 2 {
		return 5
	}
	return 3.6 + 2.6*float64(slices.Index(p.sizes, r.Batch))/float64(len(p.sizes)-1)
}

func (p *plotter) color(r *benchRow) string {
	if r.net() == "" {
		return kernelColor
	}
	return p.netColor(r.net())
}

func (p *plotter) netColor(net string) string {
	return palette[slices.Index(p.nets, net)%len(palette)]
}

// shapes are the outlines of markers of radius 1.
var shapes = map[string][][2]float64{
	"backward-input":   {{-0.88, -0.88}, {0.88, -0.88}, {0.88, 0.88}, {-0.88, 0.88}},
	"pgd-step":         {{0, -1.15}, {1.05, 0.8}, {-1.05, 0.8}},
	"train-step":       {{0, 1.15}, {1.05, -0.8}, {-1.05, -0.8}},
	"ibp":              {{0, -1.25}, {1.25, 0}, {0, 1.25}, {-1.25, 0}},
	"backward-weights": {{0, 1.15}, {1.05, -0.8}, {-1.05, -0.8}},
}

// marker draws the shape of an operation: passes filled, layers hollow.
func (s *svg) marker(x, y, r float64, operation, color string) {
	op, hollow := strings.CutPrefix(operation, "layer ")
	style := fmt.Sprintf(`fill="%s" fill-opacity="0.85" stroke="#ffffff" stroke-width="0.8"`, color)
	if hollow {
		style = fmt.Sprintf(`fill="#ffffff" fill-opacity="0.6" stroke="%s" stroke-width="1.5"`, color)
	}
	outline, ok := shapes[op]
	switch {
	case ok:
		d := "M"
		for _, c := range outline {
			d += fmt.Sprintf(" %.1f %.1f", x+r*c[0], y+r*c[1])
		}
		fmt.Fprintf(s, `<path d="%s Z" %s/>`+"\n", d, style)
	case op == "forward":
		fmt.Fprintf(s, `<circle cx="%.1f" cy="%.1f" r="%.1f" %s/>`+"\n", x, y, r, style)
	default:
		fmt.Fprintf(s, `<path d="M %.1f %.1f L %.1f %.1f M %.1f %.1f L %.1f %.1f" stroke="%s" stroke-width="1.8"/>`+"\n",
			x-r, y-r, x+r, y+r, x-r, y+r, x+r, y-r, color)
	}
}

// legend draws what colours and markers mean from y on, and returns its height.
func (p *plotter) legend(y float64) (s *svg, tall float64) {
	s = &svg{}
	x, start := float64(panelLeft), y
	put := func(t, op, color string) {
		w := textWidth(t, 13) + 38
		if x+w > panelLeft+panelWidth {
			x, y = panelLeft, y+24
		}
		s.marker(x+7, y-4, 5.5, op, color)
		s.text(x+19, y, 13, t, `class="legend" fill="#111111"`)
		x += w
	}
	newLine := func() {
		if x > panelLeft {
			x, y = panelLeft, y+24
		}
	}
	for _, n := range p.nets {
		if n != "" {
			put(n, "forward", p.netColor(n))
		}
	}
	newLine()
	for _, op := range p.ops {
		put(op, op, kernelColor)
	}
	newLine()
	if len(p.sizes) > 1 {
		s.text(x, y, 12, "Larger markers are larger batches (b). Each marker's name and numbers are in its tooltip.", `fill="#444444"`)
		y += 24
	}
	return s, y - start
}
