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
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

type attackFlags struct {
	model    string
	data     data
	attack   *value[attack.Spec]
	norm     *value[net.Norm]
	radii    *value[[]net.Epsilon]
	eps      *value[net.Epsilon] // the one of radii that is being attacked
	steps    int
	stepSize *value[net.Epsilon]
	restarts int
	targeted bool
	random   bool
	loss     *value[net.Loss]
	checks   *value[audit.Level]
	seed     uint64
	out      outfile.Output
	log      outfile.Output // its journal
	resume   bool
	plot     outfile.Output
	force    bool
	defence  defenceFlags
	pictures pictureFlags

	unlimited bool                   // the ball holds all images
	given     func(flag string) bool // on the command line
}

func newAttackFlags() *attackFlags {
	return &attackFlags{
		defence: newDefenceFlags(),
		out:     outfile.Output{Flag: "out", Kind: outfile.Array}, plot: outfile.Output{Flag: "plot", Kind: outfile.Plot},
		attack: specFlag("pgd"), norm: attackNormFlag(), radii: radiiFlag("0.1"),
		stepSize: positiveFlag(""), loss: namedFlag("loss", "ce", net.Losses(), net.ParseLoss),
		checks: namedFlag("level", "quick", audit.Levels(), audit.ParseLevel),
	}
}

func (a *app) attackCommand() *cobra.Command {
	f := newAttackFlags()
	c := &cobra.Command{
		Use:   "attack",
		Short: "Search the ball around each image for a misclassification",
		Long: `Attacks each image that the model classifies correctly. Robust are the images that it
could not fool; clean and robust are fractions of all images. An image without a label
is attacked from its predicted class. With several radii, such as --eps 0.02,0.05,0.1,
each gets a line; --plot draws them. With --targeted, restart r climbs towards the r-th
most likely wrong class; any wrong class is a success.

The result is checked independently of the attack: every adversarial image lies
in the ball (exactly) and in [0,1], and a fresh forward pass gives the same
predictions. More checks look for signs that the attack is weaker than it looks, on
a sample: noise or one step finds more than it does, gradients are zero, more steps
help. --checks full takes larger samples, off leaves these out. A check that warns
prints a line; if one fails, the exit status is 1. docs/evaluation.md explains them.

--out writes an .npz that can be attacked again: x (the worst point found for
each image), y (labels), pred (predicted at x), success, index (in the data),
state (2: done; after ^C also 1: attacked without success so far, 0: not begun,
with pred -1). Images that were wrong from the start are written as they are.

--lattice 8 searches 8-bit images only, which a picture file holds as they are. The
attack is then run once more on any images, for comparison, and what that finds is
rounded: the report says how much is left. --png writes the originals and the adversarial
images of all that were fooled, and reads them again: each must lie in the ball and be
misclassified. --sheet draws the first of them on one page.

A run with --out keeps a journal, FILE.journal, of the images that are done, written
every ten seconds and on ^C, and deleted once FILE is complete. The same command with
--resume continues from it, also after a kill, to the same FILE byte for byte.

After ^C, the command prints counts of all images instead of fractions, and the range
in which robust accuracy lies. Fooled images are done first, so those that are done
say little about the others.`,
		Example: `  epsball attack --model builtin:mnist-small-standard --eps 0.1
  epsball attack --model m.safetensors --data photos.npz --norm l2 --eps 1/2 --restarts 5 --out adv.npz`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given = c.Flags().Changed
			return a.attack(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.model, "model", "", "`model` to attack (required)")
	f.data.addFlags(c, "builtin:mnist")
	f.addMethodFlags(c)
	fl.Var(f.checks, "checks", "how far to look for signs of a weak attack: quick, full or off")
	fl.StringVar(&f.out.Path, "out", "", "`file` for the adversarial images (.npz); -: standard output, and the report to stderr")
	fl.BoolVar(&f.resume, "resume", false, "go on with the images that the journal of --out has")
	fl.StringVar(&f.plot.Path, "plot", "", "`file` for the curve of robust accuracy over several --eps (.svg)")
	f.defence.addFlags(c)
	f.pictures.addFlags(c)
	addForce(c, &f.force)
	return c
}

// addMethodFlags declares which attack runs, in which ball.
func (f *attackFlags) addMethodFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.Var(f.attack, "attack", "such as auto, fast, pgd:steps=100,restarts=5 or ddn: see epsball help attacks")
	fl.Var(f.norm, "norm", strings.Join(net.Norms(), ", ")+": the norm of the ball, as far as the attack has it")
	fl.Var(f.radii, "eps", "radius of the ball, such as 0.1 or 8/255, or several: 0.02,0.05,0.1; for l0 the number of values (default for an attack that looks for the smallest distance: none)")
	fl.IntVar(&f.steps, "steps", 40, "gradient steps of a restart (apgd: 100; fgsm: 1)")
	fl.Var(f.stepSize, "step-size", "length of a step of fgsm or pgd, in pixel units (default ε/4; fgsm: ε, or 1.25·ε from a random start)")
	fl.IntVar(&f.restarts, "restarts", 1, "runs an image gets until one fools it")
	fl.BoolVar(&f.targeted, "targeted", false, "climb towards a wrong class instead of away from the label")
	fl.BoolVar(&f.random, "random-start", true, "start pgd at a random point of the ball; fgsm only if given")
	fl.Var(f.loss, "loss", "ce, margin or dlr")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the random starts")
}

// config turns the flags into an attack.
func (f *attackFlags) config() (attack.Config, error) {
	ball := net.Ball{Norm: f.norm.v, Eps: f.eps.v}
	if err := checkBall("eps", f.eps.text, ball); err != nil {
		return attack.Config{}, err
	}
	m, err := f.method()
	if err == nil {
		err = checkNorm(m, ball)
	}
	return attack.Config{Ball: attack.LatticeBall(ball, f.pictures.lattice), Method: m, EOT: f.defence.eot, Lattice: f.pictures.lattice}, err
}

// widen makes the ball of an attack that looks for the smallest distance as large as
// there is, unless a radius is given.
func (f *attackFlags) widen(size int) error {
	m, err := f.method()
	if err != nil {
		return err
	}
	p := m.Plan()
	if f.unlimited = p.Anywhere || p.Goal == attack.SmallestDistance && !f.given("eps"); f.unlimited {
		f.radii.v = []net.Epsilon{f.norm.v.Largest(size).Eps}
	}
	return nil
}

func (a *app) attack(ctx context.Context, f *attackFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	release, err := a.claimAttack(f)
	if err != nil {
		return err
	}
	defer release()
	start := time.Now()
	subjects, err := a.subjects([]string{f.model}, &f.data, false)
	if err != nil {
		return err
	}
	s := subjects[0]
	if err := f.widen(s.Net.Input().Size()); err != nil {
		return err
	}
	if err := f.pictures.drawable(&f.data); err != nil {
		return err
	}
	bar := show.NewBar(a.stderr)
	defer bar.Clear()
	var runs []report.AttackRun
	var failure error
	for _, eps := range f.radii.v {
		f.eps = newValue("eps", eps.String(), net.ParseEpsilon)
		r, err := a.attackOnce(ctx, f, s, bar)
		if r == nil {
			return err
		}
		runs = append(runs, *r)
		failure = errors.Join(failure, err)
		if r.Interrupted != nil {
			break
		}
	}
	bar.Clear()
	hints := []string{}
	if r := &runs[0]; r.Clean != nil {
		hints = append(hints, report.ChanceHint(*r.Clean, r.N, s.Net.Classes())...)
	}
	envelope := a.envelope("attack", s)
	m, err := f.method()
	if err != nil {
		return err
	}
	seed := m.Plan().Seed
	envelope.Seed, envelope.Data = &seed, f.data.Spec
	if len(f.radii.v) == 1 {
		err = a.report(&report.Attack{Envelope: envelope, AttackRun: runs[0], Hints: hints})
	} else {
		r := &report.AttackTable{Envelope: envelope, Results: runs, Hints: hints, Seconds: time.Since(start).Seconds()}
		failure = errors.Join(failure, f.draw(r))
		err = a.report(r)
	}
	a.hint(hints)
	return errors.Join(err, failure)
}

// draw draws the curve of a sweep that is complete.
func (f *attackFlags) draw(r *report.AttackTable) error {
	if f.plot.Path == "" || len(r.Results) < len(f.radii.v) || r.Results[len(r.Results)-1].Interrupted != nil {
		return nil
	}
	err := f.plot.Write(func(w io.Writer) error { return charts.Attack(w, r) })
	if err == nil {
		r.Plot = f.plot.Path
	}
	return err
}

// check looks at the flags of all radii.
func (f *attackFlags) check() error {
	switch {
	case len(f.radii.v) > 1 && f.out.Path != "":
		return fmt.Errorf("--out: has one attack's images, want one --eps, got %d", len(f.radii.v))
	case f.resume && f.out.Path == "":
		return errors.New("--resume: has no meaning without --out")
	}
	for _, eps := range f.radii.v {
		f.eps = newValue("eps", eps.String(), net.ParseEpsilon)
		if _, err := f.config(); err != nil {
			return err
		}
	}
	if err := f.defence.check(f.given); err != nil {
		return err
	}
	if err := f.pictures.check(len(f.radii.v)); err != nil {
		return err
	}
	return needsCurve(&f.plot, f.radii.v)
}

// attackOnce attacks at f.eps. Without a result, the error is one of bad input; else
// it says what does not hold, or that ^C came.
func (a *app) attackOnce(ctx context.Context, f *attackFlags, s *input.Subject, bar *show.Bar) (*report.AttackRun, error) {
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	run := report.NewAttackRun(s.Name, f.data.Offset, &cfg)
	r := &run
	r.Eps, r.EpsExact = f.eps.v.Float64(), f.eps.v.String()
	r.Unlimited, r.Defence = f.unlimited, f.defence.facts(cfg.Method)
	known := 0 // images that the journal has
	cfg.Progress = func(done int) { bar.Show(cfg.Method.Name(), known+done, f.data.N) }
	front, err := f.defence.front(s)
	if err != nil {
		return nil, err
	}
	if front.judge == nil {
		if cfg, err = audit.WithProofs(front.attacked, s.Pool, cfg); err != nil {
			return nil, err
		}
	}
	attacker, err := attack.New(front.attacked, cfg, s.Pool)
	if err != nil {
		return nil, err
	}
	var log *runlog.Log // nil: no file
	res := new(attack.Result)
	err = s.FillLabels(ctx, f.data.Offset)
	if err == nil {
		if log, known, err = a.openLog(f, s, &cfg); err != nil {
			return nil, fmt.Errorf("--out: %w", err)
		}
		start := time.Now()
		if log != nil {
			res, err = log.Run(ctx, attacker)
		} else {
			err = attacker.Run(ctx, attack.Batch{X: s.X, Y: s.Y, First: f.data.Offset}, res)
		}
		r.Seconds = time.Since(start).Seconds()
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	if err := front.judged(ctx, s, attack.Batch{X: s.X, Y: s.Y, First: f.data.Offset}, res); err != nil {
		return nil, err
	}
	var failure error
	r.Fill(res, f.data.N)
	if p := r.Interrupted; p != nil {
		failure = interrupted("%d of %s done; robust accuracy is between %s and %s", p.Done, count(f.data.N, "image"), percent(p.Robust[0]), percent(p.Robust[1]))
	}
	failure = errors.Join(failure, f.save(s, res, log, r.Interrupted == nil))
	if f.out.Written {
		r.Out = f.out.Path
	}
	checked, cancel := grace(ctx)
	defer cancel()
	failure = errors.Join(failure, a.diagnose(checked, f, s, &front, &cfg, r, res, bar), a.drawPictures(checked, f, s, &cfg, res, r), a.compareLattice(ctx, f, s, cfg, r, bar))
	if bad := a.judge("at ε = "+r.EpsExact, r.Checks); failure == nil {
		failure = bad
	}
	return r, failure
}
