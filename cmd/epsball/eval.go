package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/charts"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

type evalFlags struct {
	models  []string
	data    data
	eps     *value[[]net.Epsilon]
	norm    *value[net.Norm]
	attacks []string
	steps   int
	seed    uint64
	checks  *value[audit.Level]
	plot    outfile.Output
	force   bool
	defence defenceFlags
}

func (a *app) evalCommand() *cobra.Command {
	f := &evalFlags{defence: newDefenceFlags(), eps: radiiFlag("0.1"), norm: normFlag(), checks: namedFlag("level", "off", audit.Levels(), audit.ParseLevel), plot: outfile.Output{Flag: "plot", Kind: outfile.Plot}}
	c := &cobra.Command{
		Use:   "eval",
		Short: "Evaluate models from both sides: attacked and certified",
		Long: `Evaluates each model on the same images: how many it classifies correctly (clean),
still classifies correctly under each attack, and is proved to classify correctly in
the whole ball (certified, interval bounds). Fractions are of all images. Without
arguments it evaluates three built-in models on the 10,000 MNIST test images. With
several radii, such as --eps 0.02,0.05,0.1, each model gets a line for each; --plot
draws them.

--attack may be repeated (epsball help attacks). The default is FGSM, and PGD with one
random start and steps of ε/4. An attack stops at an image once it is fooled; the
throughput of the last attack is in gradient steps of one image. A proof that an attack
contradicts is an error (exit status 1).

What each attack finds is checked independently, as in attack. --checks quick and full
also look for signs that an attack is weaker than it looks. Quick is the default for
attacks that --attack names; without it these checks are off, for they would take longer
than such short attacks on 10,000 images do. If a check fails, the exit status is 1.

After ^C, finished passes are printed and the
rest is marked as not run.`,
		Example: `  epsball eval
  epsball eval --eps 0.02,0.05,0.1,0.2 --n 1000 --plot curves.svg
  epsball eval --model m.safetensors --data testdata/mnist --eps 8/255 --n 1000 --json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.eval(c.Context(), f, c.Flags().Changed) },
	}
	c.Flags().StringArrayVar(&f.models, "model", nil, "`model` to evaluate; may be repeated (default a standard, a PGD and an IBP model)")
	f.data.addFlags(c, "builtin:mnist")
	c.Flags().Var(f.eps, "eps", "radius of the ball, such as 0.1 or 8/255, or several: 0.02,0.05,0.1")
	c.Flags().Var(f.norm, "norm", strings.Join(boundNorms(), ", "))
	c.Flags().StringArrayVar(&f.attacks, "attack", nil, "`attack` to evaluate under, such as apgd:steps=100; may be repeated (default fgsm and pgd)")
	c.Flags().IntVar(&f.steps, "steps", 40, "steps of PGD, without --attack")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of random starts where --attack gives none")
	c.Flags().StringVar(&f.plot.Path, "plot", "", "`file` for the curves of robust and certified accuracy over several --eps (.svg)")
	c.Flags().Var(f.checks, "checks", "how far to look for signs of a weak attack: quick, full or off (with --attack: quick)")
	f.defence.addFlags(c)
	addForce(c, &f.force)
	return c
}

func (a *app) eval(ctx context.Context, f *evalFlags, given func(flag string) bool) error {
	start := time.Now()
	if err := checkRadii(f.norm.v, f.eps.v); err != nil {
		return err
	}
	methods, err := f.methods(given)
	if err != nil {
		return err
	}
	if err := f.defence.check(given); err != nil {
		return err
	}
	if err := needsCurve(&f.plot, f.eps.v); err != nil {
		return err
	}
	specs := f.models
	if len(specs) == 0 {
		specs = a.models.OverviewSpecs()
	}
	release, err := a.claim(f.force, inputs(f.data.Spec, specs), &f.plot)
	if err != nil {
		return err
	}
	defer release()
	subjects, err := a.subjects(specs, &f.data, true)
	if err != nil {
		return err
	}
	if given("attack") && !given("checks") {
		f.checks.v = audit.LevelQuick
	}
	fronts, err := f.defence.fronts(subjects)
	if err != nil {
		return err
	}
	r := &report.Eval{
		Envelope: a.envelope("eval", subjects...),
		Results:  []report.Evaluation{}, Hints: []string{}, Offset: f.data.Offset, Steps: f.steps,
	}
	r.Seed, r.Data, r.Defence = &f.seed, f.data.Spec, f.defence.facts(methods...)
	bar := show.NewBar(a.stderr)
	var failure, weak error // weak: of a check that failed
	finished := 0
	for i, s := range subjects {
		var last *audit.Evaluation
		var checks audit.Case
		checks, err = a.newCase(f.checks.v, s, &fronts[i], func(check string, done, total int) { bar.Show(s.Name+"  check "+check, done, total) })
		if err != nil {
			failure = err
			break
		}
		for _, eps := range f.eps.v {
			var bad error
			last, bad, err = a.evalOnce(ctx, f, s, &fronts[i], checks, audit.Options{Ball: net.Ball{Norm: f.norm.v, Eps: eps}, Attacks: methods}, r, bar)
			if weak == nil {
				weak = bad
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				break
			}
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			failure = fmt.Errorf("model %s: %w", s.Name, err)
			break
		}
		if err == nil {
			finished++
			switch {
			case f.defence.chain.set: // the hints are about proofs
				r.Hints = append(r.Hints, report.ChanceHint(last.Clean, last.N, s.Net.Classes())...)
			case len(f.models) > 0: // what the built-in ones show is known
				r.Hints = append(r.Hints, report.EvalHints(s.Name, last.N, s.Net.Classes(), last.Clean, leastRobust(last), last.Certified)...)
			}
		}
	}
	bar.Clear()
	r.Seconds = time.Since(start).Seconds()
	if failure == nil && finished < len(subjects) {
		failure = interrupted("%d of %s evaluated", finished, count(len(subjects), "model"))
	}
	if failure != nil && exitCode(failure) == exitBadInput {
		return failure
	}
	if failure == nil {
		failure = weak
	}
	if failure == weak && f.plot.Path != "" {
		if err := f.plot.Write(func(w io.Writer) error { return charts.Security(w, r) }); err == nil {
			r.Plot = f.plot.Path
		} else {
			failure = errors.Join(failure, err)
		}
	}
	err = a.report(r)
	a.hint(r.Hints)
	return errors.Join(err, failure)
}

// evalOnce looks at one model at one radius, and adds what it sees to the report. The error
// weak is that of a check.
func (a *app) evalOnce(ctx context.Context, f *evalFlags, s *input.Subject, front *front, checks audit.Case, o audit.Options, r *report.Eval, bar *show.Bar) (last *audit.Evaluation, weak, err error) {
	o.First, o.EOT, o.Deployed = f.data.Offset, f.defence.eot, front.judge
	o.Progress = func(pass string, done, total int) { bar.Show(s.Name+"  "+pass, done, total) }
	var found [][]audit.Finding
	o.Found = func(ctx context.Context, c attack.Config, b attack.Batch, res *attack.Result) {
		checks.Config, checks.Batch, checks.Result = c, b, res
		found = append(found, audit.Diagnose(ctx, checks))
	}
	last, err = audit.Evaluate(ctx, front.attacked, s.Pool, s.X, s.Y, o)
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, nil, err
	}
	bar.Clear()
	e := report.NewEvaluation(s.Name, o.Ball.Eps.String(), last)
	for k, list := range found {
		e.Attacks[k].Checks = list
		if bad := a.judge(fmt.Sprintf("of %s on %s at ε = %v", e.Attacks[k].Attack, s.Name, o.Ball.Eps), list); weak == nil {
			weak = bad
		}
	}
	r.Results = append(r.Results, e)
	return last, weak, err
}

// leastRobust is the fraction that all attacks leave.
func leastRobust(e *audit.Evaluation) float64 {
	least := e.Clean
	for _, a := range e.Attacks {
		least = min(least, a.Robust)
	}
	return least
}
