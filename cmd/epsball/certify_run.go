package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/cert"
	certcheck "github.com/epsball/epsball/verify/check"
)

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
		o.Search, err = attack.NewRadiusSearch(r.s.net, attack.Config{Ball: net.Ball{Norm: f.norm.v}, Method: attack.PGD{Steps: f.attackSteps, Seed: f.seed}}, o.Resolution, o.Max, r.s.pool)
		o.AttackSteps = f.attackSteps
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
