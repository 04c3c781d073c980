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
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	certcheck "github.com/epsball/epsball/verify/check"
)

type certifyFlags struct {
	models     []string
	data       data
	method     *value[verify.Method]
	ladder     bool
	iterations int
	norm       *value[net.Norm]
	radii      *value[[]net.Epsilon]
	eps        net.Epsilon // the one of radii that is being proved
	radius     bool
	resolution *value[net.Epsilon]
	maxRadius  *value[net.Epsilon]
	out        outfile.Output
	resume     bool
	force      bool

	attackSteps int // of the other side of --radius
	seed        uint64
	plot        outfile.Output
	given       func(flag string) bool
}

func (a *app) certifyCommand() *cobra.Command {
	f := &certifyFlags{
		method: namedFlag("method", "ibp", verify.Methods(), verify.ParseMethod), norm: normFlag(), radii: radiiFlag(""),
		resolution: positiveFlag("0.001"), maxRadius: positiveFlag(""),
		out: outfile.Output{Flag: "out", Appended: true, Resumable: true}, plot: outfile.Output{Flag: "plot", Kind: outfile.Plot},
	}
	c := &cobra.Command{
		Use:   "certify",
		Short: "Prove that no image of a ball is misclassified",
		Long: `Proves for each image that no image of the ball around it is classified other
than its label: in exact arithmetic, and as executed in float32 in any order of
summation. Fractions are of all images.

  method       bounds                                            cost of an image
  ibp          intervals                                         two forward passes
  crown-ibp    intervals, the margins by linear relaxation       some backward passes
  crown        every unstable neuron by linear relaxation        hundreds of them
  alpha-crown  the same, slopes optimised                        tens of times crown

The cheaper methods come first, and the next one for images that are still
undecided alone, up to --method (--ladder=false: that one alone).

With --eps, certified are the images proved at that radius. With --radius, the
robust radius of each image is bracketed: from below by the largest multiple of
--resolution, up to --max-radius, at which it is proved, from above by the
smallest at which an attack (PGD, --attack-steps; 0: none) fools it. Certified are
then those proved at a radius above 0, and images without count as 0 in
mean_radius. --plot draws both sides.

Several models, or several radii (--eps 0.02,0.05,0.1), get a line each; --plot draws
the radii's curve of each model.

With --out, each image gets a line (docs/certificate.md) that check proves anew:
its certificate, or that there is none. Lines are written and synced as the proofs
are found; with --resume, a run that was killed goes on with what is there. A file
that is there is left alone without --resume or --force, and so is one that another
process is writing.

After ^C, the fractions are of the first images alone, up to where all are done, and
the range is given in which certified accuracy of all images lies.`,
		Example: `  epsball certify --model builtin:mnist-small-ibp-0.1 --eps 0.1
  epsball certify --model net.onnx --method alpha-crown --eps 2/255 --data cifar --n 100
  epsball certify --model m.safetensors --radius --resolution 1/255 --norm l2 --plot radii.svg
  epsball certify --model builtin:mnist-small-ibp-0.1 --eps 0.1 --out certs.jsonl --resume`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given = c.Flags().Changed
			return a.certify(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.models, "model", nil, "`model` to certify (required); may be repeated")
	f.data.addFlags(c, "builtin:mnist")
	fl.Var(f.method, "method", "how to prove: "+strings.Join(verify.Methods(), ", "))
	fl.BoolVar(&f.ladder, "ladder", true, "try the cheaper methods first")
	fl.IntVar(&f.iterations, "iterations", 0, "gradient steps of alpha-crown (default 20)")
	fl.Var(f.norm, "norm", strings.Join(net.Norms(), ", "))
	fl.Var(f.radii, "eps", "radius of the ball, such as 0.1 or 8/255, or several: 0.02,0.05,0.1")
	fl.BoolVar(&f.radius, "radius", false, "find the largest certified radius of each image instead")
	fl.Var(f.resolution, "resolution", "step between the radii tried")
	fl.Var(f.maxRadius, "max-radius", "largest radius tried (default 1; l2: 16, l1: 64)")
	fl.IntVar(&f.attackSteps, "attack-steps", 40, "steps of each attack of --radius; 0: proofs alone (l1: always)")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the attacks' random starts")
	fl.StringVar(&f.plot.Path, "plot", "", "`file` for the curve of certified accuracy over the radius (.svg), with --radius or several --eps")
	fl.StringVar(&f.out.Path, "out", "", "`file` for the certificates, one a line; -: standard output, and the report to stderr")
	fl.BoolVar(&f.resume, "resume", false, "go on with the certificates that --out has")
	addForce(c, &f.force)
	return c
}

func (f *certifyFlags) check() error {
	switch {
	case f.resume && f.out.Path == "":
		return errors.New("--resume: has no meaning without --out")
	case f.radii.set && f.radius:
		return errors.New("--eps and --radius: want one of the two")
	case !f.radii.set && !f.radius:
		return errors.New("--eps: required, such as --eps 0.1 or --eps 8/255; or --radius, to find the largest radius proved of each image")
	case f.out.Path != "" && len(f.models) > 1:
		return fmt.Errorf("--out: has the certificates of one model, want one --model, got %d", len(f.models))
	case f.out.Path != "" && len(f.radii.v) > 1:
		return fmt.Errorf("--out: has the certificates of one radius, want one --eps, got %d", len(f.radii.v))
	case f.iterations < 0 || f.iterations > 100_000:
		return fmt.Errorf("--iterations: got %d, want 1 … 100000, or 0 for 20", f.iterations)
	case f.iterations != 0 && f.method.v != verify.MethodAlphaCROWN:
		return fmt.Errorf("--iterations: has no meaning with --method %s", f.method.v)
	case f.attackSteps < 0:
		return fmt.Errorf("--attack-steps: got %d, want at least 0", f.attackSteps)
	case f.norm.v == net.L1 && f.attackSteps > 0 && f.given("attack-steps"):
		return errors.New("--attack-steps: got norm l1, which attacks do not have")
	case f.norm.v == net.L1:
		f.attackSteps = 0
	}
	f.ladder = f.ladder && f.method.v != verify.MethodIBP
	if f.radius {
		return f.checkRadius()
	}
	f.attackSteps = 0
	for _, name := range []string{"attack-steps", "seed", "plot", "resolution", "max-radius"} {
		if f.given(name) && (name != "plot" || len(f.radii.v) == 1) {
			return fmt.Errorf("--%s: has no meaning without --radius", name)
		}
	}
	return checkRadii(f.norm.v, f.radii.v)
}

// checkRadius looks at the flags of --radius.
func (f *certifyFlags) checkRadius() error {
	if !f.maxRadius.set {
		f.maxRadius.v = net.MustEpsilon("1")
		switch f.norm.v {
		case net.L2:
			f.maxRadius.v = net.MustEpsilon("16")
		case net.L1:
			f.maxRadius.v = net.MustEpsilon("64")
		}
	}
	if err := checkBall("max-radius", f.maxRadius.text, net.Ball{Norm: f.norm.v, Eps: f.maxRadius.v}); err != nil {
		return err
	}
	if f.resolution.v.Cmp(f.maxRadius.v) > 0 {
		return fmt.Errorf("--resolution: got %s, want at most the largest radius %s", f.resolution.v, f.maxRadius.v)
	}
	if f.radii.v = []net.Epsilon{{}}; len(f.models) > 1 && f.plot.Path != "" {
		return errors.New("--plot: draws the radii of one model, want one --model, or several --eps")
	}
	return nil
}

func (a *app) certify(ctx context.Context, f *certifyFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	f.out.Resume = f.resume
	release, err := a.claim(f.force, inputs(f.data.spec, f.models), &f.out, &f.plot)
	if err != nil {
		return err
	}
	defer release()
	start := time.Now()
	subjects, err := a.subjects(f.models, &f.data, true)
	if err != nil {
		return err
	}
	var runs []certifyRun
	for i, s := range subjects {
		prover, err := f.newProver(s)
		if err != nil {
			return fmt.Errorf("model %s: %w", f.models[i], err)
		}
		for _, eps := range f.radii.v {
			runs = append(runs, certifyRun{a: a, f: f, s: s, spec: f.models[i], prover: prover, eps: eps})
		}
	}
	return a.certifyAll(ctx, f, subjects, runs, start)
}

// certifyAll runs and reports what has been prepared.
func (a *app) certifyAll(ctx context.Context, f *certifyFlags, subjects []*subject, runs []certifyRun, start time.Time) error {
	var results []report.CertifyRun
	var failure error
	hints := []string{}
	for i := range runs {
		run := &runs[i]
		f.eps = run.eps
		r, err := run.run(ctx)
		if r == nil {
			return err
		}
		results = append(results, *r)
		if lastOf := i == len(runs)-1 || runs[i+1].s != run.s; lastOf && r.Clean != nil {
			for _, h := range certifyHints(f.method.v, r.N, run.s.net.Classes(), *r.Clean, *r.Certified, r.Brackets) {
				if len(subjects) > 1 {
					h = r.Model + ": " + h
				}
				hints = append(hints, h)
			}
		}
		if failure = err; err != nil {
			break
		}
	}
	envelope := a.envelope("certify", subjects...)
	envelope.Seed, envelope.Data = &f.seed, f.data.spec
	var err error
	if len(runs) == 1 {
		r := &report.Certify{Envelope: envelope, CertifyRun: results[0], Hints: hints}
		if r.N > 0 {
			failure = errors.Join(failure, f.drawRadii(r, runs[0].p))
		}
		err = a.report(r)
	} else {
		r := &report.CertifyTable{Envelope: envelope, Results: results, Hints: hints, Seconds: time.Since(start).Seconds()}
		failure = errors.Join(failure, f.drawSweep(r, len(runs)))
		err = a.report(r)
	}
	a.hint(hints)
	return errors.Join(err, failure)
}

// drawSweep draws the curves of a sweep that is complete.
func (f *certifyFlags) drawSweep(r *report.CertifyTable, runs int) error {
	if f.plot.Path == "" || len(r.Results) < runs || r.Results[runs-1].Interrupted != nil {
		return nil
	}
	err := f.plot.Write(func(w io.Writer) error { return certifyCurve(w, r) })
	if err == nil {
		r.Plot = f.plot.Path
	}
	return err
}

// drawRadii draws the radii of the images that are summed up.
func (f *certifyFlags) drawRadii(r *report.Certify, p *audit.Proving) error {
	c := radiusPlot{
		title:    "Certified accuracy of " + r.Model,
		subtitle: fmt.Sprintf("%s of %s; method %s", r.Images(), r.Data, r.Method),
		xLabel:   fmt.Sprintf("radius ε, %s", r.Norm), resolution: f.resolution.v.Float64(),
		certified: p.Steps[:r.N],
	}
	if f.attackSteps > 0 {
		c.subtitle += fmt.Sprintf(", attack PGD-%d", f.attackSteps)
		c.attacked = p.Attacked[:r.N]
	}
	err := f.plot.Write(c.chart().WriteSVG)
	if f.plot.Written {
		r.Plot = f.plot.Path
	}
	return err
}

// certifyRun proves one model at one radius, or finds its images' radii.
type certifyRun struct {
	a      *app
	f      *certifyFlags
	s      *subject
	spec   string // of the model
	prover audit.Prover
	eps    net.Epsilon
	p      *audit.Proving
}

// newProver prepares the method of the flags. Certificates can state slopes of the
// specification's rows alone.
func (f *certifyFlags) newProver(s *subject) (audit.Prover, error) {
	if f.method.v == verify.MethodIBP {
		return verify.NewIBP(s.net, s.pool)
	}
	return verify.NewCROWN(s.net, s.pool, verify.Config{Method: f.method.v, Ladder: f.ladder, Iterations: f.iterations, RowsOnly: f.out.Path != ""})
}

// options say what is proved.
func (r *certifyRun) options() (o audit.ProveOptions, err error) {
	f := r.f
	o = audit.ProveOptions{Norm: f.norm.v, Eps: r.eps, First: f.data.offset, Slopes: f.out.Path != ""}
	switch {
	case f.method.v == verify.MethodIBP && f.attackSteps == 0:
		o.Block = 512
	case f.method.v <= verify.MethodCROWNIBP:
		o.Block = 64
	default:
		o.Block = 4 * r.s.pool.Workers()
	}
	if !f.radius {
		return o, nil
	}
	o.Resolution, o.Max = f.resolution.v, f.maxRadius.v
	if f.attackSteps > 0 {
		o.Search, err = attack.NewRadiusSearch(r.s.net, attack.PGD(net.Ball{Norm: f.norm.v}, f.attackSteps, f.seed), o.Resolution, o.Max, r.s.pool)
	}
	return o, err
}

// run returns what was proved. Without a result, the error is one of bad input; else
// it says what does not hold, or that ^C came.
func (r *certifyRun) run(ctx context.Context) (*report.CertifyRun, error) {
	f, s, n := r.f, r.s, len(r.s.y)
	o, err := r.options()
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", r.spec, err)
	}
	bar := r.a.newBar()
	o.Progress = func(pass string, done, total int) {
		if pass == "prove" {
			pass = f.method.text
		}
		bar.show(pass, done, total)
	}
	p, err := audit.NewProving(r.prover, s.x, s.y, o)
	if err != nil {
		return nil, err
	}
	r.p = p
	if f.out.Path != "" {
		release, err := r.openOut()
		if err != nil {
			return nil, err
		}
		defer release()
		if done := countTrue(p.Done); done > 0 {
			r.a.logf("%s: %d of %s are there", f.out.Path, done, count(n, "certificate"))
		}
	}
	resumed := countTrue(p.Done)
	c := report.NewCertifyRun(s.name, f.method.v.String(), f.ladder, &o)
	start := time.Now()
	pred, err := s.predict(ctx, s.x, n)
	c.Timings.Forward = time.Since(start).Seconds()
	if err == nil {
		proofStart := time.Now()
		err = p.Run(ctx)
		bar.clear()
		c.Timings.Proof = time.Since(proofStart).Seconds()
	} else {
		pred = nil
	}
	c.Seconds = time.Since(start).Seconds()
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	c.Timings.Proved = countTrue(p.Done) - resumed
	c.Fill(p, pred, s.y)
	if countTrue(p.Done) > 0 {
		c.Out = f.out.Path
	}
	if pred != nil {
		if err := p.Check(pred); err != nil {
			return &c, err
		}
	}
	if i := c.Interrupted; i != nil {
		return &c, interrupted("%d of %s done; certified accuracy is between %s and %s",
			i.Done, count(i.N, "image"), percent(i.Certified[0]), percent(i.Certified[1]))
	}
	return &c, nil
}

// runText names what was asked for: only such certificates can be resumed.
func (f *certifyFlags) runText() string {
	how := f.method.v.String()
	if f.ladder {
		how += ", ladder"
	}
	if f.iterations != 0 {
		how += fmt.Sprintf(", iterations %d", f.iterations)
	}
	if f.radius {
		return fmt.Sprintf("%s, radius, resolution %s, max-radius %s", how, f.resolution.v, f.maxRadius.v)
	}
	return fmt.Sprintf("%s, eps %s", how, f.eps)
}

// openOut opens the file of --out, notes what it has already, and lets each block of
// proofs be written to it.
func (r *certifyRun) openOut() (release func(), err error) {
	f, s, out := r.f, r.s, &r.f.out
	c := runlog.NewCertificates(r.p, s.net, certcheck.Certificate{
		Model: s.model.Hash(), Data: f.data.spec, Run: f.runText(), Method: f.method.v.String(),
	}, s.x, s.y)
	var stream io.WriteCloser
	var file *cert.File
	switch {
	case f.resume:
		if err := c.Resume(out.File); err != nil {
			return nil, fmt.Errorf("--resume: %w", err)
		}
	case !out.IsFile():
		if stream, err = out.Stream(); err == nil {
			file = cert.Stream(stream)
		}
	case out.Replace:
		file, err = cert.Replace(out.File)
	default:
		file, err = cert.Create(out.File)
	}
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	if file != nil {
		c.Start(file)
	}
	r.p.Save = func(at []int) error {
		if err := c.Save(at); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		return nil
	}
	return func() {
		c.Close()
		if stream != nil {
			_ = stream.Close()
		}
	}, nil
}
