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
	Defence
	Results []Evaluation `json:"results"` // by model, then by radius
	Offset  int          `json:"offset"`  // index of the first image
	Steps   int          `json:"steps"`   // of PGD, where no attack was named
	Seconds float64      `json:"seconds"`
	Plot    string       `json:"plot,omitempty"`
	Hints   []string     `json:"hints"` // what else to try
}

// Evaluation is an audit.Evaluation, with null for what was not run.
type Evaluation struct {
	Model     string     `json:"model"`
	Eps       float64    `json:"eps"`
	EpsExact  string     `json:"eps_exact"` // as it was written: 0.1 or 8/255
	Norm      string     `json:"norm"`
	N         int        `json:"n"`
	Clean     *float64   `json:"clean"` // fractions of all n images
	Attacks   []Attacked `json:"attacks"`
	FGSM      *float64   `json:"fgsm"` // the first of Attacks of that name, if there is one
	PGD       *float64   `json:"pgd"`
	Certified *float64   `json:"certified"`
	Speed     Throughput `json:"images_per_s"` // 0 for what was not run
	Seconds   float64    `json:"seconds"`
	NotRun    []string   `json:"not_run,omitempty"` // passes, where the run was interrupted
}

// Attacked is what one attack leaves.
type Attacked struct {
	Attack string          `json:"attack"` // its textual form
	Robust *float64        `json:"robust"`
	Checks []audit.Finding `json:"checks"` // null where the attack was not run
}

// Throughput is an audit.Throughput together with that of the first PGD under its own
// name.
type Throughput struct {
	audit.Throughput
	PGDStep float64 `json:"pgd_step"`
}

// NewEvaluation names the model of an evaluation and its radius as written.
func NewEvaluation(model, eps string, e *audit.Evaluation) Evaluation {
	run := func(pass string, v float64) *float64 {
		if slices.Contains(e.NotRun, pass) {
			return nil
		}
		return &v
	}
	r := Evaluation{
		Model: model, Eps: e.Eps, EpsExact: eps, Norm: e.Norm, N: e.N, Speed: Throughput{Throughput: e.Speed}, Seconds: e.Seconds,
		NotRun: e.NotRun, Clean: run(audit.PassClean, e.Clean), Certified: run(audit.PassCertify, e.Certified),
	}
	seen := map[string]bool{}
	for i, a := range e.Attacks {
		robust := run(a.Attack, a.Robust)
		r.Attacks = append(r.Attacks, Attacked{Attack: a.Attack, Robust: robust})
		name, _, _ := strings.Cut(a.Attack, ":")
		switch {
		case seen[name]:
		case name == "fgsm":
			r.FGSM = robust
		case name == "pgd":
			r.PGD, r.Speed.PGDStep = robust, e.Speed.Steps[i]
		}
		seen[name] = true
	}
	return r
}

// Robust returns the lowest fraction that an attack leaves, or nil if an attack was not
// run.
func (e *Evaluation) Robust() *float64 {
	least := e.Clean
	for _, a := range e.Attacks {
		if a.Robust == nil {
			return nil
		}
		if *a.Robust < *least {
			least = a.Robust
		}
	}
	return least
}

func (*Eval) kind() Kind { return KindEval }

// Text returns a table with a line for each model and radius.
func (r *Eval) Text() string {
	if len(r.Results) == 0 {
		return ""
	}
	radii, sweep := radiiOf(r.Results, func(e Evaluation) string { return e.EpsExact })
	header := []any{"model"}
	if sweep {
		header = append(header, "ε")
	}
	header = append(header, "clean")
	last := ""
	for _, a := range r.Results[0].Attacks {
		last = attackHeading(a.Attack)
		header = append(header, last)
	}
	t := show.Table(append(header, "certified", "forward/s", last+" steps/s", "IBP/s")...)
	partly := false
	var checks []audit.Finding
	for _, e := range r.Results {
		row := []any{e.Model}
		if sweep {
			row = append(row, e.EpsExact)
		}
		row = append(row, percentOr(e.Clean))
		for _, a := range e.Attacks {
			row = append(row, percentOr(a.Robust))
			checks = append(checks, a.Checks...)
		}
		end := len(e.Attacks) - 1
		t.AppendRow(append(row, percentOr(e.Certified),
			rateOf(e.Clean, e.Speed.Forward), rateOf(e.Attacks[end].Robust, e.Speed.Steps[end]), rateOf(e.Certified, e.Speed.IBP)))
		partly = partly || len(e.NotRun) > 0
	}
	out := show.Render(t)
	if partly {
		why := "not run, or interrupted before its end"
		if r.Defence.Defence != "" {
			why += "; behind a defence, nothing can be certified"
		}
		out += show.Missing + ": " + why + "\n"
	}
	out += r.Defence.line()
	if len(checks) > 0 {
		out += "checks: " + sum(checks) + "\n"
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
