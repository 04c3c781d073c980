package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/show"
)

// Eval is the result of eval: models seen from both sides, each at one radius or
// several.
type Eval struct {
	Envelope
	Results []Evaluation `json:"results"` // by model, then by radius
	Offset  int          `json:"offset"`  // index of the first image
	Steps   int          `json:"steps"`   // of PGD
	Seconds float64      `json:"seconds"`
	Plot    string       `json:"plot,omitempty"`
	Hints   []string     `json:"hints"` // what else to try
}

// Evaluation is an audit.Evaluation, with null for what was not run.
type Evaluation struct {
	Model     string           `json:"model"`
	Eps       float64          `json:"eps"`
	EpsExact  string           `json:"eps_exact"` // as it was written: 0.1 or 8/255
	Norm      string           `json:"norm"`
	N         int              `json:"n"`
	Clean     *float64         `json:"clean"` // fractions of all n images
	FGSM      *float64         `json:"fgsm"`
	PGD       *float64         `json:"pgd"`
	Certified *float64         `json:"certified"`
	Speed     audit.Throughput `json:"images_per_s"` // 0 for what was not run
	Seconds   float64          `json:"seconds"`
	NotRun    []string         `json:"not_run,omitempty"` // passes, where the run was interrupted
}

// NewEvaluation names the model of an evaluation and its radius as written.
func NewEvaluation(model, eps string, e *audit.Evaluation) Evaluation {
	run := func(pass string, v float64) *float64 {
		if slices.Contains(e.NotRun, pass) {
			return nil
		}
		return &v
	}
	return Evaluation{
		Model: model, Eps: e.Eps, EpsExact: eps, Norm: e.Norm, N: e.N, Speed: e.Speed, Seconds: e.Seconds, NotRun: e.NotRun,
		Clean: run(audit.PassClean, e.Clean), FGSM: run(audit.PassFGSM, e.FGSM),
		PGD: run(audit.PassPGD, e.PGD), Certified: run(audit.PassCertify, e.Certified),
	}
}

func (*Eval) kind() Kind { return KindEval }

// Text returns a table with a line for each model and radius.
func (r *Eval) Text() string {
	if len(r.Results) == 0 {
		return ""
	}
	pgd := fmt.Sprintf("PGD-%d", r.Steps)
	radii, sweep := radiiOf(r.Results, func(e Evaluation) string { return e.EpsExact })
	header := []any{"model"}
	if sweep {
		header = append(header, "ε")
	}
	t := show.Table(append(header, "clean", "FGSM", pgd, "certified", "forward/s", pgd+" steps/s", "IBP/s")...)
	partly := false
	for _, e := range r.Results {
		row := []any{e.Model}
		if sweep {
			row = append(row, e.EpsExact)
		}
		t.AppendRow(append(row, percentOr(e.Clean), percentOr(e.FGSM), percentOr(e.PGD), percentOr(e.Certified),
			rateOf(e.Clean, e.Speed.Forward), rateOf(e.PGD, e.Speed.PGDStep), rateOf(e.Certified, e.Speed.IBP)))
		partly = partly || len(e.NotRun) > 0
	}
	out := show.Render(t)
	if partly {
		out += show.Missing + ": not run, or interrupted before its end\n"
	}
	out += fmt.Sprintf("%s ε = %s, n = %d of %s; %s, %s; %s\n", r.Results[0].Norm, strings.Join(radii, ", "),
		r.Results[0].N, r.Data, r.ISA, show.Count(r.Threads, "thread"), show.Seconds(r.Seconds))
	if r.Plot != "" {
		out += "drawn: " + shownFile(r.Plot) + "\n"
	}
	return out
}

// radiiOf lists the different radii of a table's lines, in order.
func radiiOf[T any](lines []T, eps func(T) string) (radii []string, several bool) {
	for _, l := range lines {
		if !slices.Contains(radii, eps(l)) {
			radii = append(radii, eps(l))
		}
	}
	return radii, len(radii) > 1
}

func percentOr(v *float64) string {
	if v == nil {
		return show.Missing
	}
	return show.Percent(*v)
}

// rateOf is the throughput of a pass that has, or has not, a result.
func rateOf(of *float64, v float64) string {
	if of == nil {
		return show.Missing
	}
	return show.Rate(v)
}

// shownFile is how texts name a file that was written.
func shownFile(path string) string {
	if path == "-" {
		return "to standard output"
	}
	return path
}
