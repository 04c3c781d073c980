package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/internal/outfile"
	"github.com/epsball/epsball/jobs"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

type certifyFlags struct {
	models     []string
	data       data
	method     *value[verify.Method]
	ladder     bool
	iterations int
	timeout    float64 // seconds of an image, of bab
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

func newCertifyFlags() *certifyFlags {
	return &certifyFlags{
		method: namedFlag("method", "ibp", audit.ProofMethods(), audit.ParseProofMethod), norm: normFlag(), radii: radiiFlag(""),
		resolution: positiveFlag("0.001"), maxRadius: positiveFlag(""),
		out: outfile.Output{Flag: "out", Appended: true, Resumable: true}, plot: outfile.Output{Flag: "plot", Kind: outfile.Plot},
	}
}

func (a *app) certifyCommand() *cobra.Command {
	f := newCertifyFlags()
	c := &cobra.Command{
		Use:   "certify",
		Short: "Prove that no image of a ball is misclassified",
		Long: `Proves for each image that every image of the ball around it is classified as its
label, in exact arithmetic and as executed in float32 in any order of summation.
Fractions are of all images.

  method       bounds                                            cost of an image
  ibp          intervals                                         two forward passes
  crown-ibp    intervals, the margins by linear relaxation       some backward passes
  crown        every unstable neuron by linear relaxation        hundreds of them
  alpha-crown  the same, slopes optimised                        tens of times crown
  bab          crown, then branch and bound                      up to --timeout

Cheaper methods run first; each next one, up to --method, runs only on images that are
still undecided (--ladder=false: only --method runs).

bab attacks what crown leaves open, and divides the ball until it is proved or an
adversarial example is found: each image is certified, attacked, or open after --timeout
seconds. Images that are misclassified as they are count as attacked. With --out it uses
what certificates can state alone, and takes longer.

With --eps, certified are the images proved at that radius. With --radius, the robust
radius of each image is bracketed. From below it is the largest multiple of
--resolution, up to --max-radius, at which the image is proved; from above, the smallest
at which an attack (PGD, --attack-steps; 0: none) fools it. Certified are then the
images proved at a radius above 0; the others count as 0 in mean_radius. --plot draws
both sides. bab closes in on what is between them, and says how far.

Several models, or several radii (--eps 0.02,0.05,0.1), get a line each; --plot draws
the curve of each model over the radius.

With --out, each image gets a line (docs/certificate.md) that check proves anew: its
certificate, or that there is none. Lines are written and synced as proofs are found;
with --resume, a run that was killed continues. Without --resume or --force an existing
file is left alone, and a file that another process is writing is always left alone.

After ^C, fractions are of the first images only, as far as all of them are done, and
the range is printed in which the certified accuracy of all images lies.`,
		Example: `  epsball certify --model builtin:mnist-small-ibp-0.1 --eps 0.1
  epsball certify --model net.onnx --method alpha-crown --eps 2/255 --data cifar --n 100
  epsball certify --model builtin:mnist-small-pgd-0.1 --method bab --eps 0.1 --n 20 --timeout 10
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
	f.addMethodFlags(c)
	fl.StringVar(&f.plot.Path, "plot", "", "`file` for the curve of certified accuracy over the radius (.svg), with --radius or several --eps")
	fl.StringVar(&f.out.Path, "out", "", "`file` for the certificates, one a line; -: standard output, and the report to stderr")
	fl.BoolVar(&f.resume, "resume", false, "go on with the certificates that --out has")
	refuseDefence(c)
	addForce(c, &f.force)
	return c
}

// addMethodFlags declares what is proved, and how.
func (f *certifyFlags) addMethodFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.Var(f.method, "method", "how to prove: "+strings.Join(audit.ProofMethods(), ", "))
	fl.BoolVar(&f.ladder, "ladder", true, "try the cheaper methods first")
	fl.IntVar(&f.iterations, "iterations", 0, "gradient steps of alpha-crown (default 20)")
	fl.Float64Var(&f.timeout, "timeout", 60, "`seconds` after which bab gives up an image; 0: never")
	fl.Var(f.norm, "norm", strings.Join(boundNorms(), ", "))
	fl.Var(f.radii, "eps", "radius of the ball, such as 0.1 or 8/255, or several: 0.02,0.05,0.1")
	fl.BoolVar(&f.radius, "radius", false, "find the largest certified radius of each image instead")
	fl.Var(f.resolution, "resolution", "step between the radii tried")
	fl.Var(f.maxRadius, "max-radius", "largest radius tried (default 1; l2: 16, l1: 64)")
	fl.IntVar(&f.attackSteps, "attack-steps", 40, "steps of each attack of --radius; 0: proofs alone (l1: always)")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the attacks' random starts")
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
	case f.iterations < 0 || f.iterations > jobs.MaxIterations:
		return fmt.Errorf("--iterations: got %d, want 1 … %d, or 0 for 20", f.iterations, jobs.MaxIterations)
	case f.iterations != 0 && f.method.v != verify.MethodAlphaCROWN:
		return fmt.Errorf("--iterations: has no meaning with --method %s", f.method.v)
	case !(f.timeout >= 0 && f.timeout <= mostSeconds):
		return fmt.Errorf("--timeout: got %v, want seconds from 0 (none) to %g", f.timeout, float64(mostSeconds))
	case f.method.v != verify.MethodBaB && f.given("timeout"):
		return fmt.Errorf("--timeout: has no meaning with --method %s", f.method.v)
	case f.method.v == verify.MethodBaB && f.given("ladder"):
		return errors.New("--ladder: has no meaning with --method bab, which tries the cheaper methods first")
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
		if name == "seed" && f.method.v == verify.MethodBaB {
			continue
		}
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
	release, err := a.claim(f.force, inputs(f.data.Spec, f.models), &f.out, &f.plot)
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
