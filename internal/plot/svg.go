package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
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

// words are the palette's colours for text, which wants more contrast.
var words = []color{
	{"w1", "#0072b2", "#4aa8e0"},
	{"w2", "#b34e00", "#ff8a3d"},
	{"w3", "#007a59", "#2fc79b"},
	{"w4", "#a0568f", "#d58cc4"},
	{"w5", "#8a6508", "#e0b13a"},
	{"w6", "#2f6f96", "#8cc5ea"},
	{"w7", "#444444", "#c0c4c9"},
}

// svg is a drawing in the making: what stands between the head and the end.
type svg struct {
	bytes.Buffer
	Layout
	measures
}

func newSVG(l Layout) *svg { return &svg{Layout: l, measures: l.measures()} }

// finish writes the drawing, with what is not shown but read out.
func (s *svg) finish(w io.Writer, height float64, title, alt string) error {
	if err := s.Layout.check(); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	id := s.id()
	out := &svg{}
	out.elem(`<svg xmlns="http://www.w3.org/2000/svg" id="%s" width="%.0f" height="%.0f" viewBox="0 0 %[2]v %[3]v" role="img" aria-labelledby="%[1]s-title %[1]s-desc" style="max-width:100%%;height:auto" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif">`,
		id, s.width, math.Ceil(height))
	out.elem(`<title id="%s-title">%s</title>`, id, or(title, "Chart"))
	out.elem(`<desc id="%s-desc">%s</desc>`, id, alt)
	out.WriteString("<style>@media screen and (prefers-color-scheme: dark) {\n") // paper stays white
	for _, c := range colors() {
		out.WriteString(c.rules(id, s.Bytes()))
	}
	out.WriteString("}</style>\n")
	if !s.Bare {
		out.elem(`<rect %s width="%.0f" height="%.0f"/>`, raw(look("background", paper, none)), s.width, math.Ceil(height))
	}
	out.Write(s.Bytes())
	out.elem("</svg>")
	_, err := w.Write(out.Bytes())
	return err
}

func colors() []color {
	list := []color{paper, ink, soft, faint, frame, shade, roof, gray}
	list = append(append(list, palette...), words...)
	for _, l := range levels {
		list = append(list, l.cell, l.text)
	}
	return list
}

// rules are those of a color in dark, if the drawing has it. They hold below id alone.
func (c color) rules(id string, drawing []byte) (t string) {
	for _, of := range []string{"fill", "stroke"} {
		class := prefix + of[:1] + "-" + c.name
		if c == paper || bytes.Contains(drawing, []byte(class)) {
			t += fmt.Sprintf("#%s .%s { %s: %s }\n", id, class, of, c.dark)
		}
	}
	return t
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

// prefix begins the name of each class, so that the style sheet of a page, which
// may well have its own "title" and "label", leaves drawings alone.
const prefix = "p-"

// look returns the attributes of a class and its colours. The attributes hold on
// light paper, and the style sheet overrides them on dark.
func look(class string, fill, stroke color, more ...string) string {
	attributes := ""
	if class != "" {
		class = prefix + class
	}
	set := func(what string, c color) {
		if c == none {
			attributes += fmt.Sprintf(` %s="none"`, what)
			return
		}
		class = strings.TrimSpace(class + " " + prefix + what[:1] + "-" + c.name)
		attributes += fmt.Sprintf(` %s="%s"`, what, c.light)
	}
	set("fill", fill)
	if stroke != none {
		set("stroke", stroke)
	}
	return strings.Join(append([]string{fmt.Sprintf(`class="%s"%s`, class, attributes)}, more...), " ")
}

func (s *svg) line(x1, y1, x2, y2 float64, look string) {
	fmt.Fprintf(s, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, look)
}

// text writes t with its baseline at y.
func (s *svg) text(x, y, size float64, t, look string) {
	if t == "" {
		return
	}
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f" font-size="%.1f" %s>`, x, y, size, look)
	s.elem("%s</text>", t)
}

// haloed is the look of a label that stands clear of what lies below it.
func haloed(class string, c color, anchor string) string {
	return look(class, c, paper, fmt.Sprintf(`text-anchor="%s" stroke-width="3" stroke-linejoin="round" paint-order="stroke"`, anchor))
}

// textWidth is about the width of t in Helvetica. Fonts differ, and so it is rather
// too much.
func textWidth(t string, size float64) float64 {
	wide := 0.0
	for _, r := range t {
		switch {
		case unicode.In(r, unicode.Mn):
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
			wide += 1.1
		case strings.ContainsRune("ijlt.,:;'|!fI()[] -r", r):
			wide += 0.36
		case strings.ContainsRune("mwMW%@–…", r):
			wide += 0.95
		case unicode.IsUpper(r):
			wide += 0.75
		default:
			wide += 0.6
		}
	}
	return wide * size
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

// wrap breaks t into lines of a width, four at most: what is left over is cut.
func wrap(t string, size, width float64) (lines []string) {
	const most = 4
	words := strings.Fields(t)
	for len(words) > 0 {
		n := 1
		for n < len(words) && (len(lines) == most-1 || textWidth(strings.Join(words[:n+1], " "), size) <= width) {
			n++
		}
		lines = append(lines, fit(strings.Join(words[:n], " "), size, width))
		words = words[n:]
	}
	return lines
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
