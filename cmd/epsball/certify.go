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
	"github.com/epsball/epsball/audit"
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

// certifyReport has eps with --eps, and resolution, max_radius, mean_radius and
// what follows from the radii with --radius; the others are null.
type certifyReport struct {
	Model      string         `json:"model"`
	Data       string         `json:"data"`
	Offset     int            `json:"offset"`
	Method     string         `json:"method"`
	Level      string         `json:"level"`
	Norm       string         `json:"norm"`
	Eps        *float64       `json:"eps"`
	Resolution *float64       `json:"resolution"`
	MaxRadius  *float64       `json:"max_radius"`
	N          int            `json:"n"`
	Clean      *float64       `json:"clean"`
	Certified  *float64       `json:"certified"`
	MeanRadius *float64       `json:"mean_radius"`
	Quantiles  []quantile     `json:"quantiles"`
	Curve      []curvePoint   `json:"certified_at"`
	Brackets   []bracket      `json:"brackets"`   // with --radius: one an image, from offset on
	DecidedBy  map[string]int `json:"decided_by"` // without --radius: images that each method has certified
	Seconds    float64        `json:"seconds"`
	Timings    certifyTimings `json:"timings"`
	ISA        string         `json:"isa"`
	Threads    int            `json:"threads"`
	Hints      []string       `json:"hints"` // what else to try

	Interrupted *certifyProgress `json:"interrupted,omitempty"` // what precedes is of the first n images, null if n = 0

	proved int // images of this run, not of one it resumed
}

// certifyProgress is what is known of all images after ^C.
type certifyProgress struct {
	N         int        `json:"n"`
	Done      int        `json:"done"`            // also of a block that is not whole, and with --out in the file
	Certified [2]float64 `json:"certified_range"` // the fraction lies in it
}

type quantile struct {
	Q      float64 `json:"q"` // fraction of the images with at most this radius
	Radius float64 `json:"radius"`
}

type curvePoint struct {
	Radius   float64 `json:"radius"`
	Fraction float64 `json:"fraction"` // of images certified at it
}

// bracket holds the ends of what is known of an image's robust radius: null where
// it is not proved at all, or not fooled up to the largest radius.
type bracket struct {
	Certified *float64 `json:"certified"`
	Attacked  *float64 `json:"attacked"`
}

// certifyTimings are in seconds. Proof includes the attack of --radius.
type certifyTimings struct {
	Forward float64 `json:"forward"`
	Proof   float64 `json:"proof"`
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

func (f *certifyFlags) newReport(a *app, s *subject) *certifyReport {
	r := &certifyReport{
		Model: s.name, Data: f.data.spec, Offset: f.data.offset, Method: f.method.v.String(), Level: level,
		Norm: f.norm.v.String(), ISA: a.isa.Name(), Threads: a.threads,
	}
	if f.radius {
		resolution, most := f.resolution.v.Float64(), f.maxRadius.v.Float64()
		r.Resolution, r.MaxRadius = &resolution, &most
	} else {
		eps := f.eps.v.Float64()
		r.Eps, r.DecidedBy = &eps, map[string]int{}
	}
	return r
}

// fill sums up the first images, as far as all are done: within a block, those that
// are easy to prove are done first. A proof for an image that the forward pass got
// wrong is a contradiction. Without pred, ^C came before the proofs.
func (r *certifyReport) fill(f *certifyFlags, s *subject, pred []int, p *proofs) error {
	var failure error
	var steps []int
	clean, certified, sum := 0, 0, 0.0
	r.N = p.whole
	if r.N < len(p.done) {
		r.interrupt(f, s, pred, p)
	}
	for i, done := range p.done {
		if !done || pred == nil {
			continue
		}
		right := pred[i] == s.y[i]
		ball := net.Ball{Norm: f.norm.v, Eps: f.eps.v}
		if f.radius {
			ball.Eps = f.resolution.v.Times(max(0, p.steps[i]))
		}
		if p.proved[i] && !right && failure == nil {
			failure = &audit.Contradiction{Image: f.data.offset + i, Ball: ball}
		}
		if i >= p.whole {
			continue
		}
		if right {
			clean++
		}
		if p.certified(f, i) {
			certified++
		}
		if f.radius {
			steps = append(steps, p.steps[i])
			sum += p.radius[i]
			r.Brackets = append(r.Brackets, f.bracket(p, i))
		} else if p.proved[i] {
			r.DecidedBy[p.rung[i].String()]++
		}
	}
	if r.N > 0 {
		clean, certified := fraction(clean, r.N), fraction(certified, r.N)
		r.Clean, r.Certified = &clean, &certified
	}
	if f.radius && r.N > 0 {
		mean := sum / float64(r.N)
		r.MeanRadius = &mean
		r.fillRadii(steps, f.resolution.v)
	}
	return failure
}

// interrupt notes what is known of all images. A proof for one is as good as in a
// whole run; one that is not done, and that the model gets right, may be proved.
func (r *certifyReport) interrupt(f *certifyFlags, s *subject, pred []int, p *proofs) {
	r.Interrupted = &certifyProgress{N: len(p.done), Done: countTrue(p.done)}
	least, open := 0, 0
	for i, done := range p.done {
		switch {
		case p.certified(f, i):
			least++
		case !done && (pred == nil || pred[i] == s.y[i]):
			open++
		}
	}
	r.Interrupted.Certified = [2]float64{fraction(least, len(p.done)), fraction(least+open, len(p.done))}
}

func (f *certifyFlags) bracket(p *proofs, i int) (b bracket) {
	if p.proved[i] {
		b.Certified = &p.radius[i]
	}
	if f.attackSteps > 0 && p.fooled[i] >= 0 {
		r := f.resolution.v.Times(p.fooled[i]).Float64()
		b.Attacked = &r
	}
	return b
}

// plot draws the radii of the images that are summed up.
func (r *certifyReport) plot(f *certifyFlags, p *proofs) error {
	c := radiusPlot{
		title:    "Certified accuracy of " + r.Model,
		subtitle: fmt.Sprintf("%s of %s; method %s", r.images(), r.Data, r.Method),
		xLabel:   fmt.Sprintf("radius ε, %s", r.Norm), resolution: f.resolution.v.Float64(),
	}
	if f.attackSteps > 0 {
		c.subtitle += fmt.Sprintf(", attack PGD-%d", f.attackSteps)
	}
	c.certified = p.steps[:r.N]
	if f.attackSteps > 0 {
		c.attacked = p.fooled[:r.N]
	}
	return f.plot.write(c.write)
}

// images says which images are summed up.
func (r *certifyReport) images() string {
	if r.Interrupted != nil {
		return fmt.Sprintf("the first %d of %s", r.N, count(r.Interrupted.N, "image"))
	}
	return count(r.N, "image")
}

// fillRadii describes the radii, given in units of the resolution, so that no
// comparison of them rounds.
func (r *certifyReport) fillRadii(steps []int, resolution net.Epsilon) {
	slices.Sort(steps)
	n := len(steps)
	radius := func(k int) float64 { return resolution.Times(max(0, k)).Float64() }
	r.Quantiles, r.Curve = []quantile{}, []curvePoint{}
	if n == 0 {
		return
	}
	for _, percent := range []int{10, 25, 50, 75, 90, 100} {
		i := max(0, (percent*n+99)/100-1)
		r.Quantiles = append(r.Quantiles, quantile{float64(percent) / 100, radius(steps[i])})
	}
	top := steps[n-1]
	by := roundStep(top / 5)
	for k := by; k <= top; k += by {
		i, _ := slices.BinarySearch(steps, k)
		r.Curve = append(r.Curve, curvePoint{radius(k), fraction(n-i, n)})
	}
}

// roundStep returns the largest of 1, 2, 5, 10, 20, … up to v, at least 1.
func roundStep(v int) int {
	unit := 1
	for unit*10 <= v {
		unit *= 10
	}
	for _, k := range []int{5, 2} {
		if k*unit <= v {
			return k * unit
		}
	}
	return unit
}

// bracketText sums up how far apart proof and attack are.
func (r *certifyReport) bracketText() string {
	var fooled, gap float64
	n := 0
	for _, b := range r.Brackets {
		if b.Attacked == nil {
			continue
		}
		n++
		fooled += *b.Attacked
		gap += *b.Attacked
		if b.Certified != nil {
			gap -= *b.Certified
		}
	}
	if n == 0 {
		return "no image is fooled"
	}
	return fmt.Sprintf("%d of %d are fooled, at %.4g on average, %.4g above what is proved of them", n, r.N, fooled/float64(n), gap/float64(n))
}

func certifyTable(r *certifyReport, f *certifyFlags) string {
	proved := fmt.Sprintf("%s at ε = %s", r.Norm, f.eps.text)
	if f.radius {
		proved = fmt.Sprintf("%s at a radius above 0, in steps of %s up to %s", r.Norm, f.resolution.v, f.maxRadius.v)
	}
	n := r.N
	if r.Interrupted != nil {
		n = r.Interrupted.N
	}
	pairs := []string{
		"model", r.Model,
		"data", fmt.Sprintf("%s, n = %d", r.Data, n),
		"method", fmt.Sprintf("%s, proves %s", r.Method, r.Level),
	}
	if i := r.Interrupted; i != nil {
		pairs = append(pairs, "interrupted", fmt.Sprintf("%d of %s done; of all, %s are certified",
			i.Done, count(n, "image"), percentRange(i.Certified)))
	}
	var files []string
	if f.out.written {
		files = append(files, "written", f.out.shown())
	}
	if f.plot.written {
		files = append(files, "drawn", f.plot.shown())
	}
	if r.N == 0 {
		return facts(append(pairs, files...)...)
	}
	if r.Interrupted != nil {
		pairs = append(pairs, "what follows", "of "+r.images())
	}
	pairs = append(pairs, "clean", percent(*r.Clean), "certified", percent(*r.Certified)+"  "+proved)
	if len(r.DecidedBy) > 0 && f.ladder {
		var by []string
		for _, m := range verify.Methods() {
			if n := r.DecidedBy[m]; n > 0 {
				by = append(by, fmt.Sprintf("%s %d", m, n))
			}
		}
		pairs = append(pairs, "decided by", strings.Join(by, ", "))
	}
	if f.radius {
		pairs = append(pairs, "mean radius", fmt.Sprintf("%.4g", *r.MeanRadius))
		if f.attackSteps > 0 {
			pairs = append(pairs, "bracket", r.bracketText())
		}
	}
	pairs = append(pairs, "time", fmt.Sprintf("%s: forward %s, %s %s (%s images/s)", seconds(r.Seconds),
		seconds(r.Timings.Forward), r.Method, seconds(r.Timings.Proof), rate(perSecond(int64(r.proved), r.Timings.Proof))))
	out := facts(append(pairs, files...)...)
	if len(r.Quantiles) > 0 {
		t := newTable("images with at most", "radius")
		for _, q := range r.Quantiles {
			t.AppendRow([]any{fmt.Sprintf("%.0f%%", 100*q.Q), fmt.Sprintf("%.4g", q.Radius)})
		}
		out += "\n" + render(t)
	}
	if len(r.Curve) > 0 {
		t := newTable("radius", "certified")
		for _, p := range r.Curve {
			t.AppendRow([]any{fmt.Sprintf("%.4g", p.Radius), percent(p.Fraction)})
		}
		out += "\n" + render(t)
	}
	return out
}
