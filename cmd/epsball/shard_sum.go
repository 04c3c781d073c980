package main

import (
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/runlog"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/smooth"
)

// mergedImages is what is known of the images of some blocks.
type mergedImages struct {
	y []int

	proving audit.Proving // empty: of another kind
	pred    []int
	wrong   error // a contradiction

	smoother *smooth.Smoother // of the last block; nil: of another kind
	done     []bool
	results  []smooth.Result

	attack *jobs.AttackWork // of all
}

// add takes the next block.
func (t *mergedImages) add(work jobs.Work, y []int) {
	t.y = append(t.y, y...)
	switch w := work.(type) {
	case *jobs.CertifyWork:
		if t.pred == nil {
			t.proving.ProveOptions = w.Options
		}
		t.proving.Append(w.Proving)
		t.pred = append(t.pred, w.Log.Pred...)
		t.wrong = cmp.Or(t.wrong, w.Proving.Check(w.Log.Pred))
	case *jobs.SmoothWork:
		t.smoother = w.Smoother // one before would keep its images
		t.done, t.results = append(t.done, w.Log.Done...), append(t.results, w.Log.Results...)
	case *jobs.AttackWork:
		t.attack = w
	}
}

// sum fills in the result of all images.
func (g *merging) sum(ctx context.Context) error {
	switch t := &g.total; {
	case t.pred != nil:
		g.sumCertify()
		return t.wrong
	case t.smoother != nil:
		g.sumSmooth()
		return nil
	}
	return g.sumAttack(ctx, g.total.attack)
}

func (g *merging) sumCertify() {
	t, task := &g.total, g.m.Task.(*jobs.Certify)
	p := &t.proving
	p.Whole = len(p.Done)
	c := report.NewCertifyRun(g.sub.Name, task.Method, task.Ladder, &p.ProveOptions)
	c.Seconds = g.result.Seconds
	c.Timings.Proof, c.Timings.Proved = g.result.Seconds, len(p.Done)
	c.Fill(p, t.pred, t.y)
	g.result.Certify = &c
}

func (g *merging) sumSmooth() {
	t, task := &g.total, g.m.Task.(*jobs.Smooth)
	c := report.NewSmoothRun(g.sub.Name, g.m.Data.Offset, task.Predict, task.Defence, task.Winograd, t.smoother)
	drawn := int64(0)
	for i := range t.results {
		drawn += int64(t.results[i].Drawn)
	}
	c.Seconds, c.PerSecond = g.result.Seconds, show.PerSecond(drawn, g.result.Seconds)
	c.Fill(t.results, t.done, t.y)
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
