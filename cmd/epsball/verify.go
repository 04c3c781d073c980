package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify/branch"
)

type verifyFlags struct {
	timeout float64
	seed    uint64
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify NET PROPERTY.vnnlib",
		Short: "Decide a property file: prove it, or find a witness against it",
		Long: `Decides whether a network has an input that a property file (VNN-LIB 1 or 2,
docs/vnnlib.md) asks for. The first line is

  unsat    there is none: proved in real numbers, and as executed in float32 in any
           order of summation
  sat      there is one: it follows, with the outputs there
  unknown  neither was shown
  timeout  nor within --timeout

Interval and linear bounds come first, then an attack, then branch and bound over the
signs of ReLUs. Every witness is judged in exact arithmetic and as executed here. A
query about real numbers is answered by the former, one about float32 by the latter;
a line on standard error says what both are, and --json has them.

Exit status: 0 after unsat and sat, 1 after unknown and timeout, 2 for bad input.`,
		Example: `  epsball verify net.onnx prop.vnnlib --timeout 60
  epsball verify mnist-net_256x4.onnx.gz prop_3_0.05.vnnlib.gz --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("verify: got %d arguments, want a network and a property file", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.verify(c.Context(), args[0], args[1], &f) },
	}
	c.Flags().Float64Var(&f.timeout, "timeout", 0, "`seconds` after which to give up; 0: never")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the attack's random starts")
	return c
}

func (a *app) verify(ctx context.Context, network, property string, f *verifyFlags) error {
	start := time.Now()
	const most = 1e9
	if !(f.timeout >= 0 && f.timeout <= most) {
		return fmt.Errorf("--timeout: got %v, want seconds from 0 (none) to %g", f.timeout, float64(most))
	}
	m, err := a.loadModel(network)
	if err != nil {
		return err
	}
	q, err := vnnlib.Load(property)
	if err != nil {
		return err
	}
	questions, err := query.New(q, m)
	if err != nil {
		return fmt.Errorf("%s: %w", property, err)
	}
	n, err := net.Compile(m, net.Options{ISA: a.isa.Name(), Backward: true})
	if err != nil {
		return fmt.Errorf("model %s: %w", network, err)
	}
	limited := ctx
	if f.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithDeadline(ctx, start.Add(time.Duration(f.timeout*float64(time.Second))))
		defer cancel()
	}
	pool := kernels.NewPool(a.threads)
	defer pool.Close()
	bar := show.NewBar(a.stderr)
	o := audit.DecideOptions{Level: query.Level(q)}
	o.Search.Seed = f.seed
	o.Branch.Progress = func(p branch.Progress) {
		bar.Note(fmt.Sprintf("%d parts, %d open, lower bound %.4g", p.Parts, p.Open, p.Low))
	}
	d, err := audit.Decide(limited, n, questions.List, o, pool)
	bar.Clear()
	if err != nil {
		return fmt.Errorf("model %s: %w", network, err)
	}
	r := &report.Verify{Envelope: a.envelope("verify"), Property: property, By: d.By, Parts: d.Parts, Open: d.Open}
	r.Epsball.Models = []report.Model{{Name: input.Name(network), Hash: m.Hash()}}
	r.Threads, r.ISA, r.Seed = a.threads, a.isa.Name(), &f.seed
	if low := d.Low; low-low == 0 {
		r.Low = &low
	}
	if w := d.Witness; w != nil {
		names, values := questions.Values(w)
		r.Witness = &report.VerifyWitness{Names: names, Values: values, Exact: w.Exact.String(), Executed: w.Executed.String(), Rounded: w.Rounded}
	}
	var failure error
	switch {
	case d.Answer == audit.Holds:
		r.Verdict = "unsat"
	case d.Answer == audit.Violated:
		r.Verdict = "sat"
	case ctx.Err() != nil:
		r.Verdict, failure = "unknown", interrupted("%s not decided", property)
	case limited.Err() != nil:
		r.Verdict = "timeout"
	default:
		r.Verdict = "unknown"
	}
	r.Seconds = time.Since(start).Seconds()
	if failure == nil && (r.Verdict == "timeout" || r.Verdict == "unknown") {
		failure = undecided("%s: %s", property, r.Summary())
	} else if !a.json {
		fmt.Fprintln(a.stderr, r.Summary())
	}
	return errors.Join(a.report(r), failure)
}
