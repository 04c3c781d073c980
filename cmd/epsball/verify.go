package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/checkpoint"
	"github.com/epsball/epsball/internal/input"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/internal/query"
	"github.com/epsball/epsball/internal/show"
	"github.com/epsball/epsball/internal/vnnlib"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify/branch"
)

// mostSeconds is the longest --timeout.
const mostSeconds = jobs.MaxTimeout

type verifyFlags struct {
	networks      []string
	timeout       float64
	seed          uint64
	memory        string
	checkpoint    outfile.Output
	out           outfile.Output // certificates
	resume, force bool

	failed error // to write the checkpoint
}

func (a *app) verifyCommand() *cobra.Command {
	f := verifyFlags{checkpoint: outfile.Output{Flag: "checkpoint", ByPath: true, Resumable: true}, out: outfile.Output{Flag: "out"}}
	c := &cobra.Command{
		Use:   "verify NET PROPERTY.vnnlib | verify QUERY.vnnlib --network NAME=NET",
		Short: "Decide a property file: prove it, or find a witness against it",
		Long: `Decides whether a network has an input that a property file (VNN-LIB 1 or 2,
docs/vnnlib.md) asks for. The first line is

  unsat    there is none: proved in real numbers, and as executed in float32 in any
           order of summation
  sat      there is one: it follows, with the outputs there
  unknown  neither was shown
  timeout  nor within --timeout

The second form is that of the standard VNN-LIB 2.0: --network gives the network that
the file declares by name. Its timed-out stands for timeout, and after sat come the
tensors of the file, each with its name, type and shape and then a value a line.
Without it, the witness is an S-expression as in VNN-COMP. epsball supports says which
queries are answered.

Interval and linear bounds come first, then an attack, then branch and bound over the
signs of ReLUs. Every witness is judged in exact arithmetic and as executed here. A
query about real numbers is answered by the former, one about float32 by the latter;
a line on standard error says what both are, and --json has them.

With --checkpoint, how far the search has come is written every minute, at --timeout and
on ^C, and the same command with --resume goes on from there, also after a crash. The
file serves this network, property and version of epsball alone, and is removed after
unsat and sat. --timeout, --memory and --threads may change.

--memory limits what the open parts of branch and bound hold, by an estimate: beyond it
most keep their splits and bounds alone, and then the search goes depth first. What the
network and the parts being bounded take comes on top.

With --out, certificates of unsat are written, one for each region that the property asks
about: epsball check proves them anew, with a checker that shares no code with this
(docs/certificate.md). They are checked as they are written, which --timeout does not
limit. With --checkpoint, runs that go on from each other all want --out, or none; --memory
counts proved parts, too.

Exit status: 0 after unsat and sat, 1 after unknown and timeout, 2 for bad input.`,
		Example: `  epsball verify net.onnx prop.vnnlib --timeout 60
  epsball verify mnist-net_256x4.onnx.gz prop_3_0.05.vnnlib.gz --json
  epsball verify query.vnnlib --network f=net.onnx --timeout 60
  epsball verify net.onnx prop.vnnlib --out proof.jsonl
  epsball verify net.onnx prop.vnnlib --timeout 3600 --memory 4G --checkpoint prop.checkpoint`,
		Args: func(c *cobra.Command, args []string) error {
			switch given := c.Flags().Changed("network"); {
			case given && len(args) != 1:
				return fmt.Errorf("verify: got %d arguments and --network, want one, a property file", len(args))
			case !given && len(args) != 2:
				return fmt.Errorf("verify: got %d arguments, want a network and a property file, or a property file and --network NAME=NET", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				return a.verify(c.Context(), args[0], args[1], &f)
			}
			return a.verify(c.Context(), "", args[0], &f)
		},
	}
	c.Flags().StringArrayVar(&f.networks, "network", nil, "`NAME=NET`: the network that the file declares as NAME")
	c.Flags().Float64Var(&f.timeout, "timeout", 0, "`seconds` after which to give up; 0: never")
	c.Flags().StringVar(&f.memory, "memory", "0", "`bytes` that open parts of branch and bound may hold, as 512M or 4G; 0: any number")
	c.Flags().StringVar(&f.out.Path, "out", "", "`file` for certificates of what is proved, for epsball check; -: standard output")
	c.Flags().StringVar(&f.checkpoint.Path, "checkpoint", "", "`file` for how far the search has come")
	c.Flags().BoolVar(&f.resume, "resume", false, "go on from the checkpoint")
	addForce(c, &f.force)
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the attack's random starts")
	return c
}

// network returns the one of --network for the network that a query declares.
func (f *verifyFlags) network(property string, q *vnnlib.Query) (spec string, err error) {
	if q.Network == "" {
		return "", fmt.Errorf("--network: %s is VNN-LIB 1, which gives networks no name: want epsball verify NET PROPERTY", property)
	}
	for _, text := range f.networks {
		name, net, ok := strings.Cut(text, "=")
		switch {
		case !ok || name == "" || net == "":
			return "", fmt.Errorf("--network: got %q, want NAME=NET, as %s=net.onnx", text, q.Network)
		case name != q.Network:
			return "", fmt.Errorf("--network: got the name %q, but %s declares %s alone", name, property, q.Network)
		case spec != "":
			return "", fmt.Errorf("--network: got %s twice, want it once", name)
		}
		spec = net
	}
	return spec, nil
}

// verify decides a property of a network; "": of that of --network.
func (a *app) verify(ctx context.Context, network, property string, f *verifyFlags) error {
	start := time.Now()
	if !(f.timeout >= 0 && f.timeout <= mostSeconds) {
		return fmt.Errorf("--timeout: got %v, want seconds from 0 (none) to %g", f.timeout, float64(mostSeconds))
	}
	memory, err := parseMemory(f.memory)
	if err != nil {
		return err
	}
	if f.resume && f.checkpoint.Path == "" {
		return errors.New("--resume: has no meaning without --checkpoint")
	}
	q, err := vnnlib.Load(property)
	if err != nil {
		return err
	}
	standard := network == ""
	if standard {
		if network, err = f.network(property, q); err != nil {
			return err
		}
	}
	m, err := a.loadModel(network)
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
	f.checkpoint.Resume = f.resume
	release, err := a.claim(f.force, []outfile.Input{{Spec: network}, {Spec: property}}, &f.checkpoint, &f.out)
	if err != nil {
		return err
	}
	defer release()
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
	o.Search.Seed, o.Branch.Memory, o.Record = f.seed, memory, f.out.Path != ""
	if err := f.keep(&o, checkpoint.Of{Version: version(), Model: m.Hash(), Questions: checkpoint.Hash(questions.List)}); err != nil {
		return err
	}
	o.Branch.Progress = func(p branch.Progress) {
		bar.Note(searchText(p))
	}
	d, err := audit.Decide(limited, n, questions.List, o, pool)
	bar.Clear()
	if err != nil {
		return f.blame(err, network)
	}
	if d.Answer != audit.Undecided {
		if err := f.dropCheckpoint(); err != nil {
			return err
		}
	}
	unwritten := a.writeProof(ctx, f, &proofOf{m, n, questions, property, pool}, d)
	r := &report.Verify{Envelope: a.envelope("verify"), Property: property, By: d.By, Parts: d.Parts, Open: d.Open}
	r.Epsball.Models = []report.Model{{Name: input.Name(network), Hash: m.Hash()}}
	r.Threads, r.ISA, r.Seed = a.threads, a.isa.Name(), &f.seed
	if low := d.Low; low-low == 0 {
		r.Low = &low
	}
	if w := d.Witness; w != nil {
		r.Witness = witness(questions, w)
	}
	if standard {
		for _, t := range []vnnlib.Tensor{q.Input, q.Output} {
			r.Tensors = append(r.Tensors, report.VerifyTensor{Name: t.Name, Type: t.Type, Shape: t.Shape})
		}
	}
	var failure error
	switch {
	case d.Answer == audit.Holds:
		r.Verdict = "unsat"
	case d.Answer == audit.Violated:
		r.Verdict = "sat"
	case ctx.Err() != nil:
		r.Verdict, failure = "unknown", interrupted("%s not decided%s", property, f.goOn())
	case limited.Err() != nil:
		r.Verdict = "timeout"
	default:
		r.Verdict = "unknown"
	}
	r.Seconds = time.Since(start).Seconds()
	if failure == nil && (r.Verdict == "timeout" || r.Verdict == "unknown") {
		failure = undecided("%s: %s%s", property, r.Summary(), f.goOn())
	} else if !a.json {
		fmt.Fprintln(a.stderr, r.Summary())
	}
	return errors.Join(a.report(r), failure, unwritten)
}

// witness is what a report says of one.
func witness(q *query.Questions, w *audit.Witness) *report.VerifyWitness {
	names, values := q.Values(w)
	return &report.VerifyWitness{Names: names, Values: values, Exact: w.Exact.String(), Executed: w.Executed.String(), Rounded: w.Rounded}
}
