package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// level is what a certificate of package verify claims.
const level = "exact and float32 execution"

type certifyFlags struct {
	model      string
	data       data
	method     *value[verify.Method]
	ladder     bool
	iterations int
	norm       *value[net.Norm]
	eps        *value[net.Epsilon]
	radius     bool
	resolution *value[net.Epsilon]
	maxRadius  *value[net.Epsilon]
	out        output
	resume     bool
	force      bool

	attackSteps int // of the other side of --radius
	seed        uint64
	plot        output
	given       func(flag string) bool
}

func (a *app) certifyCommand() *cobra.Command {
	f := &certifyFlags{
		method: namedFlag("method", "ibp", verify.Methods(), verify.ParseMethod), norm: normFlag(), eps: epsilonFlag(""),
		resolution: positiveFlag("0.001"), maxRadius: positiveFlag(""),
		out: output{flag: "out", appended: true, resumable: true}, plot: output{flag: "plot", kind: plotFile},
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
	fl.StringVar(&f.model, "model", "", "`model` to certify (required)")
	f.data.addFlags(c, "builtin:mnist")
	fl.Var(f.method, "method", "how to prove: "+strings.Join(verify.Methods(), ", "))
	fl.BoolVar(&f.ladder, "ladder", true, "try the cheaper methods first")
	fl.IntVar(&f.iterations, "iterations", 0, "gradient steps of alpha-crown (default 20)")
	fl.Var(f.norm, "norm", strings.Join(net.Norms(), ", "))
	fl.Var(f.eps, "eps", "radius of the ball, such as 0.1 or 8/255")
	fl.BoolVar(&f.radius, "radius", false, "find the largest certified radius of each image instead")
	fl.Var(f.resolution, "resolution", "step between the radii tried")
	fl.Var(f.maxRadius, "max-radius", "largest radius tried (default 1; l2: 16, l1: 64)")
	fl.IntVar(&f.attackSteps, "attack-steps", 40, "steps of each attack of --radius; 0: proofs alone (l1: always)")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the attacks' random starts")
	fl.StringVar(&f.plot.path, "plot", "", "`file` for a picture of certified accuracy against the radius (.svg)")
	fl.StringVar(&f.out.path, "out", "", "`file` for the certificates, one a line; -: standard output, and the report to stderr")
	fl.BoolVar(&f.resume, "resume", false, "go on with the certificates that --out has")
	addForce(c, &f.force)
	return c
}

func (f *certifyFlags) check() error {
	if f.resume && f.out.path == "" {
		return errors.New("--resume: has no meaning without --out")
	}
	switch {
	case f.eps.set && f.radius:
		return errors.New("--eps and --radius: want one of the two")
	case !f.eps.set && !f.radius:
		return errors.New("--eps: required, such as --eps 0.1 or --eps 8/255; or --radius, to find the largest radius proved of each image")
	}
	switch {
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
	if !f.radius {
		for _, name := range []string{"attack-steps", "seed", "plot"} {
			if f.given(name) {
				return fmt.Errorf("--%s: has no meaning without --radius", name)
			}
		}
		f.attackSteps = 0
		for name, flag := range map[string]*value[net.Epsilon]{"resolution": f.resolution, "max-radius": f.maxRadius} {
			if flag.set {
				return fmt.Errorf("--%s: has no meaning without --radius", name)
			}
		}
		return checkBall("eps", f.eps.text, net.Ball{Norm: f.norm.v, Eps: f.eps.v})
	}
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
	return nil
}

func (a *app) certify(ctx context.Context, f *certifyFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	f.out.resume = f.resume
	release, err := a.claim(f.force, []input{{"model", f.model}, {"data", f.data.spec}}, &f.out, &f.plot)
	if err != nil {
		return err
	}
	defer release()
	s, err := a.subject(f.model, &f.data)
	if err != nil {
		return err
	}
	if err := f.data.known(); err != nil {
		return err
	}
	run := &certifyRun{f: f, s: s, p: newProofs(len(s.y))}
	if run.prover, err = f.newProver(s); err == nil {
		run.search, err = f.newSearch(s)
	}
	if err != nil {
		return fmt.Errorf("model %s: %w", f.model, err)
	}
	r := f.newReport(a, s)
	n, p := len(s.y), run.p
	if f.out.path != "" {
		if run.out, err = f.openOut(s, p); err != nil {
			return err
		}
		defer run.out.close()
		if done := countTrue(p.done); done > 0 {
			a.logf("%s: %d of %s are there", f.out.path, done, count(n, "certificate"))
		}
	}
	resumed := countTrue(p.done)
	start := time.Now()
	pred, err := s.predict(ctx, s.x, n)
	r.Timings.Forward = time.Since(start).Seconds()
	if err == nil {
		proofStart := time.Now()
		bar := a.newBar()
		err = run.prove(ctx, bar)
		bar.clear()
		r.Timings.Proof = time.Since(proofStart).Seconds()
	}
	r.Seconds = time.Since(start).Seconds()
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	var failure error
	r.proved = countTrue(p.done) - resumed
	if err := r.fill(f, s, pred, p); err != nil {
		failure = err
	} else if i := r.Interrupted; i != nil {
		failure = interrupted("%d of %s done; certified accuracy is between %s and %s",
			i.Done, count(i.N, "image"), percent(i.Certified[0]), percent(i.Certified[1]))
	}
	if r.N > 0 {
		if err := r.plot(f, p); err != nil {
			failure = errors.Join(failure, err)
		}
	}
	if r.Hints = []string{}; r.Clean != nil {
		r.Hints = certifyHints(f.method.v, r.N, s.net.Classes(), *r.Clean, *r.Certified, r.Brackets)
	}
	err = a.print(r, func() string { return certifyTable(r, f) })
	a.hint(r.Hints)
	return errors.Join(err, failure)
}

// certifyRun is a run of the command under way.
type certifyRun struct {
	f      *certifyFlags
	s      *subject
	prover prover
	search *attack.RadiusSearch // nil: no attack
	p      *proofs
	out    *certificates // nil: none
}

// prove fills p for the images that are not done, block by block: what is proved
// of an image does not depend on its neighbours. Each block goes to out, if there
// is one.
func (r *certifyRun) prove(ctx context.Context, bar *bar) error {
	var todo, resumed []int
	for i, done := range r.p.done {
		if done {
			resumed = append(resumed, i)
		} else {
			todo = append(todo, i)
		}
	}
	if err := r.attackResumed(ctx, resumed, bar); err != nil {
		return err
	}
	for block := range slices.Chunk(todo, r.f.block(r.s)) {
		r.p.whole = block[0]
		bar.show(r.f.method.text, block[0], len(r.s.y))
		err := r.proveBatch(ctx, r.batch(block), block)
		if r.out != nil {
			err = errors.Join(err, r.out.write(r, block))
		}
		if err != nil {
			return err
		}
	}
	r.p.whole = len(r.s.y)
	return nil
}

// batch gathers images.
func (r *certifyRun) batch(at []int) (b verify.Batch) {
	for _, i := range at {
		b.X, b.Y = append(b.X, r.s.image(r.s.x, i)...), append(b.Y, r.s.y[i])
	}
	return b
}
