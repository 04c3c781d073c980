package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"

	certcheck "github.com/epsball/epsball/verify/check"
)

type checkReport struct {
	File      string         `json:"file"`
	Model     string         `json:"model"`
	Data      string         `json:"data"`
	Checked   int            `json:"checked"` // lines that are, or should be, certificates
	Valid     int            `json:"valid"`
	Invalid   int            `json:"invalid"`   // or weaker than required
	Undecided int            `json:"undecided"` // lines that claim nothing
	Images    int            `json:"images"`    // with a valid certificate
	Groups    []checkGroup   `json:"groups"`    // of the valid ones
	Failures  []checkFailure `json:"failures"`
	Seconds   float64        `json:"seconds"`
	Threads   int            `json:"threads"`
}

// checkGroup counts valid certificates that prove the same of different images.
type checkGroup struct {
	Norm          string `json:"norm"`
	Eps           string `json:"eps"` // exact: a decimal, or a fraction where there is none
	Level         string `json:"level"`
	Specification string `json:"specification"` // label or rows
	Valid         int    `json:"valid"`

	eps *big.Rat
}

type checkFailure struct {
	Line   int    `json:"line"`
	Index  *int   `json:"index"` // null where the line could not be read
	Reason string `json:"reason"`
}

// claim is what a certificate claims of an image of one model, in one spelling.
type claim struct {
	index            int
	norm, eps, level string
	label            int
	rows             [sha256.Size]byte // and offsets; zero for a label
}

func claimOf(c *certcheck.Certificate) claim {
	eps, _ := certcheck.ParseEps(c.Eps) // as valid as the rest
	one := claim{index: c.Index, norm: c.Norm, eps: epsOf(eps), level: c.Level, label: c.Label}
	if len(c.Rows) == 0 {
		return one
	}
	h := sha256.New()
	for i, r := range c.Rows {
		for _, v := range append(slices.Clone(r), c.Offsets[i]) {
			fmt.Fprintf(h, "%b ", v+0) // −0 is 0
		}
		fmt.Fprintln(h)
	}
	h.Sum(one.rows[:0])
	return one
}

func (c *claim) specification() string {
	if c.rows != [sha256.Size]byte{} {
		return "rows"
	}
	return "label"
}

// epsOf spells a radius exactly.
func epsOf(eps *big.Rat) string {
	const digits = 30 // enough for what people write
	if n, exact := eps.FloatPrec(); exact && n <= digits {
		return eps.FloatString(n)
	}
	return eps.RatString()
}

// fill counts the results. A claim counts once.
func (r *checkReport) fill(results []lineResult) {
	first := map[claim]int{}
	images := map[int]bool{}
	groups := map[checkGroup]int{}
	for i, l := range results {
		switch {
		case l.state == lineStopped:
			continue
		case l.state == lineUndecided:
			r.Undecided++
			continue
		case l.state == lineValid && first[l.claim] > 0:
			l.state, l.reason = lineInvalid, fmt.Sprintf("says the same as line %d", first[l.claim])
		case l.state == lineValid:
			first[l.claim] = i + 1
			images[l.claim.index] = true
			groups[checkGroup{Norm: l.claim.norm, Eps: l.claim.eps, Level: l.claim.level, Specification: l.claim.specification()}]++
		}
		r.Checked++
		if l.state == lineValid {
			r.Valid++
			continue
		}
		r.Invalid++
		r.Failures = append(r.Failures, checkFailure{i + 1, l.index, l.reason})
	}
	r.Images = len(images)
	for g, n := range groups {
		g.Valid = n
		g.eps, _ = new(big.Rat).SetString(g.Eps)
		r.Groups = append(r.Groups, g)
	}
	slices.SortFunc(r.Groups, func(a, b checkGroup) int {
		return cmp.Or(cmp.Compare(a.Norm, b.Norm), b.eps.Cmp(a.eps), cmp.Compare(a.Level, b.Level), cmp.Compare(a.Specification, b.Specification))
	})
}

func checkTable(r *checkReport) string {
	out := facts(
		"certificates", r.File,
		"model", r.Model,
		"data", r.Data,
		"checked", fmt.Sprintf("%d in %s (%s/s)", r.Checked, seconds(r.Seconds), rate(perSecond(int64(r.Checked), r.Seconds))),
		"valid", fmt.Sprintf("%d, of %s", r.Valid, count(r.Images, "image")),
		"invalid", fmt.Sprint(r.Invalid),
		"undecided", fmt.Sprintf("%d, which claim nothing", r.Undecided),
	)
	if len(r.Groups) > 0 {
		t := newTable("proved", "norm", "ε", "level", "specification")
		for i, g := range r.Groups {
			if some(t, i, len(r.Groups)) {
				t.AppendRow([]any{g.Valid, g.Norm, fmt.Sprintf("%.40s", g.Eps), g.Level, g.Specification})
			}
		}
		out += "\n" + render(t)
	}
	if len(r.Failures) > 0 {
		t := newTable("not valid because of", "image", "line")
		for i, f := range r.Failures {
			if !some(t, i, len(r.Failures)) {
				continue
			}
			index := "–"
			if f.Index != nil {
				index = fmt.Sprint(*f.Index)
			}
			t.AppendRow([]any{f.Reason, index, f.Line})
		}
		out += "\n" + render(t)
	}
	return out
}

// some tells whether row i of n is shown; the first that is not says so.
func some(t table.Writer, i, n int) bool {
	const most = 20
	if i == most {
		t.AppendRow([]any{fmt.Sprintf("… and %d more", n-most)})
	}
	return i < most
}
