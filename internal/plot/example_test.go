package plot_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/epsball/epsball/internal/plot"
)

// Accuracy over the radius, attacked and proved, and what lies between them.
func ExampleCurves() {
	eps := []float64{0, 0.02, 0.05, 0.1}
	attacked := plot.Curve{Name: "PGD-40", X: eps, Y: []float64{0.99, 0.97, 0.93, 0.81}, Points: true}
	proved := plot.Curve{Name: "certified", X: eps, Y: []float64{0.99, 0.9, 0.55, 0.02}, Points: true, Color: 1, Dashed: true}
	c := plot.Curves{
		Title:    "Accuracy of mnist-small",
		Subtitle: "1000 images of builtin:mnist",
		X:        plot.Axis{Label: "radius ε, linf"},
		Y:        plot.Axis{Label: "images", Min: 0, Max: 1, Format: plot.Percent},
		Curves:   []plot.Curve{attacked, proved},
		Bands:    []plot.Band{{Name: "undecided", Low: proved, High: attacked}},
	}
	var file bytes.Buffer // os.Create("curves.svg")
	if err := c.WriteSVG(&file); err != nil {
		log.Fatal(err)
	}
	fmt.Println(bytes.HasPrefix(file.Bytes(), []byte("<svg ")), bytes.HasSuffix(file.Bytes(), []byte("</svg>\n")))

	c.X.Scale = plot.Log
	fmt.Println(c.WriteSVG(&file))
	// Output:
	// true true
	// plot: curve "PGD-40": x[0]: got 0 on a logarithmic axis, want more than 0
}
