package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/recheck"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	certcheck "github.com/epsball/epsball/verify/check"
)

type checkFlags struct {
	model    string
	data     data
	property string
	need     requireFlags
}

func (a *app) checkCommand() *cobra.Command {
	f := &checkFlags{need: newRequireFlags()}
	c := &cobra.Command{
		Use:   "check CERTIFICATES",
		Short: "Prove certificates anew, independently of certify",
		Long: `Proves each certificate of a file anew with a checker that shares no code with
certify: a scalar one in float64 with outward rounding (docs/certificate.md). Of proofs by
branch and bound every leaf is proved, and that the leaves are all of the ball.

The model must have the hash that the certificates name. Images are found by their
index in the data and compared by their hash. Lines of images that were not certified
claim nothing and are counted as undecided. The result lists what was proved: how many
certificates for which norm, ε, level and specification.

With --require-… flags, a certificate that proves less is a failure. A linf ball
contains the l2 ball of the same ε, which contains the l1 ball, so linf satisfies
--require-norm l2; level executed satisfies real. With any of these flags a
certificate must be about the image's label, unless --require-spec any also admits
rows, which may be chosen so that they say nothing.

With --property, the certificates are those that verify --out has written about a property
file. Then the regions of the file are read anew, each has to have a valid certificate whose
box contains it and whose specification is the file's, and images and --require-… flags
have no meaning.

Exit status: 0 if there are certificates and all are valid and as required; 1 if not;
2 if the file has no certificates, or all are of another model.`,
		Example: `  epsball check certs.jsonl --model builtin:mnist-small-ibp-0.1 --data builtin:mnist
  epsball check certs.jsonl --model m.onnx --data d.npz --require-eps 8/255 --require-count 900
  epsball check proof.jsonl --model net.onnx --property prop.vnnlib`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("check: got %d arguments, want one file of certificates", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if f.property != "" {
				for _, flag := range []string{"data", "channels", "require-eps", "require-norm", "require-level", "require-spec", "require-count"} {
					if g := c.Flags().Lookup(flag); g != nil && g.Changed {
						return fmt.Errorf("--%s: has no meaning with --property", flag)
					}
				}
			}
			return a.check(c.Context(), args[0], f)
		},
	}
	c.Flags().StringVar(&f.model, "model", "", "`model` that was certified (required)")
	c.Flags().StringVar(&f.data.Spec, "data", "builtin:mnist", "`data` set that was certified, whole")
	f.data.addChannels(c)
	c.Flags().StringVar(&f.property, "property", "", "property `file` (VNN-LIB) that was verified, in place of data")
	f.need.addFlags(c)
	return c
}

func (a *app) check(ctx context.Context, path string, f *checkFlags) error {
	if f.model == "" {
		return a.modelRequired()
	}
	if f.need.count < 0 {
		return fmt.Errorf("--require-count: got %d, want at least 0", f.need.count)
	}
	m, err := a.loadModel(f.model)
	if err != nil {
		return err
	}
	checker, err := certcheck.New(m)
	if err != nil {
		return fmt.Errorf("model %s: %w", f.model, err)
	}
	run := recheck.Run{Checker: checker, Need: f.need.requirements(), Model: m.Hash()}
	regions, err := a.checkAgainst(&run, f, m)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	start := time.Now()
	bar := show.NewBar(a.stderr)
	run.Lines = certcheck.NewLines(file)
	run.Progress = func(offset int64) { bar.Show("check KiB", int(offset>>10), int(info.Size()>>10)) }
	err = run.All(ctx, a.threads)
	bar.Clear()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if ctx.Err() == nil {
		if err := run.Misplaced(path, f.model); err != nil {
			return err
		}
	}
	r := &report.Check{
		Envelope: a.envelope("check"), File: path, Model: input.Name(f.model),
		Groups: []report.CheckGroup{}, Failures: []report.CheckFailure{},
	}
	r.Epsball.Models = []report.Model{{Name: r.Model, Hash: run.Model}}
	r.Data, r.Threads = f.data.Spec, a.threads
	if f.property != "" {
		r.Data, r.Property, r.Of = "", f.property, regions
	}
	run.Tally(r)
	r.Seconds = time.Since(start).Seconds()
	var failure error
	switch {
	case ctx.Err() != nil:
		failure = interrupted("%s checked", count(r.Checked, "certificate"))
	case r.Invalid > 0:
		failure = undecided("%s: %d of %s not valid%s", path, r.Invalid, count(r.Checked, "certificate"), f.need.orTooWeak())
	case r.Checked == 0:
		failure = undecided("%s: no certificates to check", path)
	case r.Regions < r.Of:
		failure = undecided("%s: valid certificates of %d regions, but %s has %d", path, r.Regions, f.property, r.Of)
	case r.Images < f.need.count:
		failure = undecided("%s: certificates of %s, but --require-count wants %d", path, count(r.Images, "image"), f.need.count)
	}
	return errors.Join(a.report(r), failure)
}

// checkAgainst gives a run what certificates are to be of: the images of the data, or the
// regions of the property, of which it returns the number.
func (a *app) checkAgainst(run *recheck.Run, f *checkFlags, m *model.Model) (regions int, err error) {
	if f.property == "" {
		if err := a.load(&f.data, m, f.model); err != nil {
			return 0, err
		}
		set, err := f.data.Fit(m, f.model)
		if err != nil {
			return 0, err
		}
		run.Find = recheck.In(set)
		return 0, nil
	}
	q, err := vnnlib.Load(f.property)
	if err != nil {
		return 0, err
	}
	questions, err := query.New(q, m)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.property, err)
	}
	run.Implied = questions.Implied
	return len(questions.List), nil
}

// requireFlags are what certificates must prove at least.
type requireFlags struct {
	eps   *value[net.Epsilon]
	norm  *value[net.Norm]
	level *value[string]
	spec  *value[string]
	count int
}

func newRequireFlags() requireFlags {
	eps := func(s string) (net.Epsilon, error) {
		e, err := net.ParseEpsilon(s)
		if err != nil {
			err = errors.New("want a decimal such as 0.1 or a fraction such as 8/255")
		}
		return e, err
	}
	return requireFlags{
		eps:   newValue("eps", "", eps),
		norm:  newValue("norm", "", net.ParseNorm),
		level: choiceFlag("level", "", certcheck.Real, certcheck.Executed),
		spec:  choiceFlag("specification", "", "label", "any"),
	}
}

func (q *requireFlags) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.Var(q.eps, "require-eps", "refuse certificates with a smaller ε")
	f.Var(q.norm, "require-norm", "refuse certificates whose norm has a smaller ball: of linf, l2, l1 each satisfies those after it")
	f.Var(q.level, "require-level", "refuse certificates that are not at this level: executed, or real, which both satisfy")
	f.Var(q.spec, "require-spec", "label: refuse specifications by rows (default with any of these flags); any: admit them")
	f.IntVar(&q.count, "require-count", 0, "fail unless so many images have a valid certificate")
}

// requirements returns what the flags ask for.
func (q *requireFlags) requirements() recheck.Requirements {
	r := recheck.Requirements{Level: q.level.v, Spec: q.spec.v, Count: q.count}
	if q.eps.set {
		r.Eps = &q.eps.v
	}
	if q.norm.set {
		r.Norm = &q.norm.v
	}
	return r
}

// orTooWeak completes "not valid" where that may be the reason.
func (q *requireFlags) orTooWeak() string {
	if r := q.requirements(); !r.Any() {
		return ""
	}
	return ", or less than required"
}
