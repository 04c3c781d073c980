package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/net"
)

// Attack is the result of attack on one model at one radius.
type Attack struct {
	Envelope
	AttackRun
	Hints []string `json:"hints"` // what may be wrong with the input
}

// AttackTable is the result of attack on several models, or at several radii.
type AttackTable struct {
	Envelope
	Results []AttackRun `json:"results"` // by model, then by radius
	Seconds float64     `json:"seconds"`
	Plot    string      `json:"plot,omitempty"`
	Hints   []string    `json:"hints"`
}

// AttackRun is one attack on the images of a data set.
type AttackRun struct {
	Model       string  `json:"model"`
	Offset      int     `json:"offset"`
	Attack      string  `json:"attack"` // the textual form, to be used again
	Norm        string  `json:"norm"`
	Eps         float64 `json:"eps"`
	EpsExact    string  `json:"eps_exact"` // as it was written: 0.1 or 8/255
	Steps       int     `json:"steps"`
	StepSize    float64 `json:"step_size"`
	Restarts    int     `json:"restarts"`
	RandomStart bool    `json:"random_start"`
	Targeted    bool    `json:"targeted"`
	Loss        string  `json:"loss"` // these follow from attack; empty and 0 where it has none
	Defence
	N            int             `json:"n"`
	Clean        *float64        `json:"clean"` // fraction of n; null if interrupted
	Robust       *float64        `json:"robust"`
	Success      int             `json:"success"`
	Unlimited    bool            `json:"unlimited,omitempty"` // the ball holds all images: a smallest distance is looked for
	Proved       int             `json:"proved,omitempty"`    // images that a proof made it needless to attack
	MeanDistance *Distance       `json:"mean_distance"`       // over successes; null if there are none
	Median       *Distance       `json:"median_distance"`
	Stages       []AttackStage   `json:"stages,omitempty"` // of a cascade; of an attack that went on, those since
	ImageSteps   int64           `json:"image_steps"`
	Seconds      float64         `json:"seconds"` // of the attack alone
	Checks       []audit.Finding `json:"checks"`
	Out          string          `json:"out,omitempty"` // the file written
	Lattice      *Lattice        `json:"lattice,omitempty"`
	Pictures     *Pictures       `json:"pictures,omitempty"`

	Interrupted *AttackProgress `json:"interrupted,omitempty"`
}

// Distance is of an adversarial image from its original.
type Distance struct {
	Linf float64 `json:"linf"`
	L2   float64 `json:"l2"`
	L1   float64 `json:"l1"`
	L0   float64 `json:"l0"` // values that differ
}

// AttackStage is what one stage of a cascade did.
type AttackStage struct {
	Method  string  `json:"method"`
	Images  int     `json:"images"` // that it was given
	Fooled  int     `json:"fooled"`
	Proved  int     `json:"proved,omitempty"`
	Steps   int64   `json:"image_steps"`
	Seconds float64 `json:"seconds"`
}

// AttackProgress is what is known of all n images of an interrupted attack.
type AttackProgress struct {
	Done          int        `json:"done"`
	Misclassified int        `json:"misclassified"` // as they are
	Fooled        int        `json:"fooled"`
	NotFooled     int        `json:"not_fooled"` // by the whole attack
	Resisting     int        `json:"resisting"`  // correct, and not fooled so far
	NotBegun      int        `json:"not_begun"`
	Clean         [2]float64 `json:"clean_range"` // the fractions lie in these
	Robust        [2]float64 `json:"robust_range"`
}

// NewAttackRun describes an attack that has not found anything yet.
func NewAttackRun(model string, first int, c *attack.Config) AttackRun {
	p, eps := c.Method.Plan(), c.Ball.Eps.Float64()
	r := AttackRun{
		Model: model, Offset: first, Attack: c.Method.String(), Norm: c.Ball.Norm.String(), Eps: eps, EpsExact: c.Ball.Eps.String(),
		Restarts: p.Restarts, RandomStart: p.RandomStart, Targeted: p.Targeted,
	}
	switch m := c.Method.(type) {
	case attack.FGSM:
		r.Steps, r.StepSize, r.Loss = 1, m.StepSize, m.Loss.String()
		if r.StepSize == 0 {
			r.StepSize = eps
			if m.RandomStart {
				r.StepSize *= 1.25
			}
		}
	case attack.PGD:
		if r.Steps, r.StepSize, r.Loss = m.Steps, m.StepSize, m.Loss.String(); r.Steps == 0 {
			r.Steps = 40
		}
		if r.StepSize == 0 {
			r.StepSize = eps
			if r.Steps > 1 {
				r.StepSize /= 4
			}
		}
	case attack.APGD:
		if r.Steps, r.Loss = m.Steps, m.Loss.String(); r.Steps == 0 {
			r.Steps = 100
		}
	}
	return r
}

// Fill sums up what an attack found on n images. A result with fewer images comes from
// an attack that was interrupted before it began.
func (r *AttackRun) Fill(res *attack.Result, n int) {
	t := res.Tally()
	t.NotBegun += n - len(res.Done)
	r.N, r.Success, r.ImageSteps = n, t.Fooled, res.ImageSteps
	cleanLeast, cleanMost := t.CleanRange()
	least, most := t.RobustRange()
	done := 0
	for _, d := range res.Done {
		if d {
			done++
		}
	}
	if done < n {
		r.Interrupted = &AttackProgress{
			Done: done, Misclassified: t.Wrong, Fooled: t.Fooled, NotFooled: t.Robust, Resisting: t.Resisting, NotBegun: t.NotBegun,
			Clean:  [2]float64{show.Fraction(cleanLeast, n), show.Fraction(cleanMost, n)},
			Robust: [2]float64{show.Fraction(least, n), show.Fraction(most, n)},
		}
	} else {
		clean, robust := show.Fraction(cleanLeast, n), show.Fraction(least, n)
		r.Clean, r.Robust = &clean, &robust
	}
	for _, s := range res.Stages {
		r.Stages = append(r.Stages, AttackStage(s))
	}
	for _, p := range res.Proved {
		if p {
			r.Proved++
		}
	}
	if r.Success > 0 {
		r.MeanDistance, r.Median = distances(res)
	}
}

// distances are those of the images that were fooled.
func distances(res *attack.Result) (mean, median *Distance) {
	mean, median = new(Distance), new(Distance)
	for _, d := range []struct {
		norm         net.Norm
		mean, median *float64
	}{
		{net.Linf, &mean.Linf, &median.Linf},
		{net.L2, &mean.L2, &median.L2},
		{net.L1, &mean.L1, &median.L1},
		{net.L0, &mean.L0, &median.L0},
	} {
		var all []float64
		for i, ok := range res.Success {
			if ok {
				all = append(all, res.Distance(d.norm, i))
			}
		}
		slices.Sort(all)
		n := len(all)
		*d.median = (all[(n-1)/2] + all[n/2]) / 2
		for _, v := range all {
			*d.mean += v / float64(n)
		}
	}
	return mean, median
}

func (*Attack) kind() Kind      { return KindAttack }
func (*AttackTable) kind() Kind { return KindAttackTable }

// Text returns the attack's parameters, its outcome and its checks.
func (r *Attack) Text() string {
	ball := fmt.Sprintf("%s ε = %s", r.Norm, r.EpsExact)
	if r.Unlimited {
		ball = r.Norm + ", any distance"
	}
	pairs := []string{
		"model", r.Model,
		"data", fmt.Sprintf("%s, n = %d", r.Data, r.N),
		"attack", r.Attack + ", " + ball,
	}
	if d := r.Defence.text(); d != "" {
		pairs = append(pairs, "defence", d)
	}
	if p := r.Interrupted; p != nil {
		pairs = append(pairs,
			"interrupted", fmt.Sprintf("%d of %s done", p.Done, show.Count(r.N, "image")),
			"clean", show.PercentRange(p.Clean),
			"robust", show.PercentRange(p.Robust),
			"misclassified", strconv.Itoa(p.Misclassified)+" as they are",
			"fooled", strconv.Itoa(p.Fooled)+" so far",
			"not fooled", strconv.Itoa(p.NotFooled),
			"resisting", strconv.Itoa(p.Resisting)+", attacked without success so far",
			"not begun", strconv.Itoa(p.NotBegun))
	} else {
		pairs = append(pairs, "clean", show.Percent(*r.Clean), "robust", show.Percent(*r.Robust), "fooled", strconv.Itoa(r.Success))
	}
	if r.Proved > 0 {
		pairs = append(pairs, "proved", show.Count(r.Proved, "image")+", not attacked")
	}
	for _, s := range r.Stages {
		found := strconv.Itoa(s.Fooled) + " fooled"
		if s.Proved > 0 {
			found = strconv.Itoa(s.Proved) + " proved"
		}
		pairs = append(pairs, "stage", fmt.Sprintf("%s: %s of %s, %d image steps, %s", s.Method, found, show.Count(s.Images, "image"), s.Steps, show.Seconds(s.Seconds)))
	}
	pairs = append(pairs, r.Lattice.facts()...)
	pairs = append(pairs,
		"mean distance", r.MeanDistance.text(),
		"median distance", r.Median.text(),
		"time", fmt.Sprintf("%s, %d image steps, %s/s", show.Seconds(r.Seconds), r.ImageSteps, show.Rate(show.PerSecond(r.ImageSteps, r.Seconds))))
	pairs = append(pairs, checkFacts(r.Checks)...)
	pairs = append(pairs, r.Pictures.facts()...)
	if r.Out != "" {
		pairs = append(pairs, "written", shownFile(r.Out))
	}
	return show.Facts(pairs...)
}

func (d *Distance) text() string {
	if d == nil {
		return show.Missing
	}
	return fmt.Sprintf("linf %.4g, l2 %.4g, l1 %.4g, l0 %.4g", d.Linf, d.L2, d.L1, d.L0)
}

// Text returns a table with a line for each model and radius.
func (r *AttackTable) Text() string {
	if len(r.Results) == 0 {
		return ""
	}
	header := []any{"model", "ε", "clean", "robust", "fooled", "mean distance", "checks", "time"}
	lattice := r.Results[0].Lattice != nil
	if lattice {
		header = append(header, latticeHeader...)
	}
	t := show.Table(header...)
	partly := false
	for _, a := range r.Results {
		distance := show.Missing
		if d := a.MeanDistance; d != nil {
			distance = fmt.Sprintf("linf %.3g, l2 %.3g", d.Linf, d.L2)
		}
		row := []any{a.Model, a.EpsExact, percentOr(a.Clean), percentOr(a.Robust), a.Success, distance, sum(a.Checks), show.Seconds(a.Seconds)}
		if lattice {
			row = append(row, a.Lattice.cells()...)
		}
		t.AppendRow(row)
		partly = partly || a.Interrupted != nil
	}
	out := show.Render(t)
	if partly {
		out += show.Missing + ": interrupted before its end\n"
	}
	one := &r.Results[0]
	out += one.Defence.line()
	out += fmt.Sprintf("%s, %s; n = %d of %s; %s, %s; %s\n", one.Attack, one.Norm, one.N, r.Data, r.ISA, show.Count(r.Threads, "thread"), show.Seconds(r.Seconds))
	if r.Plot != "" {
		out += "drawn: " + shownFile(r.Plot) + "\n"
	}
	return out
}

// attackHeading is the short name of a method in a table, from its textual form: "PGD-40",
// and what else is not as usual but the seed.
func attackHeading(text string) string {
	s, _ := attack.ParseSpec(text) // a method's own
	name, rest := strings.ToUpper(s.Name), []string{}
	for _, o := range s.Options {
		switch o.Name {
		case "steps":
			name += "-" + o.Value
		case "seed":
		default:
			rest = append(rest, strings.TrimSuffix(o.Name+"="+o.Value, "=true"))
		}
	}
	return strings.Join(append([]string{name}, rest...), " ")
}
