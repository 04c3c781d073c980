package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/internal/pictures"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/internal/survey"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
)

// reportImages is the default of --n: a few minutes on two cores for the built-in models.
const reportImages = 200

// Defaults of --radii and --resolution, in units of --eps.
var (
	reportRadii      = []*big.Rat{big.NewRat(1, 5), big.NewRat(1, 2), big.NewRat(1, 1), big.NewRat(3, 2), big.NewRat(2, 1), big.NewRat(3, 1)}
	reportResolution = big.NewRat(1, 20)
)

// times is a multiple of a radius, as a decimal if that is exact.
func times(eps net.Epsilon, by *big.Rat) (net.Epsilon, error) {
	r := new(big.Rat).Mul(eps.Rat(), by)
	if digits, exact := r.FloatPrec(); exact {
		return net.ParseEpsilon(r.FloatString(digits))
	}
	return net.ParseEpsilon(r.RatString())
}

// options says what is looked at.
func (f *reportFlags) options() (survey.Options, error) {
	o := survey.Options{
		Norm: f.norm.v, Eps: f.eps.v, How: verify.Options{Method: f.bounds.v, Ladder: f.bounds.v != verify.MethodIBP},
		Resolution: f.resolution.v, Checks: f.checks.v, Gallery: f.gallery,
	}
	if o.Eps.IsZero() {
		return o, fmt.Errorf("--eps: got %s, want more than 0", f.eps.text)
	}
	if err := checkBall("eps", f.eps.text, net.Ball{Norm: o.Norm, Eps: o.Eps}); err != nil {
		return o, err
	}
	if !f.resolution.set {
		var err error
		if o.Resolution, err = times(o.Eps, reportResolution); err != nil {
			return o, fmt.Errorf("--eps: got %s, which has too many digits to be divided: %w; give --resolution", f.eps.text, err)
		}
	}
	o.Radii = []net.Epsilon{o.Eps}
	add := func(r net.Epsilon) {
		at, there := slices.BinarySearchFunc(o.Radii, r, net.Epsilon.Cmp)
		if !there && !r.IsZero() { // at 0 nothing is attacked
			o.Radii = slices.Insert(o.Radii, at, r)
		}
	}
	for _, r := range f.radii.v {
		if err := checkBall("radii", r.String(), net.Ball{Norm: o.Norm, Eps: r}); err != nil {
			return o, err
		}
		add(r)
	}
	if !f.radii.set {
		for _, by := range reportRadii {
			r, err := times(o.Eps, by)
			if err != nil {
				return o, fmt.Errorf("--eps: got %s, which has too many digits to be multiplied: %w; give --radii", f.eps.text, err)
			}
			if (net.Ball{Norm: o.Norm, Eps: r}).Validate() == nil {
				add(r)
			}
		}
	}
	if _, err := net.RadiusSteps(o.Resolution, o.Radii[len(o.Radii)-1]); err != nil {
		return o, fmt.Errorf("--resolution: %w", err)
	}
	texts := f.attacks
	if len(texts) == 0 {
		texts = []string{"fgsm", "pgd", "auto"}
	}
	var err error
	if o.Attacks, err = makeMethods(texts, f.seed, net.Ball{Norm: o.Norm, Eps: o.Eps}); err != nil {
		return o, err
	}
	if k := slices.IndexFunc(o.Attacks, func(m attack.Method) bool { return m.Plan().Anywhere }); k >= 0 {
		return o, fmt.Errorf("--attack: %s leaves the ball, want an attack that stays in it", o.Attacks[k].Name())
	}
	return o, nil
}

// survey looks at the models. The error failure belongs to a page that is worth having.
func (a *app) survey(ctx context.Context, f *reportFlags, specs []string) (r *report.Page, failure, err error) {
	o, err := f.options()
	if err != nil {
		return nil, nil, err
	}
	subjects, err := a.reportSubjects(f, specs)
	if err != nil {
		return nil, nil, err
	}
	histories, err := f.histories(specs, subjects)
	if err != nil {
		return nil, nil, err
	}
	o.First, o.Shape, o.Surrogates = f.data.Offset, f.data.shape(), a.surrogates
	if err := pictures.Check(o.Shape); err != nil && f.given("gallery") && f.gallery > 0 {
		return nil, nil, fmt.Errorf("--gallery: %w", err)
	}
	bar := show.NewBar(a.stderr)
	o.Progress = func(model, pass string, done, total int) { bar.Show(model+"  "+pass, done, total) }
	r = &report.Page{Envelope: a.envelope("report", subjects...), Line: f.line(specs, &o)}
	r.Seed, r.Data = &f.seed, f.data.Spec
	err = survey.Run(ctx, subjects, o, r)
	bar.Clear()
	if t := r.Timings; t != nil {
		t.Machine = fmt.Sprintf("%s, %s/%s, %s", machine.CPUName(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	}
	switch {
	case errors.Is(err, context.Canceled):
		failure = interrupted("%s not done, which the page leaves out", passes(len(r.Left)))
	case err != nil:
		return nil, nil, err
	}
	for i := range r.Models {
		r.Models[i].History = histories[i]
	}
	if bad := a.judgeReport(r); failure == nil {
		failure = bad
	}
	return r, failure, nil
}

// judgeReport is judge for all attacks of a page. The last one must be strong. Others are
// shown beside it whether they are or not: of theirs, only wrong results are failures.
func (a *app) judgeReport(r *report.Page) (failure error) {
	reruns := map[string]bool{}
	for _, d := range audit.Diagnostics() {
		reruns[d.Name] = d.Reruns
	}
	for _, m := range r.Models {
		for _, c := range m.Checks {
			list := slices.Clone(c.Checks)
			for k := range list {
				if f := &list[k]; f.Verdict == audit.Fail && reruns[f.Name] && c.Attack != r.Attacks[len(r.Attacks)-1] {
					f.Verdict = audit.Warn
				}
			}
			if bad := a.judge(fmt.Sprintf("of %s on %s at ε = %s", c.Attack, m.Name, r.EpsExact), list); failure == nil {
				failure = bad
			}
		}
	}
	return failure
}

func passes(n int) string {
	if n == 1 {
		return "1 pass"
	}
	return fmt.Sprintf("%d passes", n)
}

// reportSubjects loads models of the same images, under different names.
func (a *app) reportSubjects(f *reportFlags, specs []string) ([]*input.Subject, error) {
	var one *model.Model
	for i, spec := range specs {
		m, err := a.loadModel(spec)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			one = m
		}
		if m.Arch.Input.Size() != one.Arch.Input.Size() || m.Arch.Classes() != one.Arch.Classes() {
			return nil, fmt.Errorf("--model: %s sorts images of %v into %d classes, but %s images of %v into %d: want models of the same images on one page",
				specs[0], one.Arch.Input, one.Arch.Classes(), spec, m.Arch.Input, m.Arch.Classes())
		}
	}
	subjects, err := a.subjects(specs, &f.data, true)
	if err != nil && !f.given("n") { // fewer than the default, perhaps
		f.data.N = 0
		subjects, err = a.subjects(specs, &f.data, true)
	}
	if err != nil {
		return nil, err
	}
	for i, s := range subjects {
		if slices.ContainsFunc(subjects[:i], func(o *input.Subject) bool { return o.Name == s.Name }) {
			s.Name = specs[i]
		}
	}
	return subjects, nil
}

// splitLog splits what --log says into a model, "" if it names none, and a file.
func splitLog(text string, specs []string) (model, path string) {
	for _, s := range specs {
		if path, ok := strings.CutPrefix(text, s+"="); ok {
			return s, path
		}
	}
	return "", text
}

// histories finds how the models were trained: in --log, or in their cards.
func (f *reportFlags) histories(specs []string, subjects []*input.Subject) ([]*report.PageHistory, error) {
	list := make([]*report.PageHistory, len(specs))
	for _, text := range f.logs {
		model, path := splitLog(text, specs)
		if model == "" && len(specs) > 1 {
			return nil, fmt.Errorf("--log: got %s, want MODEL=FILE with MODEL one of %s", text, strings.Join(specs, ", "))
		}
		at := max(0, slices.Index(specs, model))
		if list[at] != nil {
			return nil, fmt.Errorf("--log: got two for model %s, want one", specs[at])
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--log: %w", err)
		}
		epochs, err := report.EpochsOfLog(data)
		if err != nil {
			return nil, fmt.Errorf("--log: %s: %w", path, err)
		}
		list[at] = &report.PageHistory{Source: path, Epochs: epochs}
	}
	for i, s := range subjects {
		text, ok := s.Model.Card[report.CardHistory]
		if !ok || list[i] != nil {
			continue
		}
		list[i] = &report.PageHistory{Source: "card"}
		var err error
		if list[i].Epochs, err = report.EpochsOfCard(text); err != nil {
			list[i].Why = err.Error()
		}
	}
	return list, nil
}

// line is the command line that makes the same page.
func (f *reportFlags) line(specs []string, o *survey.Options) string {
	var b strings.Builder
	b.WriteString("epsball report")
	put := func(flag string, v any) { fmt.Fprintf(&b, " --%s %s", flag, show.Quote(fmt.Sprint(v))) }
	for _, s := range specs {
		put("model", s)
	}
	put("data", f.data.Spec)
	if f.given("channels") {
		put("channels", f.data.channels.text)
	}
	put("n", f.data.N)
	if f.data.Offset > 0 {
		put("offset", f.data.Offset)
	}
	put("eps", o.Eps)
	var radii []string
	for _, r := range o.Radii {
		radii = append(radii, r.String())
	}
	put("radii", strings.Join(radii, ","))
	if o.Norm != net.Linf {
		put("norm", o.Norm)
	}
	for _, m := range o.Attacks {
		put("attack", m)
	}
	put("bounds", o.How.Method)
	put("resolution", o.Resolution)
	put("checks", o.Checks)
	put("gallery", o.Gallery)
	put("seed", f.seed)
	for _, l := range f.logs {
		put("log", l)
	}
	return b.String()
}
