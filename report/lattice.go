package report

import (
	"fmt"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/show"
)

// Lattice is what is special about an attack that searches 8-bit images only: what the
// same attack finds without that, and how much of it rounding to 8 bits leaves.
type Lattice struct {
	Bits  int          `json:"bits"`
	Eps   string       `json:"eps"` // of the ball of float32 pixels: attack.LatticeBall
	Grid  audit.Grid   `json:"grid"`
	Float *FloatAttack `json:"float"` // null if interrupted before it was done
}

// FloatAttack is the same attack on any float32 images.
type FloatAttack struct {
	Success int            `json:"success"`
	Robust  float64        `json:"robust"`
	Rounded audit.Rounding `json:"rounded"` // to the nearest 8-bit image
	Seconds float64        `json:"seconds"`
}

// Pictures are the files made of the images that an attack fooled.
type Pictures struct {
	Folder  string   `json:"folder,omitempty"`
	Sheet   string   `json:"sheet,omitempty"`
	Written int      `json:"written"` // adversarial images in the folder
	Shown   int      `json:"shown"`   // examples on the sheet
	SSIM    *float64 `json:"ssim"`    // mean over all that were fooled; null if images are below 11×11
}

// facts are lines for people.
func (l *Lattice) facts() []string {
	if l == nil {
		return nil
	}
	var pairs []string
	if l.Grid.Off > 0 {
		pairs = append(pairs, "off the lattice", fmt.Sprintf("%s, around %d of which the ball has no %d-bit image", show.Count(l.Grid.Off, "image"), l.Grid.Out, l.Bits))
	}
	f := l.Float
	if f == nil {
		return append(pairs, "float attack", "not done")
	}
	return append(pairs,
		"float attack", fmt.Sprintf("%d fooled, robust %s, %s", f.Success, show.Percent(f.Robust), show.Seconds(f.Seconds)),
		"if only rounded", fmt.Sprintf("%d still fooled; %d correct again, %d outside the ball", f.Rounded.Kept, f.Rounded.Correct, f.Rounded.Outside))
}

// latticeHeader and cells are columns of a table of attacks.
var latticeHeader = []any{"float robust", "float fooled", "still if rounded"}

func (l *Lattice) cells() []any {
	if l == nil || l.Float == nil {
		return []any{show.Missing, show.Missing, show.Missing}
	}
	return []any{show.Percent(l.Float.Robust), l.Float.Success, l.Float.Rounded.Kept}
}

func (p *Pictures) facts() []string {
	if p == nil {
		return nil
	}
	var pairs []string
	if p.SSIM != nil {
		pairs = append(pairs, "mean SSIM", fmt.Sprintf("%.4f", *p.SSIM))
	}
	if p.Folder != "" {
		pairs = append(pairs, "pictures", fmt.Sprintf("%s, %s", shownFile(p.Folder), show.Count(p.Written, "adversarial image")))
	}
	if p.Sheet != "" {
		pairs = append(pairs, "sheet", fmt.Sprintf("%s, %s", shownFile(p.Sheet), show.Count(p.Shown, "example")))
	}
	return pairs
}
