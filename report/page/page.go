// Package page draws the result of report as one HTML page: charts, pictures and tables
// with words that say how to read them. The page opens offline in any browser and needs
// no script. It is light or dark as the reader's system is, fits a phone and paper, and
// each figure has a text alternative and a table of its numbers. The same result is the
// same bytes.
package page

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"

	"github.com/epsball/epsball/internal/plot"
	"github.com/epsball/epsball/report"
)

//go:embed page.html.tmpl page.css
var files embed.FS

// Write writes the page.
func Write(w io.Writer, r *report.Page) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	v, err := newView(r)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	t, err := template.ParseFS(files, "page.html.tmpl")
	if err != nil {
		return err
	}
	return t.Execute(w, v)
}

// The folders that WriteParts makes.
const (
	charts   = "charts"
	pictures = "pictures"
	data     = "data"
)

// Folders lists the folders that WriteParts makes.
func Folders() []string { return []string{charts, pictures, data} }

// Results is the file of WriteParts from which the page can be drawn again.
const Results = "results.json"

// WriteParts writes each chart as an SVG file, each picture as a PNG file, and the result
// itself to folders that it makes in dir.
func WriteParts(dir string, r *report.Page) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	for _, sub := range Folders() {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			return err
		}
	}
	put := func(sub, name string, write func(w io.Writer) error) error {
		f, err := os.Create(filepath.Join(dir, sub, name))
		if err != nil {
			return err
		}
		if err := write(f); err != nil {
			f.Close()
			return fmt.Errorf("%s: %w", name, err)
		}
		return f.Close()
	}
	for _, c := range allCharts(r) {
		if err := put(charts, c.id+".svg", c.chart.With(plot.Layout{}).WriteSVG); err != nil {
			return err
		}
	}
	for _, p := range allPictures(r) {
		err := put(pictures, p.name+".png", func(w io.Writer) error {
			_, err := w.Write(p.picture.PNG)
			return err
		})
		if err != nil {
			return err
		}
	}
	return put(data, Results, func(w io.Writer) error { return report.Write(w, r) })
}

// namedPicture is a picture and the name of its file.
type namedPicture struct {
	name    string
	picture *report.Picture
}

// allPictures lists those of a page. Models go by their number: names are any text.
func allPictures(r *report.Page) (list []namedPicture) {
	for k := range r.Images {
		list = append(list, namedPicture{fmt.Sprintf("image-%05d", r.Images[k].Index), &r.Images[k].Picture})
	}
	for i := range r.Models {
		m := &r.Models[i]
		for k := range m.Gallery {
			name := fmt.Sprintf("image-%05d-model-%d-", r.Images[k].Index, i+1)
			list = append(list, namedPicture{name + "adversarial", &m.Gallery[k].Adversarial}, namedPicture{name + "difference", &m.Gallery[k].Difference})
		}
		if m.Gradients != nil {
			for k := range m.Gradients.Pictures {
				list = append(list, namedPicture{fmt.Sprintf("image-%05d-model-%d-gradient", r.Images[k].Index, i+1), &m.Gradients.Pictures[k]})
			}
		}
		if m.Filters != nil && m.Filters.Why == "" {
			list = append(list, namedPicture{fmt.Sprintf("model-%d-first-layer", i+1), &m.Filters.Picture})
		}
	}
	return list
}
