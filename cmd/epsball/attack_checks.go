package main

import (
	"context"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// diagnose runs the checks on what an attack found. After ^C only those that look at the
// result alone are run.
func (a *app) diagnose(ctx context.Context, f *attackFlags, s *input.Subject, front *front, cfg *attack.Config, r *report.AttackRun, res *attack.Result, bar *show.Bar) error {
	level := f.checks.v
	if r.Interrupted != nil {
		level = audit.LevelOff
	}
	c, err := a.newCase(level, s, front, func(check string, done, total int) { bar.Show("check "+check, done, total) })
	if err != nil {
		return err
	}
	c.Config, c.Batch, c.Result = *cfg, attack.Batch{X: s.X, Y: s.Y, First: f.data.Offset}, res
	r.Checks = audit.Diagnose(ctx, c)
	bar.Clear()
	return nil
}

// newCase is what checks need to know of a subject, whatever the attack on it.
func (a *app) newCase(level audit.Level, s *input.Subject, front *front, progress func(check string, done, total int)) (c audit.Case, err error) {
	c = audit.Case{Target: s.Target(), Pool: s.Pool, Level: level, Progress: progress}
	if front.judge != nil {
		c.Attacked = front.attacked
	}
	if level != audit.LevelOff {
		c.Surrogates, err = a.surrogates(s)
	}
	return c, err
}

// judge prints the warnings of checks of what, and returns the first check that failed or
// was stopped as an error.
func (a *app) judge(what string, checks []audit.Finding) (failure error) {
	for _, f := range checks {
		switch f.Verdict {
		case audit.Warn:
			a.logf("warning: check %s %s: %s", f.Name, what, f.Detail)
		case audit.Fail, audit.Stopped:
			if failure == nil {
				failure = undecided("check %s: %s", f.Name, f.Detail)
			}
		}
	}
	return failure
}

// surrogates are the built-in models that take the subject's images, without itself.
func (a *app) surrogates(s *input.Subject) (list []audit.Surrogate, err error) {
	for _, spec := range a.models.OverviewSpecs() {
		m, err := a.models.Load(spec)
		if err != nil {
			return nil, err
		}
		if m.Arch.Input != s.Model.Arch.Input || m.Arch.Classes() != s.Model.Arch.Classes() || m.Hash() == s.Model.Hash() {
			continue
		}
		n, err := net.Compile(m, net.Options{ISA: a.isa.Name(), Backward: true})
		if err != nil {
			return nil, err
		}
		list = append(list, audit.Surrogate{Name: spec, Target: n})
	}
	return list, nil
}

// stopGrace is what ^C leaves the checks: those not done by then are reported
// as not done.
const stopGrace = 250 * time.Millisecond

// grace returns a context that ends a little later than ctx.
func grace(ctx context.Context) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })
	return later, func() { stop(); cancel() }
}
