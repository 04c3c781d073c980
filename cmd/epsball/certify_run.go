package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/charts"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// certifyAll runs and reports what has been prepared.
func (a *app) certifyAll(ctx context.Context, f *certifyFlags, subjects []*input.Subject, runs []certifyRun, start time.Time) error {
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
			for _, h := range report.CertifyHints(f.method.v, r.N, run.s.Net.Classes(), *r.Clean, *r.Certified, r.Brackets) {
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
	envelope.Seed, envelope.Data = &f.seed, f.data.Spec
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
	err := f.plot.Write(func(w io.Writer) error { return charts.Certify(w, r) })
	if err == nil {
		r.Plot = f.plot.Path
	}
	return err
}

// drawRadii draws the radii of the images that are summed up.
func (f *certifyFlags) drawRadii(r *report.Certify, p *audit.Proving) error {
	err := f.plot.Write(func(w io.Writer) error { return charts.Radii(w, r, f.resolution.v.Float64(), p.Steps, p.Attacked) })
	if f.plot.Written {
		r.Plot = f.plot.Path
	}
	return err
}

// certifyRun proves one model at one radius, or finds its images' radii.
type certifyRun struct {
	a      *app
	f      *certifyFlags
	s      *input.Subject
	spec   string // of the model
	prover *verify.Verifier
	eps    net.Epsilon
	p      *audit.Proving

	bar *show.Bar
	at  int // the image at work, from the first one on
}

// progress says how branch and bound stands.
func (r *certifyRun) progress(p branch.Progress) {
	r.bar.Note(fmt.Sprintf("bab: image %d of %d: %s", r.at+1, len(r.s.Y), searchText(p)))
}

// searchText says how a search stands.
func searchText(p branch.Progress) string {
	return fmt.Sprintf("%d parts, %d open, lower bound %.4g", p.Parts, p.Open, p.Low)
}

// task is what the flags ask for, at one of their radii.
func (f *certifyFlags) task(eps net.Epsilon) *jobs.Certify {
	c := &jobs.Certify{
		Method: f.method.v.String(), Ladder: f.ladder, Iterations: f.iterations, Norm: f.norm.v.String(),
		AttackSteps: f.attackSteps, Seed: f.seed, Certificates: f.out.Path != "",
	}
	if f.method.v == verify.MethodBaB {
		c.Timeout = f.timeout
	}
	if f.radius {
		c.Resolution, c.MaxRadius = f.resolution.v.String(), f.maxRadius.v.String()
	} else {
		c.Eps = eps.String()
	}
	return c
}

// newProver prepares the method of the flags.
func (f *certifyFlags) newProver(s *input.Subject) (*verify.Verifier, error) {
	v, err := verify.New(s.Net, s.Pool)
	if err != nil {
		return nil, err
	}
	v.KeepSlopes()
	v.JoinBalls()
	return v, v.Prepare(f.task(f.radii.v[0]).How())
}

// subject is what the run works on.
func (r *certifyRun) subject() *jobs.Subject {
	return &jobs.Subject{
		Model: r.s.Model.Hash(), Data: r.f.data.Spec, First: r.f.data.Offset, Net: r.s.Net, Pool: r.s.Pool, X: r.s.X, Y: r.s.Y,
		Search: r.progress,
	}
}

// run returns what was proved. Without a result, the error is one of bad input; else
// it says what does not hold, or that ^C came.
func (r *certifyRun) run(ctx context.Context) (*report.CertifyRun, error) {
	f, s, n := r.f, r.s, len(r.s.Y)
	r.bar = show.NewBar(r.a.stderr)
	task, subject := f.task(r.eps), r.subject()
	o, err := task.Options(subject, r.prover)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", r.spec, err)
	}
	o.Progress = func(pass string, done, total int) {
		if pass == "prove" {
			pass = f.method.text
		}
		r.at = done
		r.bar.Show(pass, done, total)
	}
	p, err := audit.NewProving(r.prover, s.X, s.Y, o)
	if err != nil {
		return nil, err
	}
	r.p = p
	if f.out.Path != "" {
		release, err := r.openOut(task.NewCertificates(p, subject))
		if err != nil {
			return nil, err
		}
		defer release()
		if done := countTrue(p.Done); done > 0 {
			r.a.logf("%s: %d of %s are there", f.out.Path, done, count(n, "certificate"))
		}
	}
	resumed := countTrue(p.Done)
	c := report.NewCertifyRun(s.Name, f.method.v.String(), f.ladder, &o)
	start := time.Now()
	pred, err := s.Predict(ctx, s.X, n)
	c.Timings.Forward = time.Since(start).Seconds()
	if err == nil {
		proofStart := time.Now()
		err = p.Run(ctx)
		r.bar.Clear()
		c.Timings.Proof = time.Since(proofStart).Seconds()
	} else {
		pred = nil
	}
	c.Seconds = time.Since(start).Seconds()
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	c.Timings.Proved = countTrue(p.Done) - resumed
	c.Fill(p, pred, s.Y)
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

// openOut opens the file of --out, notes what it has already, and lets each block of
// proofs be written to it.
func (r *certifyRun) openOut(c *runlog.Certificates) (release func(), err error) {
	f := r.f
	release, err = c.Open(&f.out, f.resume)
	switch {
	case err != nil && f.resume:
		return nil, fmt.Errorf("--resume: %w", err)
	case err != nil:
		return nil, fmt.Errorf("--out: %w", err)
	}
	r.p.Save = func(at []int) error {
		if err := c.Save(at); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		return nil
	}
	return release, nil
}
