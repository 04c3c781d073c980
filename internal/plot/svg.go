package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"unicode"
)

// color is what a light and a dark background want; its name is that of a class.
type color struct{ name, light, dark string }

var (
	none  = color{}
	paper = color{"paper", "#ffffff", "#15181d"}
	ink   = color{"ink", "#111111", "#eeeeee"}
	soft  = color{"soft", "#444444", "#b8bcc2"}
	faint = color{"faint", "#e6e6e6", "#2f343b"} // grids
	frame = color{"frame", "#888888", "#7d838b"}
	shade = color{"shade", "#dddddd", "#383e46"} // bands
	roof  = color{"roof", "#333333", "#c8ccd1"}
	gray  = color{"gray", "#777777", "#9aa0a7"}

	// palette is that of Okabe and Ito.
	palette = []color{
		{"c1", "#0072b2", "#4aa8e0"},
		{"c2", "#d55e00", "#ff8a3d"},
		{"c3", "#009e73", "#2fc79b"},
		{"c4", "#a0568f", "#d58cc4"},
		{"c5", "#b8860b", "#e0b13a"},
		{"c6", "#3a87b5", "#8cc5ea"},
		{"c7", "#444444", "#c0c4c9"},
	}
)

// svg is a drawing in the making.
type svg struct{ bytes.Buffer }

// newSVG begins a drawing with its title, which is not shown but read out.
func newSVG(width, height float64, title string) *svg {
	s := &svg{}
	s.elem(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %[1]v %[2]v" role="img" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif">`, width, height)
	s.elem("<title>%s</title>", title)
	s.WriteString("<style>@media (prefers-color-scheme: dark) {\n")
	for _, c := range append([]color{paper, ink, soft, faint, frame, shade, roof, gray}, palette...) {
		fmt.Fprintf(s, ".f-%s { fill: %s } .s-%[1]s { stroke: %[2]s }\n", c.name, c.dark)
	}
	s.WriteString("}</style>\n")
	s.elem(`<rect %s width="%.0f" height="%.0f"/>`, raw(look("background", paper, none)), width, height)
	return s
}

// raw is markup: elem does not escape it.
type raw string

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

// look returns the attributes of a class and its colours. The attributes hold on
// light paper, and the style sheet overrides them on dark.
func look(class string, fill, stroke color, more ...string) string {
	attributes := ""
	set := func(what, prefix string, c color) {
		if c == none {
			attributes += fmt.Sprintf(` %s="none"`, what)
			return
		}
		class = strings.TrimSpace(class + " " + prefix + c.name)
		attributes += fmt.Sprintf(` %s="%s"`, what, c.light)
	}
	set("fill", "f-", fill)
	if stroke != none {
		set("stroke", "s-", stroke)
	}
	return strings.Join(append([]string{fmt.Sprintf(`class="%s"%s`, class, attributes)}, more...), " ")
}

func (s *svg) line(x1, y1, x2, y2 float64, look string) {
	fmt.Fprintf(s, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, look)
}

// text writes t with its baseline at y.
func (s *svg) text(x, y, size float64, t, look string) {
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f" font-size="%.1f" %s>`, x, y, size, look)
	s.elem("%s</text>", t)
}

// textWidth is about the width of t. Fonts differ, and so it is rather too much.
func textWidth(t string, size float64) float64 {
	columns := 0
	for _, r := range t {
		switch {
		case unicode.In(r, unicode.Mn):
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
			columns += 2
		default:
			columns++
		}
	}
	return 0.59 * size * float64(columns)
}

// fit returns t, cut if it is wider than some width.
func fit(t string, size, width float64) string {
	if textWidth(t, size) <= width {
		return t
	}
	for r := []rune(t); len(r) > 0; r = r[:len(r)-1] {
		if t = strings.TrimRight(string(r), " ") + "…"; textWidth(t, size) <= width {
			return t
		}
	}
	return ""
}

// point is a place in pixels.
type point struct{ x, y float64 }

// points formats a list for a polyline.
func points(list []point) string {
	at := make([]string, len(list))
	for i, p := range list {
		at[i] = fmt.Sprintf("%.1f,%.1f", p.x, p.y)
	}
	return strings.Join(at, " ")
}
