package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"

	"github.com/jedib0t/go-pretty/v6/text"
)

// svg is a drawing in the making.
type svg struct{ bytes.Buffer }

func newSVG(width, height float64) *svg {
	s := &svg{}
	s.elem(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %[1]v %[2]v" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif">`, width, height)
	s.elem(`<rect class="background" width="%.0f" height="%.0f" fill="#ffffff"/>`, width, height)
	return s
}

// elem writes a line. Strings among the arguments are escaped.
func (s *svg) elem(format string, args ...any) {
	for i, a := range args {
		if t, ok := a.(string); ok {
			var b bytes.Buffer
			_ = xml.EscapeText(&b, []byte(t)) // a buffer takes everything
			args[i] = b.String()
		}
	}
	fmt.Fprintf(s, format+"\n", args...)
}

func (s *svg) line(class string, x1, y1, x2, y2 float64, style string) {
	fmt.Fprintf(s, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", class, x1, y1, x2, y2, style)
}

// text writes t with its baseline at y; style holds attributes.
func (s *svg) text(x, y, size float64, t, style string) {
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f" font-size="%.1f" %s>`, x, y, size, style)
	s.elem("%s</text>", t)
}

// textWidth is about the width of t.
func textWidth(t string, size float64) float64 { return 0.59 * size * float64(text.StringWidth(t)) }

// box is a rectangle that labels keep clear of.
type box struct{ x0, y0, x1, y1 float64 }

func (b box) overlaps(o box) bool { return b.x0 < o.x1 && o.x0 < b.x1 && b.y0 < o.y1 && o.y0 < b.y1 }

func (b box) inside(o box) bool { return b.x0 >= o.x0 && b.x1 <= o.x1 && b.y0 >= o.y0 && b.y1 <= o.y1 }

func around(x, y, r float64) box { return box{x - r, y - r, x + r, y + r} }

// area is a plot area with logarithmic axes.
type area struct {
	box        // in pixels
	minX, maxX float64
	minY, maxY float64
}

func (a *area) x(v float64) float64 {
	return a.x0 + (a.x1-a.x0)*math.Log(v/a.minX)/math.Log(a.maxX/a.minX)
}

func (a *area) y(v float64) float64 {
	return a.y1 - (a.y1-a.y0)*math.Log(v/a.minY)/math.Log(a.maxY/a.minY)
}

// ticks lists 1, 2, 5, 10, … from lo to hi.
func ticks(lo, hi float64) (list []float64) {
	for p := math.Pow(10, math.Floor(math.Log10(lo))); p <= hi; p *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if v := m * p; v >= lo && v <= hi {
				list = append(list, v)
			}
		}
	}
	return list
}

// labels places labels next to points so that they hide nothing.
type labels struct {
	within box
	taken  []box
}

func (l *labels) free(b box) bool {
	for _, t := range l.taken {
		if b.overlaps(t) {
			return false
		}
	}
	return b.inside(l.within)
}

// place writes t near (x, y), no further off than far, if there is room.
func (l *labels) place(s *svg, x, y, far float64, t, color string) bool {
	const size = 11
	w := textWidth(t, size)
	for d := 9.0; d <= far; d += 9 {
		for _, dir := range [][2]float64{{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}} {
			cx, cy := x+dir[0]*(d+w/2), y+dir[1]*(d+size/2)
			b := box{cx - w/2, cy - size/2 - 1, cx + w/2, cy + size/2 + 1}
			if !l.free(b) {
				continue
			}
			l.taken = append(l.taken, b)
			if d > 9 {
				s.line("leader", x, y, min(max(x, b.x0), b.x1), min(max(y, b.y0), b.y1), fmt.Sprintf(`stroke="%s" stroke-width="0.7" opacity="0.6"`, color))
			}
			s.text(cx, cy+0.36*size, size, t, fmt.Sprintf(`class="label" text-anchor="middle" fill="%s" stroke="#ffffff" stroke-width="3" stroke-linejoin="round" paint-order="stroke"`, color))
			return true
		}
	}
	return false
}
