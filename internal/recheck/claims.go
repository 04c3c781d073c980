package recheck

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"

	"github.com/epsball/epsball/report"
	certcheck "github.com/epsball/epsball/verify/check"
)

// claim is what a certificate claims of an image of one model, in one spelling.
type claim struct {
	index            int
	norm, eps, level string
	label            int
	rows             [sha256.Size]byte // and offsets; zero for a label
	region           bool              // index is of a region of a property
}

func claimOf(c *certcheck.Certificate) claim {
	if c.Region != nil {
		return claim{index: c.Index, level: c.Level, region: true}
	}
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

// Tally counts the results in r. A claim counts once.
func (run *Run) Tally(r *report.Check) { run.tally(r, run.results) }

func (run *Run) tally(r *report.Check, results []lineResult) {
	first := map[claim]int{}
	images := map[int]bool{}
	groups := map[report.CheckGroup]int{}
	for i, l := range results {
		switch {
		case l.state == lineStopped || l.state == lineStep:
			continue
		case l.state == lineUndecided:
			r.Undecided++
			continue
		case l.state == lineValid && first[l.claim] > 0:
			l.state, l.reason = lineInvalid, fmt.Sprintf("says the same as line %d", first[l.claim])
		case l.state == lineValid:
			first[l.claim] = i + 1
			images[l.claim.index] = true
			if l.claim.region {
				break
			}
			groups[report.CheckGroup{Norm: l.claim.norm, Eps: l.claim.eps, Level: l.claim.level, Specification: l.claim.specification()}]++
		}
		r.Checked++
		if l.state == lineValid {
			r.Valid++
			continue
		}
		r.Invalid++
		r.Failures = append(r.Failures, report.CheckFailure{Line: i + 1, Index: l.index, Reason: l.reason})
	}
	if r.Images = len(images); run.Implied != nil {
		r.Images, r.Regions = 0, len(images)
	}
	for g, n := range groups {
		g.Valid = n
		r.Groups = append(r.Groups, g)
	}
	slices.SortFunc(r.Groups, func(a, b report.CheckGroup) int {
		epsA, _ := new(big.Rat).SetString(a.Eps)
		epsB, _ := new(big.Rat).SetString(b.Eps)
		return cmp.Or(cmp.Compare(a.Norm, b.Norm), epsB.Cmp(epsA), cmp.Compare(a.Level, b.Level), cmp.Compare(a.Specification, b.Specification))
	})
}
