package report

import (
	"strings"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/show"
)

// Page is the result of report: what the figures of its page show. Package page draws
// it. All fractions are of the N images of the data set from Offset on, and the same
// inputs give the same Page, but for Timings.
type Page struct {
	Envelope
	Line       string       `json:"command_line"` // that computes the same figures
	Norm       string       `json:"norm"`
	Eps        float64      `json:"eps"` // the radius of all that has one radius
	EpsExact   string       `json:"eps_exact"`
	N          int          `json:"n"`
	Offset     int          `json:"offset"`
	Classes    int          `json:"classes"`
	Input      string       `json:"input"`      // the shape of an image
	Radii      []PageRadius `json:"radii"`      // of the curves, ascending; one is Eps
	Attacks    []string     `json:"attacks"`    // their textual forms; the last is taken for the strongest
	Bounds     string       `json:"bounds"`     // the method of the proofs
	Resolution float64      `json:"resolution"` // of certified radii
	Tried      int          `json:"tried"`      // the largest radius tried, in units of Resolution
	Images     []PageImage  `json:"images"`     // those of galleries and gradients
	Gain       float64      `json:"gain"`       // by which differences of galleries are amplified
	NoPictures string       `json:"no_pictures,omitempty"`
	Models     []PageModel  `json:"models"`
	Left       []string     `json:"left,omitempty"` // passes that an interrupted run did not finish
	Timings    *PageTimings `json:"timings"`
	Out        string       `json:"out,omitempty"` // the page, and the folder of its parts
	Parts      string       `json:"parts,omitempty"`
}

// PageRadius is a radius and how it was written.
type PageRadius struct {
	Eps   float64 `json:"eps"`
	Exact string  `json:"exact"`
}

// PageImage is an image of the data set, one that the models classify correctly where
// there are such.
type PageImage struct {
	Index   int     `json:"index"`
	Label   int     `json:"label"`
	Picture Picture `json:"picture"`
}

// Picture is a PNG file, which is to be shown with square pixels.
type Picture struct {
	PNG    []byte `json:"png"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

// PageModel is what is known of one model. What an interrupted run did not get to is null.
type PageModel struct {
	Network
	Clean     *float64     `json:"clean"`
	Points    []PagePoint  `json:"points"`          // one a radius, or null
	Certified []int        `json:"certified_radii"` // of each image, in units of Page.Resolution; −1: none
	Confusion [][]int      `json:"confusion"`       // under attack: images by label, then by predicted class; the last column: none
	Checks    []PageChecks `json:"checks"`
	History   *PageHistory `json:"history"`
	Gallery   []PageShown  `json:"gallery"` // one an image of Page.Images
	Gradients *PageSlopes  `json:"gradients"`
	Filters   *PageFilters `json:"filters"`
}

// PagePoint is what is known at one radius.
type PagePoint struct {
	// NotFooled holds, for each attack, the fraction that is classified correctly and
	// that the attack fools neither at this radius nor at a smaller one of the page: a
	// point found in a ball lies in all larger ones.
	NotFooled []*float64 `json:"not_fooled"`
	Standing  *float64   `json:"standing"`  // fooled by none of the attacks
	Certified *float64   `json:"certified"` // proved at this radius
}

// PageChecks is what the checks of one attack found.
type PageChecks struct {
	Attack string          `json:"attack"`
	Checks []audit.Finding `json:"checks"`
}

// PageShown is what an attack makes of an image, and what the model says of both.
type PageShown struct {
	Attack      string  `json:"attack"` // that found it
	Fooled      bool    `json:"fooled"` // else the picture is the point that came closest
	Was         int     `json:"predicted_before"`
	Before      float64 `json:"confidence_before"` // softmax, of the predicted class
	Is          int     `json:"predicted"`
	After       float64 `json:"confidence"`
	Distance    float64 `json:"distance"` // in the norm of the page
	Adversarial Picture `json:"adversarial"`
	Difference  Picture `json:"difference"` // amplified, around mid-gray
}

// PageSlopes are gradients of the margin loss, max_{j≠y} z_j − z_y, to the pixels.
type PageSlopes struct {
	Pictures []Picture `json:"pictures"` // one an image of Page.Images, each scaled by its largest value
	// Linear is the median, over the images that are classified correctly, of the margin
	// divided by the dual norm of its gradient: the radius at which the margin would be
	// gone if the network were linear.
	Linear float64 `json:"linear"`
}

// PageFilters are the weights of the first layer as pictures, scaled by the largest.
type PageFilters struct {
	Layer   int     `json:"layer"` // as the architecture numbers it
	Shape   []int   `json:"shape"` // of its weight
	Shown   int     `json:"shown"` // how many are in the picture, row by row
	Columns int     `json:"columns"`
	Picture Picture `json:"picture"`
	// Reach is the mean of ‖w‖₁ over all filters: what a change of every pixel by ε may
	// change an output by, divided by ε.
	Reach float64 `json:"reach"`
	Near  float64 `json:"near_zero"`     // fraction of the weights below 1/20 of the largest
	Why   string  `json:"why,omitempty"` // there is no picture
}

// PageTimings are the figures of a page that differ from run to run.
type PageTimings struct {
	Machine string       `json:"machine"` // processor, system and compiler
	Seconds float64      `json:"seconds"`
	Models  []PageTiming `json:"models"` // one a model
}

// PageTiming is how fast a model was looked at; 0 is what was not.
type PageTiming struct {
	Forward float64   `json:"forward"`      // images a second
	Steps   []float64 `json:"attack_steps"` // of one image, a second, for each attack
	Proofs  float64   `json:"radii"`        // images a second whose radius was found
	Seconds float64   `json:"seconds"`      // of all passes
}

func (*Page) kind() Kind { return KindPage }

// At returns the place of Eps among the radii, −1 if it is none.
func (r *Page) At() int {
	for k, radius := range r.Radii {
		if radius.Exact == r.EpsExact {
			return k
		}
	}
	return -1
}

// Point returns what is known of a model at Eps.
func (r *Page) Point(m *PageModel) PagePoint {
	if at := r.At(); at >= 0 && at < len(m.Points) {
		return m.Points[at]
	}
	return PagePoint{NotFooled: make([]*float64, len(r.Attacks))}
}

// Text returns a table of the models at one radius.
func (r *Page) Text() string {
	header := []any{"model", "clean"}
	for _, a := range r.Attacks {
		header = append(header, attackHeading(a))
	}
	t := show.Table(append(header, "certified")...)
	for i := range r.Models {
		m := &r.Models[i]
		p := r.Point(m)
		row := []any{m.Name, percentOr(m.Clean)}
		for _, v := range p.NotFooled {
			row = append(row, percentOr(v))
		}
		t.AppendRow(append(row, percentOr(p.Certified)))
	}
	out := show.Render(t)
	if len(r.Left) > 0 {
		out += show.Missing + ": not run, or interrupted before its end\n"
	}
	out += r.Norm + " ε = " + r.EpsExact + ", " + show.Count(r.N, "image") + " of " + r.Data + "; proofs by " + r.Bounds + "\n"
	var written []string
	for _, path := range []string{r.Out, r.Parts} {
		if path != "" {
			written = append(written, shownFile(path))
		}
	}
	if written != nil {
		out += "written: " + strings.Join(written, ", ") + "\n"
	}
	return out
}
