package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/net"
)

type attackFlags struct {
	model    string
	data     data
	attack   *value[attack.Spec]
	norm     *value[net.Norm]
	eps      *value[net.Epsilon]
	steps    int
	stepSize *value[net.Epsilon]
	restarts int
	targeted bool
	random   bool
	loss     *value[net.Loss]
	seed     uint64
	out      output
	force    bool

	given func(flag string) bool // on the command line
}

type attackReport struct {
	Model        string    `json:"model"`
	Data         string    `json:"data"`
	Offset       int       `json:"offset"`
	Attack       string    `json:"attack"` // the textual form
	Norm         string    `json:"norm"`
	Eps          float64   `json:"eps"`
	N            int       `json:"n"`
	Clean        *float64  `json:"clean"` // null if interrupted
	Robust       *float64  `json:"robust"`
	Success      int       `json:"success"`
	MeanDistance *distance `json:"mean_distance"` // over successes; null if there are none
	ImageSteps   int64     `json:"image_steps"`
	Seconds      float64   `json:"seconds"` // of the attack alone
	Checks       []check   `json:"checks"`
	ISA          string    `json:"isa"`
	Threads      int       `json:"threads"`
	Hints        []string  `json:"hints"` // what may be wrong with the input

	Interrupted *attackProgress `json:"interrupted,omitempty"`
}

// attackProgress is what is known of all n images after ^C.
type attackProgress struct {
	Done          int        `json:"done"`
	Misclassified int        `json:"misclassified"` // as they are
	Fooled        int        `json:"fooled"`
	NotFooled     int        `json:"not_fooled"` // by the whole attack
	Resisting     int        `json:"resisting"`  // correct, and not fooled so far
	NotBegun      int        `json:"not_begun"`
	Clean         [2]float64 `json:"clean_range"` // the fractions lie in these
	Robust        [2]float64 `json:"robust_range"`
}

func percentRange(r [2]float64) string {
	return fmt.Sprintf("%s … %s", percent(r[0]), percent(r[1]))
}

type distance struct {
	Linf float64 `json:"linf"`
	L2   float64 `json:"l2"`
}

func (a *app) attackCommand() *cobra.Command {
	f := &attackFlags{
		out:    output{flag: "out", kind: arrayFile},
		attack: specFlag("pgd"), norm: attackNormFlag(), eps: epsilonFlag("0.1"),
		stepSize: positiveFlag(""), loss: namedFlag("loss", "ce", net.Losses(), net.ParseLoss),
	}
	c := &cobra.Command{
		Use:   "attack",
		Short: "Search the ball around each image for a misclassification",
		Long: `Attacks each image that the model classifies right: robust are those it could
not fool; clean and robust are fractions of all images. An image without a label
is attacked from the class predicted for it. With --targeted, restart r climbs
towards the r-th most likely wrong class; any wrong class is a success.

The result is checked independently of the attack: every adversarial image lies
in the ball (exactly) and in [0,1], and a fresh forward pass gives the same
predictions. A check that fails gives exit status 1.

--out writes an .npz that can be attacked again: x (the worst point found for
each image), y (labels), pred (predicted at x), success, index (in the data),
state (2: done; after ^C also 1: attacked without success so far, 0: not begun,
with pred -1). Images that were wrong from the start are written as they are.

After ^C, the counts of all images are given instead of fractions, and the range
in which robust accuracy lies: images that are fooled are done first, so those
that are done say little of the others.`,
		Example: `  epsball attack --model builtin:mnist-small-standard --eps 0.1
  epsball attack --model m.safetensors --attack apgd:steps=100,restarts=5 --eps 8/255
  epsball attack --model m.safetensors --data photos.npz --norm l2 --eps 1/2 --restarts 5 --out adv.npz`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.given = c.Flags().Changed
			return a.attack(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.model, "model", "", "`model` to attack (required)")
	f.data.addFlags(c, "builtin:mnist")
	fl.Var(f.attack, "attack", "fgsm, pgd or apgd, with options such as pgd:steps=100,restarts=5: see epsball help attacks")
	fl.Var(f.norm, "norm", "linf or l2")
	fl.Var(f.eps, "eps", "radius of the ball, such as 0.1 or 8/255")
	fl.IntVar(&f.steps, "steps", 40, "gradient steps of a restart (apgd: 100; fgsm: 1)")
	fl.Var(f.stepSize, "step-size", "length of a step of fgsm or pgd, in pixel units (default ε/4; fgsm: ε, or 1.25·ε from a random start)")
	fl.IntVar(&f.restarts, "restarts", 1, "runs an image gets until one fools it")
	fl.BoolVar(&f.targeted, "targeted", false, "climb towards a wrong class instead of away from the label")
	fl.BoolVar(&f.random, "random-start", true, "start pgd at a random point of the ball; fgsm only if given")
	fl.Var(f.loss, "loss", "ce, margin or dlr")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the random starts")
	fl.StringVar(&f.out.path, "out", "", "`file` for the adversarial images (.npz); -: standard output, and the report to stderr")
	addForce(c, &f.force)
	return c
}

// config turns the flags into an attack.
func (f *attackFlags) config() (attack.Config, error) {
	ball := net.Ball{Norm: f.norm.v, Eps: f.eps.v}
	if err := checkBall("eps", f.eps.text, ball); err != nil {
		return attack.Config{}, err
	}
	m, err := f.method()
	return attack.Config{Ball: ball, Method: m}, err
}

func (a *app) attack(ctx context.Context, f *attackFlags) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	release, err := a.claim(f.force, []input{{"model", f.model}, {"data", f.data.spec}}, &f.out)
	if err != nil {
		return err
	}
	defer release()
	s, err := a.subject(f.model, &f.data)
	if err != nil {
		return err
	}
	r := a.newAttackReport(f, s, cfg)
	bar := a.newBar()
	cfg.Progress = func(done int) { bar.show(cfg.Method.Name(), done, f.data.n) }
	attacker, err := attack.New(s.net, cfg, s.pool)
	if err != nil {
		return err
	}
	res := new(attack.Result)
	err = s.fillLabels(ctx, f.data.offset)
	if err == nil {
		start := time.Now()
		err = attacker.Run(ctx, attack.Batch{X: s.x, Y: s.y, First: f.data.offset}, res)
		r.Seconds = time.Since(start).Seconds()
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		bar.clear()
		return err
	}
	var failure error
	r.fill(res, f.data.n)
	if p := r.Interrupted; p != nil {
		failure = interrupted("%d of %s done; robust accuracy is between %s and %s", p.Done, count(f.data.n, "image"), percent(p.Robust[0]), percent(p.Robust[1]))
	}
	if countTrue(res.Begun) > 0 {
		if err := f.write(s, res); err != nil {
			failure = errors.Join(failure, err)
		}
	}
	r.Checks = s.checkAttack(ctx, cfg.Ball, res, bar)
	bar.clear()
	for _, c := range r.Checks {
		if !c.OK && failure == nil {
			failure = undecided("check %s: %s", c.Name, c.Detail)
		}
	}
	r.Hints = []string{}
	if r.Clean != nil {
		r.Hints = append(r.Hints, chanceHint(*r.Clean, r.N, s.net.Classes())...)
	}
	err = a.print(r, func() string { return attackTable(r, f) })
	a.hint(r.Hints)
	return errors.Join(err, failure)
}

func (a *app) newAttackReport(f *attackFlags, s *subject, c attack.Config) *attackReport {
	r := &attackReport{
		Model: s.name, Data: f.data.spec, Offset: f.data.offset, Attack: c.Method.String(), Norm: f.norm.v.String(), Eps: f.eps.v.Float64(),
		ISA: a.isa.Name(), Threads: a.threads,
	}
	return r
}

// fillLabels gives images without a label the class predicted for them; offset
// is the index of the first image.
func (s *subject) fillLabels(ctx context.Context, offset int) error {
	y := append([]int{}, s.y...)
	var pred []int
	for i, label := range y {
		if label != dataset.Unknown {
			continue
		}
		if pred == nil {
			var err error
			if pred, err = s.predict(ctx, s.x, len(y)); err != nil {
				return err
			}
		}
		if pred[i] < 0 {
			return fmt.Errorf("image %d: no label, and the model's logits are NaN", offset+i)
		}
		y[i] = pred[i]
	}
	s.y = y
	return nil
}

// predict returns the class of each of n images, −1 where the logits hold NaN.
func (s *subject) predict(ctx context.Context, x []float32, n int) ([]int, error) {
	c := s.net.Classes()
	logits := make([]float32, n*c)
	if err := s.net.NewRunner(s.pool).Logits(ctx, logits, x, n); err != nil {
		return nil, err
	}
	pred := make([]int, n)
	for i := range pred {
		pred[i] = net.Argmax(logits[i*c : (i+1)*c])
	}
	return pred, nil
}

// fill sums up n images.
func (r *attackReport) fill(res *attack.Result, n int) {
	t := res.Tally()
	t.NotBegun += n - len(res.Done) // ^C may come before the attack
	r.N, r.Success, r.ImageSteps = n, t.Fooled, res.ImageSteps
	cleanLeast, cleanMost := t.CleanRange()
	least, most := t.RobustRange()
	if done := countTrue(res.Done); done < n {
		r.Interrupted = &attackProgress{
			Done: done, Misclassified: t.Wrong, Fooled: t.Fooled, NotFooled: t.Robust, Resisting: t.Resisting, NotBegun: t.NotBegun,
			Clean:  [2]float64{fraction(cleanLeast, n), fraction(cleanMost, n)},
			Robust: [2]float64{fraction(least, n), fraction(most, n)},
		}
	} else {
		clean, robust := fraction(cleanLeast, n), fraction(least, n)
		r.Clean, r.Robust = &clean, &robust
	}
	if r.Success == 0 {
		return
	}
	r.MeanDistance = new(distance)
	for i, ok := range res.Success {
		if ok {
			r.MeanDistance.Linf += res.Linf[i] / float64(r.Success)
			r.MeanDistance.L2 += res.L2[i] / float64(r.Success)
		}
	}
}

// The values of the array state that --out has.
const (
	stateNotBegun int64 = iota
	stateResisting
	stateDone
)

// write saves all images, as far as the attack has got.
func (f *attackFlags) write(s *subject, res *attack.Result) error {
	in, n := s.net.Input(), len(res.Done)
	y, pred, index, state := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i := range n {
		y[i], pred[i], index[i] = int64(s.y[i]), int64(res.Label[i]), int64(f.data.offset+i)
		switch {
		case res.Done[i]:
			state[i] = stateDone
		case res.Begun[i]:
			state[i] = stateResisting
		default:
			state[i] = stateNotBegun
		}
	}
	return f.out.write(func(w io.Writer) error {
		return dataset.WriteNPZ(w, []dataset.NamedArray{
			{Name: "x", Shape: []int{n, in.C, in.H, in.W}, Data: res.Adv},
			{Name: "y", Shape: []int{n}, Data: y},
			{Name: "pred", Shape: []int{n}, Data: pred},
			{Name: "success", Shape: []int{n}, Data: res.Success},
			{Name: "index", Shape: []int{n}, Data: index},
			{Name: "state", Shape: []int{n}, Data: state},
		})
	})
}

func countTrue(b []bool) int {
	n := 0
	for _, v := range b {
		if v {
			n++
		}
	}
	return n
}

func attackTable(r *attackReport, f *attackFlags) string {
	distance := "–"
	if d := r.MeanDistance; d != nil {
		distance = fmt.Sprintf("linf %.4g, l2 %.4g", d.Linf, d.L2)
	}
	pairs := []string{
		"model", r.Model,
		"data", fmt.Sprintf("%s, n = %d", r.Data, r.N),
		"attack", fmt.Sprintf("%s, %s ε = %s", r.Attack, r.Norm, f.eps.text),
	}
	if p := r.Interrupted; p != nil {
		pairs = append(pairs,
			"interrupted", fmt.Sprintf("%d of %s done", p.Done, count(r.N, "image")),
			"clean", percentRange(p.Clean),
			"robust", percentRange(p.Robust),
			"misclassified", strconv.Itoa(p.Misclassified)+" as they are",
			"fooled", strconv.Itoa(p.Fooled)+" so far",
			"not fooled", strconv.Itoa(p.NotFooled),
			"resisting", strconv.Itoa(p.Resisting)+", attacked without success so far",
			"not begun", strconv.Itoa(p.NotBegun))
	} else {
		pairs = append(pairs, "clean", percent(*r.Clean), "robust", percent(*r.Robust), "fooled", strconv.Itoa(r.Success))
	}
	pairs = append(pairs,
		"mean distance", distance,
		"time", fmt.Sprintf("%s, %d image steps, %s/s", seconds(r.Seconds), r.ImageSteps, rate(perSecond(r.ImageSteps, r.Seconds))))
	for _, c := range r.Checks {
		pairs = append(pairs, "check "+c.Name, c.verdict()+": "+c.Detail)
	}
	if f.out.written {
		pairs = append(pairs, "written", f.out.shown())
	}
	return facts(pairs...)
}
