package report

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/epsball/epsball/internal/show"
)

// Check is the result of check on a file of certificates.
type Check struct {
	Envelope
	File      string         `json:"file"`
	Model     string         `json:"model"`
	Checked   int            `json:"checked"` // lines that are, or should be, certificates
	Valid     int            `json:"valid"`
	Invalid   int            `json:"invalid"`   // or weaker than required
	Undecided int            `json:"undecided"` // lines that claim nothing
	Images    int            `json:"images"`    // with a valid certificate
	Property  string         `json:"property,omitempty"`
	Regions   int            `json:"regions,omitempty"` // of the property, with a valid certificate
	Of        int            `json:"of,omitempty"`      // regions that the property has
	Groups    []CheckGroup   `json:"groups"`            // of the valid ones
	Failures  []CheckFailure `json:"failures"`
	Seconds   float64        `json:"seconds"`
}

// CheckGroup counts valid certificates that prove the same of different images.
type CheckGroup struct {
	Norm          string `json:"norm"`
	Eps           string `json:"eps"` // exact: a decimal, or a fraction where there is none
	Level         string `json:"level"`
	Specification string `json:"specification"` // label or rows
	Valid         int    `json:"valid"`
}

// CheckFailure is a line that is not a valid certificate.
type CheckFailure struct {
	Line   int    `json:"line"`
	Index  *int   `json:"index"` // null where the line could not be read
	Reason string `json:"reason"`
}

func (*Check) kind() Kind { return KindCheck }

// Text returns the counts, what was proved, and the first failures.
func (r *Check) Text() string {
	about, of, with := "data", r.Data, "of "+show.Count(r.Images, "image")
	if r.Property != "" {
		about, of, with = "property", r.Property, fmt.Sprintf("for %d of %s", r.Regions, show.Count(r.Of, "region"))
	}
	out := show.Facts(
		"certificates", r.File,
		"model", r.Model,
		about, of,
		"checked", fmt.Sprintf("%d in %s (%s/s)", r.Checked, show.Seconds(r.Seconds), show.Rate(show.PerSecond(int64(r.Checked), r.Seconds))),
		"valid", fmt.Sprintf("%d, %s", r.Valid, with),
		"invalid", fmt.Sprint(r.Invalid),
		"undecided", fmt.Sprintf("%d, which claim nothing", r.Undecided),
	)
	if len(r.Groups) > 0 {
		t := show.Table("proved", "norm", "ε", "level", "specification")
		for i, g := range r.Groups {
			if some(t, i, len(r.Groups)) {
				t.AppendRow([]any{g.Valid, g.Norm, fmt.Sprintf("%.40s", g.Eps), g.Level, g.Specification})
			}
		}
		out += "\n" + show.Render(t)
	}
	if len(r.Failures) > 0 {
		what := "image"
		if r.Property != "" {
			what = "region"
		}
		t := show.Table("not valid because of", what, "line")
		for i, f := range r.Failures {
			if !some(t, i, len(r.Failures)) {
				continue
			}
			index := show.Missing
			if f.Index != nil {
				index = fmt.Sprint(*f.Index)
			}
			t.AppendRow([]any{f.Reason, index, f.Line})
		}
		out += "\n" + show.Render(t)
	}
	return out
}

// some reports whether row i of n is shown; the first that is not says so.
func some(t table.Writer, i, n int) bool {
	const most = 20
	if i == most {
		t.AppendRow([]any{fmt.Sprintf("… and %d more", n-most)})
	}
	return i < most
}
