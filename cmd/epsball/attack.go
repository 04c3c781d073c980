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
	attack   *value[string]
	norm     *value[net.Norm]
	eps      *value[net.Epsilon]
	steps    int
	stepSize *value[net.Epsilon]
	restarts int
	targeted bool
	random   bool
	loss     *value[net.Loss]
	seed     uint64
	out      string

	given func(flag string) bool // on the command line
}

type attackReport struct {
	Model        string    `json:"model"`
	Data         string    `json:"data"`
	Offset       int       `json:"offset"`
	Attack       string    `json:"attack"`
	Norm         string    `json:"norm"`
	Eps          float64   `json:"eps"`
	Steps        int       `json:"steps"`
	StepSize     float64   `json:"step_size"`
	Restarts     int       `json:"restarts"`
	RandomStart  bool      `json:"random_start"`
	Targeted     bool      `json:"targeted"`
	Loss         string    `json:"loss"`
	Seed         uint64    `json:"seed"`
	N            int       `json:"n"`
	Clean        float64   `json:"clean"`
	Robust       float64   `json:"robust"`
	Success      int       `json:"success"`
	MeanDistance *distance `json:"mean_distance"` // over successes; null if there are none
	ImageSteps   int64     `json:"image_steps"`
	Seconds      float64   `json:"seconds"` // of the attack alone
	Checks       []check   `json:"checks"`
	ISA          string    `json:"isa"`
	Threads      int       `json:"threads"`
	Hints        []string  `json:"hints"` // what may be wrong with the input
}

type distance struct {
	Linf float64 `json:"linf"`
	L2   float64 `json:"l2"`
}

func (a *app) attackCommand() *cobra.Command {
	f := &attackFlags{
		attack: choiceFlag("attack", "pgd", "fgsm", "pgd"), norm: attackNormFlag(), eps: epsilonFlag("0.1"),
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
each image), y (labels), pred (predicted at x), success, index (in the data).
Images that were wrong from the start are written as they are.`,
		Example: `  epsball attack --model builtin:mnist-small-standard --eps 0.1
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
	fl.Var(f.attack, "attack", "fgsm or pgd")
	fl.Var(f.norm, "norm", "linf or l2")
	fl.Var(f.eps, "eps", "radius of the ball, such as 0.1 or 8/255")
	fl.IntVar(&f.steps, "steps", 40, "gradient steps of a restart (fgsm: 1)")
	fl.Var(f.stepSize, "step-size", "length of a step, in pixel units (default ε/4; fgsm: ε, or 1.25·ε from a random start)")
	fl.IntVar(&f.restarts, "restarts", 1, "runs an image gets until one fools it")
	fl.BoolVar(&f.targeted, "targeted", false, "climb towards a wrong class instead of away from the label")
	fl.BoolVar(&f.random, "random-start", true, "start at a random point of the ball; fgsm only if given")
	fl.Var(f.loss, "loss", "ce, margin or dlr")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the random starts")
	fl.StringVar(&f.out, "out", "", "`file` for the adversarial images (.npz)")
	return c
}

// config turns the flags into an attack.
func (f *attackFlags) config() (attack.Config, error) {
	ball := net.Ball{Norm: f.norm.v, Eps: f.eps.v}
	if err := checkBall("eps", f.eps.text, ball); err != nil {
		return attack.Config{}, err
	}
	if f.restarts < 1 {
		return attack.Config{}, fmt.Errorf("--restarts: got %d, want at least 1", f.restarts)
	}
	var c attack.Config
	if f.attack.v == "fgsm" {
		if f.given("steps") && f.steps != 1 {
			return c, fmt.Errorf("--steps: got %d, but fgsm has one step; use --attack pgd", f.steps)
		}
		c = attack.FGSM(ball, f.given("random-start") && f.random, f.seed)
	} else {
		if f.steps < 1 {
			return c, fmt.Errorf("--steps: got %d, want at least 1", f.steps)
		}
		c = attack.PGD(ball, f.steps, f.seed)
		c.RandomStart = f.random
	}
	if f.stepSize.set {
		c.StepSize = f.stepSize.v.Float64()
	}
	c.Restarts, c.Targeted, c.Loss = f.restarts, f.targeted, f.loss.v
	return c, nil
}

func (a *app) attack(ctx context.Context, f *attackFlags) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	if err := checkOut("out", f.out); err != nil {
		return err
	}
	s, err := a.subject(f.model, &f.data)
	if err != nil {
		return err
	}
	r := a.newAttackReport(f, s, cfg)
	bar := a.newBar()
	cfg.Progress = func(done int) { bar.show(f.attack.v, done, f.data.n) }
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
	if err != nil {
		failure = interrupted("%d of %s done", countTrue(res.Done), count(f.data.n, "image"))
	}

	r.fill(res)
	if f.out != "" && r.N > 0 {
		if err := f.write(s, res); err != nil {
			failure = fmt.Errorf("--out: %w", err)
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
	if r.N == f.data.n { // those that are done early are not like the others
		r.Hints = append(r.Hints, chanceHint(r.Clean, r.N, s.net.Classes())...)
	}
	err = a.print(r, func() string { return attackTable(r, f) })
	a.hint(r.Hints)
	return errors.Join(err, failure)
}

func (a *app) newAttackReport(f *attackFlags, s *subject, c attack.Config) *attackReport {
	r := &attackReport{
		Model: s.name, Data: f.data.spec, Offset: f.data.offset, Attack: f.attack.v, Norm: f.norm.v.String(), Eps: f.eps.v.Float64(),
		Steps: c.Steps, StepSize: c.StepSize, Restarts: c.Restarts, RandomStart: c.RandomStart, Targeted: c.Targeted,
		Loss: c.Loss.String(), Seed: c.Seed, ISA: a.isa.Name(), Threads: a.threads,
	}
	if r.StepSize == 0 { // the attack's own default
		r.StepSize = r.Eps
		if r.Steps > 1 {
			r.StepSize /= 4
		}
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

// fill sums up the images that are done.
func (r *attackReport) fill(res *attack.Result) {
	done, clean, robust := res.Count()
	r.N, r.Clean, r.Robust = done, fraction(clean, done), fraction(robust, done)
	r.Success, r.ImageSteps = clean-robust, res.ImageSteps
	if r.Success == 0 {
		return
	}
	r.MeanDistance = new(distance)
	for i, ok := range res.Success {
		if ok && res.Done[i] {
			r.MeanDistance.Linf += res.Linf[i] / float64(r.Success)
			r.MeanDistance.L2 += res.L2[i] / float64(r.Success)
		}
	}
}

// write saves the images that are done.
func (f *attackFlags) write(s *subject, res *attack.Result) error {
	in := s.net.Input()
	var x []float32
	var y, p, index []int64
	var success []bool
	for i, done := range res.Done {
		if done {
			x = append(x, s.image(res.Adv, i)...)
			y = append(y, int64(s.y[i]))
			p = append(p, int64(res.Label[i]))
			success = append(success, res.Success[i])
			index = append(index, int64(f.data.offset+i))
		}
	}
	n := len(y)
	return dataset.WriteFile(f.out, func(w io.Writer) error {
		return dataset.WriteNPZ(w, []dataset.NamedArray{
			{Name: "x", Shape: []int{n, in.C, in.H, in.W}, Data: x},
			{Name: "y", Shape: []int{n}, Data: y},
			{Name: "pred", Shape: []int{n}, Data: p},
			{Name: "success", Shape: []int{n}, Data: success},
			{Name: "index", Shape: []int{n}, Data: index},
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
	if r.N == 0 {
		return ""
	}
	how := fmt.Sprintf("%s, %s ε = %s, %s of %.4g", r.Attack, r.Norm, f.eps.text, count(r.Steps, "step"), r.StepSize)
	if r.RandomStart {
		how += ", " + count(r.Restarts, "random start")
	}
	if r.Targeted {
		how += ", targeted"
	}
	distance := "–"
	if d := r.MeanDistance; d != nil {
		distance = fmt.Sprintf("linf %.4g, l2 %.4g", d.Linf, d.L2)
	}
	pairs := []string{
		"model", r.Model,
		"data", fmt.Sprintf("%s, n = %d", r.Data, r.N),
		"attack", how + ", loss " + r.Loss,
		"clean", percent(r.Clean),
		"robust", percent(r.Robust),
		"fooled", strconv.Itoa(r.Success),
		"mean distance", distance,
		"time", fmt.Sprintf("%s, %d image steps, %s/s", seconds(r.Seconds), r.ImageSteps, rate(perSecond(r.ImageSteps, r.Seconds))),
	}
	for _, c := range r.Checks {
		pairs = append(pairs, "check "+c.Name, c.verdict()+": "+c.Detail)
	}
	if f.out != "" {
		pairs = append(pairs, "written", f.out)
	}
	return facts(pairs...)
}
