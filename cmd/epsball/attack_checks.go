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
	c := audit.Case{
		Target: s.Target(), Pool: s.Pool, Config: *cfg, Batch: attack.Batch{X: s.X, Y: s.Y, First: f.data.Offset}, Result: res, Level: f.checks.v,
		Progress: func(check string, done, total int) { bar.Show("check "+check, done, total) },
	}
	if front.judge != nil {
		c.Attacked = front.attacked
	}
	if r.Interrupted != nil {
		c.Level = audit.LevelOff
	}
	if c.Level != audit.LevelOff {
		var err error
		if c.Surrogates, err = a.surrogates(s); err != nil {
			return err
		}
	}
	r.Checks = audit.Diagnose(ctx, c)
	bar.Clear()
	return nil
}

// judge prints the warnings of the checks, and returns the first check that failed or was
// stopped as an error.
func (a *app) judge(r *report.AttackRun) (failure error) {
	for _, f := range r.Checks {
		switch f.Verdict {
		case audit.Warn:
			a.logf("warning: check %s at ε = %s: %s", f.Name, r.EpsExact, f.Detail)
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
	for _, spec := range a.models.Specs() {
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
