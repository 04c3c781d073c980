package main

import (
	"context"
	"errors"
	"io"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/report"
)

// sum fills in the result of all images.
func (g *merging) sum(ctx context.Context) error {
	switch w := g.work.(type) {
	case *jobs.CertifyWork:
		return g.sumCertify(w)
	case *jobs.SmoothWork:
		g.sumSmooth(w)
		return nil
	}
	return g.sumAttack(ctx, g.work.(*jobs.AttackWork))
}

func (g *merging) sumCertify(w *jobs.CertifyWork) error {
	p := w.Proving
	p.Whole = len(p.Done)
	task := g.m.Task.(*jobs.Certify)
	c := report.NewCertifyRun(g.sub.Name, task.Method, task.Ladder, &w.Options)
	c.Seconds = g.result.Seconds
	c.Timings.Proof, c.Timings.Proved = g.result.Seconds, len(p.Done)
	c.Fill(p, w.Log.Pred, g.sub.Y)
	g.result.Certify = &c
	return p.Check(w.Log.Pred)
}

func (g *merging) sumSmooth(w *jobs.SmoothWork) {
	task := g.m.Task.(*jobs.Smooth)
	c := report.NewSmoothRun(g.sub.Name, g.m.Data.Offset, task.Predict, task.Defence, task.Winograd, w.Smoother)
	drawn := int64(0)
	for i := range w.Log.Results {
		drawn += int64(w.Log.Results[i].Drawn)
	}
	c.Seconds, c.PerSecond = g.result.Seconds, show.PerSecond(drawn, g.result.Seconds)
	c.Fill(w.Log.Results, w.Log.Done, g.sub.Y)
	g.result.Smooth = &c
}

// sumAttack also checks the adversarial images, by a pass of their own.
func (g *merging) sumAttack(ctx context.Context, w *jobs.AttackWork) error {
	task := g.m.Task.(*jobs.Attack)
	r := report.NewAttackRun(g.sub.Name, g.m.Data.Offset, &w.Config)
	r.Unlimited, r.Seconds = task.Unlimited, g.result.Seconds
	r.Fill(w.Result, len(g.sub.Y))
	c := audit.Case{Target: g.sub.Target(), Pool: g.sub.Pool, Level: audit.LevelOff, Progress: func(string, int, int) {}}
	c.Config, c.Batch, c.Result = w.Config, attack.Batch{X: g.sub.X, Y: g.sub.Y, First: g.m.Data.Offset}, w.Result
	r.Checks = audit.Diagnose(ctx, c)
	g.result.Attack = &r
	failure := g.a.judge("at ε = "+r.EpsExact, r.Checks)
	return errors.Join(failure, g.f.out.Write(func(out io.Writer) error {
		return runlog.WriteAttack(out, g.sub.Net.Input(), g.sub.Y, g.m.Data.Offset, w.Result)
	}))
}
