package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

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
	norm       *value[net.Norm]
	eps        *value[net.Epsilon]
	radius     bool
	resolution *value[net.Epsilon]
	maxRadius  *value[net.Epsilon]
	out        string
	resume     bool
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
	Clean      float64        `json:"clean"`
	Certified  float64        `json:"certified"`
	MeanRadius *float64       `json:"mean_radius"`
	Quantiles  []quantile     `json:"quantiles"`
	Curve      []curvePoint   `json:"certified_at"`
	Seconds    float64        `json:"seconds"`
	Timings    certifyTimings `json:"timings"`
	ISA        string         `json:"isa"`
	Threads    int            `json:"threads"`

	proved int // images of this run, not of one it resumed
}

type quantile struct {
	Q      float64 `json:"q"` // fraction of the images with at most this radius
	Radius float64 `json:"radius"`
}

type curvePoint struct {
	Radius   float64 `json:"radius"`
	Fraction float64 `json:"fraction"` // of images certified at it
}

// certifyTimings are in seconds.
type certifyTimings struct {
	Forward float64 `json:"forward"`
	IBP     float64 `json:"ibp"`
}

func (a *app) certifyCommand() *cobra.Command {
	f := &certifyFlags{
		method: newValue("method", "ibp", verify.ParseMethod), norm: normFlag(), eps: epsilonFlag(""),
		resolution: positiveFlag("0.001"), maxRadius: positiveFlag(""),
	}
	c := &cobra.Command{
		Use:   "certify",
		Short: "Prove that no image of a ball is misclassified",
		Long: `Proves for each image that no image of the ball around it is classified other
than its label: in exact arithmetic, and as executed in float32 in any order of
summation. Fractions are of all images.

With --eps, certified are the images proved at that radius. With --radius, each
image gets the largest multiple of --resolution, up to --max-radius, at which it
is proved; certified are those with a radius above 0, and images without count
as 0 in mean_radius.

With --out, each image gets a line (docs/certificate.md) that check proves anew:
its certificate, or that there is none. Lines are written and synced as the proofs
are found; with --resume, a run that was killed goes on with what is there.`,
		Example: `  epsball certify --model builtin:mnist-small-ibp-0.1 --eps 0.1
  epsball certify --model m.safetensors --radius --resolution 1/255 --norm l2 --json
  epsball certify --model builtin:mnist-small-ibp-0.1 --eps 0.1 --out certs.jsonl --resume`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.certify(c.Context(), f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.model, "model", "", "`model` to certify (required)")
	f.data.addFlags(c, "builtin:mnist")
	fl.Var(f.method, "method", "how to prove: ibp (interval bounds), or up to crown-ibp, crown or alpha-crown (linear bounds)")
	fl.Var(f.norm, "norm", "linf, l2 or l1")
	fl.Var(f.eps, "eps", "radius of the ball, such as 0.1 or 8/255")
	fl.BoolVar(&f.radius, "radius", false, "find the largest certified radius of each image instead")
	fl.Var(f.resolution, "resolution", "step between the radii tried")
	fl.Var(f.maxRadius, "max-radius", "largest radius tried (default 1; l2: 16; l1: 256)")
	fl.StringVar(&f.out, "out", "", "`file` for the certificates, one a line")
	fl.BoolVar(&f.resume, "resume", false, "go on with the certificates that --out has")
	return c
}

func (f *certifyFlags) check() error {
	if f.resume && f.out == "" {
		return errors.New("--resume: has no meaning without --out")
	}
	if err := checkOut("out", f.out); err != nil {
		return err
	}
	if f.eps.set == f.radius {
		return errors.New("want one of --eps and --radius, and not both")
	}
	if !f.radius {
		for name, flag := range map[string]*value[net.Epsilon]{"resolution": f.resolution, "max-radius": f.maxRadius} {
			if flag.set {
				return fmt.Errorf("--%s: has no meaning without --radius", name)
			}
		}
		if err := (net.Ball{Norm: f.norm.v, Eps: f.eps.v}).Validate(); err != nil {
			return fmt.Errorf("--eps: %w", err)
		}
		return nil
	}
	if !f.maxRadius.set {
		f.maxRadius.v = net.MustEpsilon("1")
		switch f.norm.v {
		case net.L2:
			f.maxRadius.v = net.MustEpsilon("16")
		case net.L1:
			f.maxRadius.v = net.MustEpsilon("256")
		}
	}
	if err := (net.Ball{Norm: f.norm.v, Eps: f.maxRadius.v}).Validate(); err != nil {
		return fmt.Errorf("--max-radius: %w", err)
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
	s, err := a.subject(f.model, &f.data)
	if err != nil {
		return err
	}
	if err := f.data.known(); err != nil {
		return err
	}
	// What a certificate cannot state must not be used for one.
	prover, err := verify.NewCROWN(s.net, s.pool, verify.Config{Method: f.method.v, Ladder: true, RowsOnly: f.out != ""})
	if err != nil {
		return fmt.Errorf("model %s: %w", f.model, err)
	}
	r := f.newReport(a, s)
	n := len(s.y)
	p := proofs{make([]bool, n), make([]bool, n), make([]float64, n), make([]int, n), make([]verify.Method, n), make([]float64, n)}
	var out *certificates
	if f.out != "" {
		if out, err = f.openOut(s, &p); err != nil {
			return err
		}
		defer out.close()
		if done := countTrue(p.done); done > 0 {
			a.logf("%s: %d of %s are there", f.out, done, count(n, "certificate"))
		}
	}
	r.proved = n - countTrue(p.done)
	start := time.Now()
	pred, err := s.predict(ctx, s.x, n)
	r.Timings.Forward = time.Since(start).Seconds()
	if err == nil {
		ibpStart := time.Now()
		bar := a.newBar()
		err = f.prove(ctx, prover, s, &p, out, bar)
		bar.clear()
		r.Timings.IBP = time.Since(ibpStart).Seconds()
	}
	r.Seconds = time.Since(start).Seconds()
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	var failure error
	if err != nil {
		failure = interrupted("%d of %s done", countTrue(p.done), count(f.data.n, "image"))
	}
	if err := r.fill(f, s, pred, &p); err != nil {
		failure = err
	}
	return errors.Join(a.print(r, func() string { return certifyTable(r, f) }), failure)
}

// proofs are the outcomes of either mode, one entry an image.
type proofs struct {
	done   []bool
	proved []bool          // right, at some radius
	radius []float64       // with --radius
	steps  []int           // with --radius: the same in units of the resolution, −1 where not proved
	method []verify.Method // without --radius: that decided
	margin []float64       // without --radius
}

// proveBlock is the number of images after which the progress is shown and
// certificates are written: by intervals, or by linear bounds, which take longer.
const (
	proveBlock  = 512
	linearBlock = 32
)

// prove fills p for the images that are not done, block by block: what is proved
// of an image does not depend on its neighbours. Each block goes to out, if there
// is one.
func (f *certifyFlags) prove(ctx context.Context, prover *verify.CROWN, s *subject, p *proofs, out *certificates, bar *bar) error {
	var todo []int
	for i, done := range p.done {
		if !done {
			todo = append(todo, i)
		}
	}
	var b verify.Batch
	size := proveBlock
	if f.method.v != verify.MethodIBP {
		size = linearBlock
	}
	for block := range slices.Chunk(todo, size) {
		bar.show(f.method.v.String(), block[0], len(s.y))
		b.X, b.Y = b.X[:0], b.Y[:0]
		for _, i := range block {
			b.X, b.Y = append(b.X, s.image(s.x, i)...), append(b.Y, s.y[i])
		}
		err := f.proveBatch(ctx, prover, b, p, block)
		if out != nil {
			err = errors.Join(err, out.write(context.WithoutCancel(ctx), prover, s, p, block))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// proveBatch fills p for the images at.
func (f *certifyFlags) proveBatch(ctx context.Context, prover *verify.CROWN, b verify.Batch, p *proofs, at []int) error {
	if !f.radius {
		var res verify.Result
		err := prover.Certify(ctx, net.Ball{Norm: f.norm.v, Eps: f.eps.v}, b, &res)
		for k, done := range res.Done {
			i := at[k]
			p.done[i], p.proved[i], p.method[i], p.margin[i] = done, res.Certified[k], res.Method[k], float64(res.Margin[k])
		}
		return err
	}
	var res verify.RadiusResult
	err := prover.Radius(ctx, f.norm.v, f.resolution.v, f.maxRadius.v, b, &res)
	for k, done := range res.Done {
		i := at[k]
		p.done[i], p.proved[i], p.radius[i], p.steps[i] = done, res.Steps[k] >= 0, res.Radius[k], res.Steps[k]
	}
	return err
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
		r.Eps = &eps
	}
	return r
}

// fill sums up the images that are done. A proof for an image that the forward
// pass got wrong is a contradiction.
func (r *certifyReport) fill(f *certifyFlags, s *subject, pred []int, p *proofs) error {
	var failure error
	var steps []int
	clean, certified, sum := 0, 0, 0.0
	for i, done := range p.done {
		if !done {
			continue
		}
		r.N++
		right := pred[i] == s.y[i]
		if right {
			clean++
		}
		ball := net.Ball{Norm: f.norm.v, Eps: f.eps.v}
		if f.radius {
			ball.Eps = f.resolution.v.Times(max(0, p.steps[i]))
			steps = append(steps, p.steps[i])
			sum += p.radius[i]
		}
		if p.proved[i] && (!f.radius || p.steps[i] > 0) {
			certified++
		}
		if p.proved[i] && !right && failure == nil {
			failure = &audit.Contradiction{Image: f.data.offset + i, Ball: ball}
		}
	}
	r.Clean, r.Certified = fraction(clean, r.N), fraction(certified, r.N)
	if f.radius {
		mean := sum / float64(max(1, r.N))
		r.MeanRadius = &mean
		r.fillRadii(steps, f.resolution.v)
	}
	return failure
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

func certifyTable(r *certifyReport, f *certifyFlags) string {
	if r.N == 0 {
		return ""
	}
	proved := fmt.Sprintf("%s at ε = %s", r.Norm, f.eps.text)
	if f.radius {
		proved = fmt.Sprintf("%s at a radius above 0, in steps of %s up to %s", r.Norm, f.resolution.v, f.maxRadius.v)
	}
	pairs := []string{
		"model", r.Model,
		"data", fmt.Sprintf("%s, n = %d", r.Data, r.N),
		"method", fmt.Sprintf("%s, proves %s", r.Method, r.Level),
		"clean", percent(r.Clean),
		"certified", percent(r.Certified) + "  " + proved,
	}
	if f.radius {
		pairs = append(pairs, "mean radius", fmt.Sprintf("%.4g", *r.MeanRadius))
	}
	pairs = append(pairs, "time", fmt.Sprintf("%s: forward %s, %s %s (%s images/s)", seconds(r.Seconds),
		seconds(r.Timings.Forward), r.Method, seconds(r.Timings.IBP), rate(perSecond(int64(r.proved), r.Timings.IBP))))
	out := facts(pairs...)
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
