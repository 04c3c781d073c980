package charts

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/epsball/epsball/internal/plot"
)

// Solved is what a tool decided of a set of instances.
type Solved struct {
	Tool      string
	Seconds   []float64 // of each instance that it decided, in any order
	Published bool      // by others, at another time: drawn dashed
}

const (
	cactusCurves  = 7     // as many as there are colours
	cactusFastest = 0.001 // s; the axis is logarithmic
)

// Cactus draws how long the tools took: curve by curve, the k fastest instances of a tool
// took up to y seconds each. Tools that decided nothing are left out, and so are those with
// the fewest instances where there are many; the first tool stays.
func Cactus(w io.Writer, title, subtitle string, tools []Solved) error {
	var list []Solved
	for i, t := range tools {
		if len(t.Seconds) > 0 || i == 0 {
			list = append(list, t)
		}
	}
	if len(list) > 1 {
		slices.SortStableFunc(list[1:], func(a, b Solved) int { return len(b.Seconds) - len(a.Seconds) })
	}
	if left := len(list) - cactusCurves; left > 0 {
		subtitle += fmt.Sprintf("; %d tools with fewer instances are left out", left)
		list = list[:cactusCurves]
	}
	c := plot.Curves{
		Title: title, Subtitle: subtitle,
		X: plot.Axis{Label: "instances"}, Y: plot.Axis{Label: "seconds each", Scale: plot.Log},
	}
	for i, t := range list {
		k := plot.Curve{Name: fmt.Sprintf("%s, %d", t.Tool, len(t.Seconds)), Color: i + 1, Dashed: t.Published}
		for n, s := range slices.Sorted(slices.Values(t.Seconds)) {
			k.X, k.Y = append(k.X, float64(n+1)), append(k.Y, max(s, cactusFastest))
		}
		if len(k.X) > 0 {
			c.Curves = append(c.Curves, k)
		}
	}
	if len(c.Curves) == 0 {
		return errors.New("cactus plot: no instance was decided, so there is nothing to draw")
	}
	return c.WriteSVG(w)
}
