package report

import (
	"fmt"
	"strings"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/show"
)

// Images says which images are summed up.
func (r *CertifyRun) Images() string {
	if r.Interrupted != nil {
		return fmt.Sprintf("the first %d of %s", r.N, show.Count(r.Interrupted.N, "image"))
	}
	return show.Count(r.N, "image")
}

// total is the number of images that the run was to prove.
func (r *CertifyRun) total() int {
	if r.Interrupted != nil {
		return r.Interrupted.N
	}
	return r.N
}

// AttackText says in sentences how far above the proofs the attack succeeds. It is
// empty if there was no attack.
func (r *CertifyRun) AttackText() string {
	if r.AttackSteps == 0 && r.Timeout == nil || r.Eps != nil {
		return ""
	}
	by := fmt.Sprintf("PGD-%d fools", r.AttackSteps)
	if r.Timeout != nil {
		by = "attacks fool"
	}
	var fooled, gap float64
	n := 0
	for _, b := range r.Brackets {
		if b.Attacked == nil {
			continue
		}
		n++
		fooled += *b.Attacked
		gap += *b.Attacked
		if b.Certified != nil {
			gap -= *b.Certified
		}
	}
	if n == 0 {
		return fmt.Sprintf("%s no image up to ε = %s", by, r.MaxRadiusExact)
	}
	all := fmt.Sprintf("%d of the %s", n, show.Count(r.N, "image"))
	if n == r.N {
		all = "all " + show.Count(r.N, "image")
	}
	return fmt.Sprintf("%s %s, at a mean radius of %.4g, which is %.4g above the mean of the radii proved",
		by, all, fooled/float64(n), gap/float64(n))
}

// completeText says what branch and bound leaves open; "" if it was not asked for.
func (r *CertifyRun) completeText() string {
	switch {
	case r.Gap != nil && r.Gap.Images > 0:
		return fmt.Sprintf("the gap between proof and attack from %.4g to %.4g, the mean of %s", r.Gap.Before, r.Gap.After, show.Count(r.Gap.Images, "image"))
	case r.Open == nil:
		return ""
	}
	var open []string
	for i, o := range r.Outcomes {
		if o == "open" {
			open = append(open, fmt.Sprint(r.Offset+i))
		}
	}
	text := fmt.Sprintf("%s attacked or misclassified, %s open", show.Percent(*r.Attacked), show.Percent(*r.Open))
	const most = 20
	switch {
	case len(open) > most:
		text += fmt.Sprintf(": images %s, …", strings.Join(open[:most], ", "))
	case len(open) > 0:
		text += ": images " + strings.Join(open, ", ")
	}
	return text
}

// Text returns what was proved and how, the quantiles of the radii and their curve.
func (r *Certify) Text() string {
	pairs := []string{
		"model", r.Model,
		"data", fmt.Sprintf("%s, n = %d", r.Data, r.total()),
		"method", r.Method + "; proofs hold in exact arithmetic and as executed in float32",
	}
	if i := r.Interrupted; i != nil {
		pairs = append(pairs, "interrupted", fmt.Sprintf("%d of %s done; certified accuracy of all is in %s",
			i.Done, show.Count(i.N, "image"), show.PercentRange(i.Certified)))
	}
	var files []string
	if r.Out != "" {
		files = append(files, "written", shownFile(r.Out))
	}
	if r.Plot != "" {
		files = append(files, "drawn", shownFile(r.Plot))
	}
	if r.N == 0 {
		return show.Facts(append(pairs, files...)...)
	}
	if r.Interrupted != nil {
		pairs = append(pairs, "what follows", "is of "+r.Images())
	}
	pairs = append(pairs, "clean", show.Percent(*r.Clean), "certified", show.Percent(*r.Certified)+r.at())
	if rest := r.completeText(); rest != "" && r.Gap == nil {
		pairs = append(pairs, "not certified", rest)
	} else if rest != "" {
		pairs = append(pairs, "closed", rest)
	}
	if by := r.decidedBy(); by != "" {
		pairs = append(pairs, "decided by", by)
	}
	if r.MeanRadius != nil {
		pairs = append(pairs, "mean radius", fmt.Sprintf("%.4g", *r.MeanRadius))
	}
	if attack := r.AttackText(); attack != "" {
		pairs = append(pairs, "attacked", attack)
	}
	pairs = append(pairs, "time", fmt.Sprintf("%s: forward %s, %s %s (%s images/s)", show.Seconds(r.Seconds), show.Seconds(r.Timings.Forward),
		r.Method, show.Seconds(r.Timings.Proof), show.Rate(show.PerSecond(int64(r.Timings.Proved), r.Timings.Proof))))
	return show.Facts(append(pairs, files...)...) + r.radiiText()
}

// at says at which radius the fraction is certified.
func (r *CertifyRun) at() string {
	if r.Eps != nil {
		return fmt.Sprintf(" at %s ε = %s", r.Norm, r.EpsExact)
	}
	return fmt.Sprintf(" have a proved %s radius above 0 (tried: multiples of %s up to %s)", r.Norm, r.ResolutionExact, r.MaxRadiusExact)
}

// decidedBy counts the images that each method of a ladder has certified.
func (r *CertifyRun) decidedBy() string {
	var by []string
	for _, m := range audit.ProofMethods() {
		if n := r.DecidedBy[m]; n > 0 && r.Ladder {
			by = append(by, fmt.Sprintf("%s %d", m, n))
		}
	}
	return strings.Join(by, ", ")
}

// radiiText has a table of the quantiles, and one of the curve.
func (r *CertifyRun) radiiText() (out string) {
	if len(r.Quantiles) > 0 {
		t := show.Table("images with at most", "radius")
		for _, q := range r.Quantiles {
			t.AppendRow([]any{fmt.Sprintf("%.0f%%", 100*q.Q), fmt.Sprintf("%.4g", q.Radius)})
		}
		out += "\n" + show.Render(t)
	}
	if len(r.Curve) > 0 {
		t := show.Table("radius", "certified")
		for _, p := range r.Curve {
			t.AppendRow([]any{fmt.Sprintf("%.4g", p.Radius), show.Percent(p.Fraction)})
		}
		out += "\n" + show.Render(t)
	}
	return out
}

// Text returns a table with a line for each model and radius.
func (r *CertifyTable) Text() string {
	if len(r.Results) == 0 {
		return ""
	}
	one := &r.Results[0]
	radius := one.Eps == nil
	header := []any{"model", "ε", "clean", "certified", "images/s"}
	if radius {
		header = []any{"model", "clean", "certified", "mean radius", "median radius", "images/s"}
	}
	t := show.Table(header...)
	partly := false
	for _, c := range r.Results {
		row := []any{c.Model}
		if !radius {
			row = append(row, c.EpsExact)
		}
		row = append(row, percentOr(c.Clean), percentOr(c.Certified))
		if radius {
			mean, median := show.Missing, show.Missing
			for _, q := range c.Quantiles {
				if q.Q == 0.5 {
					mean, median = fmt.Sprintf("%.4g", *c.MeanRadius), fmt.Sprintf("%.4g", q.Radius)
				}
			}
			row = append(row, mean, median)
		}
		t.AppendRow(append(row, show.Rate(show.PerSecond(int64(c.Timings.Proved), c.Timings.Proof))))
		partly = partly || c.Interrupted != nil
	}
	out := show.Render(t)
	if partly {
		out += "interrupted: fractions are of the first images, as far as all of them were done\n"
	}
	what := one.Norm
	if radius {
		what = fmt.Sprintf("%s radii in multiples of %s up to %s", one.Norm, one.ResolutionExact, one.MaxRadiusExact)
	}
	out += fmt.Sprintf("%s, %s; n = %d of %s; %s, %s; %s\n", one.Method, what, one.total(), r.Data, r.ISA,
		show.Count(r.Threads, "thread"), show.Seconds(r.Seconds))
	if radius {
		for _, c := range r.Results {
			if s := c.AttackText(); s != "" && c.N > 0 {
				out += c.Model + ": " + s + "\n"
			}
		}
	}
	if r.Plot != "" {
		out += "drawn: " + shownFile(r.Plot) + "\n"
	}
	return out
}
