package page

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"unicode"

	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/report"
)

// view is what the template shows.
type view struct {
	CSS      template.CSS
	Title    string
	Lead     string
	Left     []string // passes that are missing
	Sections []section
}

type section struct {
	ID, Title string
	Blocks    []block
}

// block is a piece of a section: one of its fields is set.
type block struct {
	Text    string
	Head    string
	Code    string
	List    []string
	Figures []figure
	Table   *table
	More    *more
	Gallery []exhibit
	Shots   []shot
}

// more is what a reader unfolds.
type more struct {
	Title  string
	Tables []table
	Facts  []fact
}

// table is a table whose columns of words stand to the left, those of numbers to the right.
type table struct {
	Caption string
	Head    []cell
	Rows    [][]cell
}

type cell struct {
	Text string
	Left bool
}

func newTable(t plot.Table) table {
	words := make([]bool, len(t.Head))
	for _, row := range t.Rows {
		for k, text := range row {
			words[k] = words[k] || k == 0 || text != "" && unicode.IsLetter([]rune(text)[0])
		}
	}
	cells := func(row []string) (list []cell) {
		for k, text := range row {
			list = append(list, cell{text, words[k]})
		}
		return list
	}
	n := table{Caption: t.Caption, Head: cells(t.Head)}
	for _, row := range t.Rows {
		n.Rows = append(n.Rows, cells(row))
	}
	return n
}

type fact struct{ Name, Value string }

// figure is a chart with its numbers. Beside others there is only its narrow drawing.
type figure struct {
	ID, Title    string
	N            int // images, if it is of those of the page
	Wide, Narrow template.HTML
	Table        table
}

// shot is a picture.
type shot struct {
	Src           template.URL
	Alt           string
	Width, Height int // at which it is shown
	Name, Caption string
	Flag          bool // the caption tells of a misclassification
}

// exhibit is an image with what attacks make of it.
type exhibit struct {
	Title    string
	Original shot
	Models   []exhibited
}

type exhibited struct {
	Model string
	Shots []shot
	Text  string
	Flag  bool
}

func newView(r *report.Page) (*view, error) {
	css, err := files.ReadFile("page.css")
	if err != nil {
		return nil, err
	}
	v := &view{CSS: template.CSS(css), Title: title(r), Lead: lead(r), Left: r.Left}
	for _, part := range []func(*report.Page) (section, error){
		overviewSection, tradeoffSection, securitySection, radiiSection, trainingSection, gallerySection, filtersSection,
		gradientsSection, confusionSection, checksSection, madeSection, timingsSection,
	} {
		s, err := part(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.ID, err)
		}
		v.Sections = append(v.Sections, s)
	}
	return v, nil
}

// text makes paragraphs.
func text(paragraphs ...string) (list []block) {
	for _, p := range paragraphs {
		if p != "" {
			list = append(list, block{Text: p})
		}
	}
	return list
}

// figures draws charts: one alone as wide as the page, several side by side.
func figures(list []named) ([]block, error) {
	if len(list) == 0 {
		return text("There is nothing to draw yet: the run was interrupted before."), nil
	}
	var all []figure
	for _, n := range list {
		f := figure{ID: n.id, Title: n.title, N: n.n, Table: newTable(n.chart.Table())}
		draw := func(narrow bool) (template.HTML, error) {
			var b bytes.Buffer
			err := n.chart.With(plot.Layout{ID: n.id, Bare: true, Narrow: narrow}).WriteSVG(&b)
			return template.HTML(b.String()), err // plot escapes what it writes
		}
		var err error
		if f.Narrow, err = draw(true); err == nil && len(list) == 1 {
			f.Wide, err = draw(false)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return []block{{Figures: all}}, nil
}

// shown makes a shot of a picture, whose pixels are magnified to about some size.
func shown(p *report.Picture, size int, alt string) shot {
	zoom := max(1, size/max(p.Width, p.Height, 1))
	return shot{
		Src: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(p.PNG)), // base64 is safe there
		Alt: alt, Width: zoom * p.Width, Height: zoom * p.Height,
	}
}

// join makes a list for a sentence.
func join(list []string) string {
	switch n := len(list); n {
	case 0:
		return ""
	case 1:
		return list[0]
	default:
		out := list[0]
		for _, s := range list[1 : n-1] {
			out += ", " + s
		}
		return out + " and " + list[n-1]
	}
}

// Missing reports whether anything is left out of the page.
func (v *view) Missing() bool { return len(v.Left) > 0 }

// Columns is the class of figures that stand side by side: in pairs where that leaves no
// gap.
func (b *block) Columns() string {
	switch {
	case slices.ContainsFunc(b.Figures, func(f figure) bool { return f.Wide != "" }):
		return ""
	case len(b.Figures)%3 > 0 && len(b.Figures)%2 == 0:
		return " grid pairs"
	}
	return " grid"
}
