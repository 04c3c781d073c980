package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/audit"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

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
	return f.plot.write(c.chart().WriteSVG)
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
