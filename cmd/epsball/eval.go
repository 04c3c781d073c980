package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

type evalFlags struct {
	models  []string
	data    data
	eps     *value[net.Epsilon]
	norm    *value[net.Norm]
	attacks []string
	steps   int
	seed    uint64
}

// evalResult is an audit.Evaluation, with null for what was not run.
type evalResult struct {
	Model     string           `json:"model"`
	Eps       float64          `json:"eps"`
	Norm      string           `json:"norm"`
	N         int              `json:"n"`
	Clean     *float64         `json:"clean"`
	Attacks   []evalAttack     `json:"attacks"`
	Certified *float64         `json:"certified"`
	Speed     audit.Throughput `json:"images_per_s"` // 0 for what was not run
	Seconds   float64          `json:"seconds"`
	NotRun    []string         `json:"not_run,omitempty"` // passes, after ^C
}

// evalAttack is an audit.Attacked.
type evalAttack struct {
	Attack string   `json:"attack"` // the textual form
	Robust *float64 `json:"robust"`
}

func newEvalResult(model string, e *audit.Evaluation) evalResult {
	run := func(pass string, v float64) *float64 {
		if slices.Contains(e.NotRun, pass) {
			return nil
		}
		return &v
	}
	r := evalResult{
		Model: model, Eps: e.Eps, Norm: e.Norm, N: e.N, Speed: e.Speed, Seconds: e.Seconds, NotRun: e.NotRun,
		Clean: run(audit.PassClean, e.Clean), Certified: run(audit.PassCertify, e.Certified),
	}
	for _, a := range e.Attacks {
		r.Attacks = append(r.Attacks, evalAttack{a.Attack, run(a.Attack, a.Robust)})
	}
	return r
}

type evalReport struct {
	Results []evalResult `json:"results"`
	Data    string       `json:"data"`
	Offset  int          `json:"offset"`
	ISA     string       `json:"isa"`
	Threads int          `json:"threads"`
	Seconds float64      `json:"seconds"`
	Hints   []string     `json:"hints"` // what else to try
}

func (a *app) evalCommand() *cobra.Command {
	f := &evalFlags{eps: epsilonFlag("0.1"), norm: attackNormFlag()}
	c := &cobra.Command{
		Use:   "eval",
		Short: "Evaluate models from both sides: attacked and certified",
		Long: `Evaluates each model on the same images: how many it classifies right (clean),
still right under each attack, and proved right for the whole ball
(certified, interval bounds). Fractions are of all images. Without arguments:
the built-in models on the 10,000 MNIST test images.

--attack may be repeated (epsball help attacks); without it, FGSM and PGD with one random
start and steps of ε/4. An attack stops at an image once it is fooled; the throughput of
the last one is in gradient steps of one image. A proof that an attack
contradicts is an error (exit status 1). After ^C, what was finished is printed
and the rest marked as not run.`,
		Example: `  epsball eval
  epsball eval --model m.safetensors --data testdata/mnist --eps 8/255 --n 1000 --json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.eval(c.Context(), f, c.Flags().Changed) },
	}
	c.Flags().StringArrayVar(&f.models, "model", nil, "`model` to evaluate; may be repeated (default every built-in model)")
	f.data.addFlags(c, "builtin:mnist")
	c.Flags().Var(f.eps, "eps", "radius of the ball, such as 0.1 or 8/255")
	c.Flags().Var(f.norm, "norm", "linf or l2")
	c.Flags().StringArrayVar(&f.attacks, "attack", nil, "`attack` to evaluate under, such as apgd:steps=100; may be repeated (default fgsm and pgd)")
	c.Flags().IntVar(&f.steps, "steps", 40, "steps of PGD, without --attack")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of random starts where --attack gives none")
	return c
}

func (a *app) eval(ctx context.Context, f *evalFlags, given func(flag string) bool) error {
	start := time.Now()
	ball := net.Ball{Norm: f.norm.v, Eps: f.eps.v}
	if err := checkBall("eps", f.eps.text, ball); err != nil {
		return err
	}
	methods, err := f.methods(given)
	if err != nil {
		return err
	}
	subjects, err := a.evalSubjects(f)
	if err != nil {
		return err
	}
	r := evalReport{
		Results: []evalResult{}, Hints: []string{}, Data: f.data.spec, Offset: f.data.offset,
		ISA: a.isa.Name(), Threads: a.threads,
	}
	bar := a.newBar()
	var failure error
	finished := 0
	for _, s := range subjects {
		o := audit.Options{Ball: ball, Attacks: methods, First: f.data.offset}
		o.Progress = func(pass string, done, total int) { bar.show(s.name+"  "+pass, done, total) }
		e, err := audit.Evaluate(ctx, s.net, s.pool, s.x, s.y, o)
		if err != nil && !errors.Is(err, context.Canceled) {
			failure = fmt.Errorf("model %s: %w", s.name, err)
			break
		}
		r.Results = append(r.Results, newEvalResult(s.name, e))
		if err == nil {
			finished++
			if len(f.models) > 0 { // what the built-in ones show is known
				r.Hints = append(r.Hints, evalHints(s.name, e.N, s.net.Classes(), e.Clean, leastRobust(e), e.Certified)...)
			}
		}
	}
	bar.clear()
	r.Seconds = time.Since(start).Seconds()
	if failure == nil && finished < len(subjects) {
		failure = interrupted("%d of %s evaluated", finished, count(len(subjects), "model"))
	}
	if failure != nil && exitCode(failure) == exitBadInput {
		return failure
	}
	err = a.print(r, func() string { return evalTable(&r, f) })
	a.hint(r.Hints)
	return errors.Join(err, failure)
}

// leastRobust is the fraction that all attacks leave.
func leastRobust(e *audit.Evaluation) float64 {
	least := e.Clean
	for _, a := range e.Attacks {
		least = min(least, a.Robust)
	}
	return least
}

// evalSubjects loads everything before anything runs.
func (a *app) evalSubjects(f *evalFlags) ([]*subject, error) {
	specs := f.models
	if len(specs) == 0 {
		for _, name := range a.models.names() {
			specs = append(specs, builtinPrefix+name)
		}
	}
	if len(specs) == 0 {
		return nil, a.modelRequired()
	}
	models := make([]*model.Model, len(specs))
	for i, spec := range specs {
		var err error
		if models[i], err = a.loadModel(spec); err != nil {
			return nil, err
		}
	}
	first := max(0, slices.IndexFunc(models, func(m *model.Model) bool { // a vector says less of what images are
		return max(m.Arch.Input.C, m.Arch.Input.H, m.Arch.Input.W) < m.Arch.Input.Size()
	}))
	if err := a.load(&f.data, models[first], specs[first]); err != nil {
		return nil, err
	}
	if err := f.data.known(); err != nil {
		return nil, err
	}
	var subjects []*subject
	for i, spec := range specs {
		s, err := a.prepare(models[i], spec, &f.data)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, s)
	}
	return subjects, nil
}

// notRun stands for what ^C has left out.
const notRun = "–"

func evalTable(r *evalReport, f *evalFlags) string {
	if len(r.Results) == 0 {
		return ""
	}
	cell := func(v *float64) string {
		if v == nil {
			return notRun
		}
		return percent(*v)
	}
	speed := func(of *float64, v float64) string {
		if of == nil {
			return notRun
		}
		return rate(v)
	}
	partly := false
	heads, last := []any{"model", "clean"}, ""
	for _, a := range r.Results[0].Attacks {
		last = attackHeading(a.Attack)
		heads = append(heads, last)
	}
	t := newTable(append(heads, "certified", "forward/s", last+" steps/s", "IBP/s")...)
	for _, e := range r.Results {
		row := []any{e.Model, cell(e.Clean)}
		for _, a := range e.Attacks {
			row = append(row, cell(a.Robust))
		}
		end := len(e.Attacks) - 1
		t.AppendRow(append(row, cell(e.Certified),
			speed(e.Clean, e.Speed.Forward), speed(e.Attacks[end].Robust, e.Speed.Steps[end]), speed(e.Certified, e.Speed.IBP)))
		partly = partly || len(e.NotRun) > 0
	}
	out := render(t)
	if partly {
		out += notRun + ": not run, or interrupted before its end\n"
	}
	return out + fmt.Sprintf("%s ε = %s, n = %d of %s; %s, %s; %s\n",
		f.norm.v, f.eps.text, f.data.n, f.data.spec, r.ISA, count(r.Threads, "thread"), seconds(r.Seconds))
}
