// Package plot draws charts as SVG: curves over linear or logarithmic axes,
// scatters with several values a thing, heat maps, bars, and rooflines. A drawing is
// one file that opens offline in any browser: no script, no font, no address. It is
// dark where the reader's system is dark, light where it is light or the viewer
// knows no style sheets, and colours are those of Okabe and Ito, told apart by the
// colour-blind. The same chart is the same bytes.
//
// A chart of two accuracies over the radius, with what lies between them shaded:
//
//	standing := plot.Curve{Name: "not fooled", X: radii, Y: attacked, Points: true}
//	proved := plot.Curve{Name: "proved", X: radii, Y: certified, Shape: plot.StepBefore}
//	c := plot.Curves{
//		Title:  "Accuracy of " + name,
//		X:      plot.Axis{Label: "radius ε, linf"},
//		Y:      plot.Axis{Label: "images", Min: 0, Max: 1, Format: plot.Percent},
//		Curves: []plot.Curve{standing, proved},
//		Bands:  []plot.Band{{Name: "undecided", Low: proved, High: standing}},
//	}
//	err := c.WriteSVG(w)
//
// Curves that belong together, as the attacked and the proved accuracy of one
// model, share a Color and differ in Dashed. What cannot be drawn (lengths that
// differ, a zero on a logarithmic axis) is an error that names the curve; nothing
// is written then.
//
// # In a page
//
// A drawing may stand inside an HTML page, beside others: give each an ID. It
// shrinks with what holds it, so a page has two drawings of a chart, and its style
// sheet shows the one that fits the screen:
//
//	<div class="wide">  c.With(plot.Layout{ID: "tradeoff", Bare: true})
//	<div class="narrow"> c.With(plot.Layout{ID: "tradeoff", Bare: true, Narrow: true})
//
//	.narrow { display: none }
//	@media (max-width: 600px) { .wide { display: none } .narrow { display: block } }
//
// Narrow drawings also stand side by side in a grid, as loss and accuracies of a
// training. Nothing of a drawing's style applies beside it: its rules are for what
// is below its ID, and its classes begin with "p-". A screen reader reads the title
// and what Alt returns; Table is for a table beneath.
package plot
