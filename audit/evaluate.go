// Package audit does what needs attack and proof together: the evaluation of a
// classifier from both sides, and the check that they never contradict each
// other.
package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// Options say how Evaluate looks at a classifier.
type Options struct {
	Ball  net.Ball
	Steps int    // of PGD, steps of ε/4 from one random start
	Seed  uint64 // of the random start
	First int    // index of the first image, for the random numbers

	// Progress, if not nil, is called from any goroutine with the pass that
	// runs ("clean", "fgsm", "pgd", "certify"), and how many images are done.
	Progress func(pass string, done, total int)
}

// Evaluation is what is known of a classifier on a set of images: of all n,
// the fractions classified correctly, still so under each attack, and proved
// to be so for the whole ball. Clean ≥ FGSM, Clean ≥ PGD ≥ Certified.
type Evaluation struct {
	Eps       float64    `json:"eps"`
	Norm      string     `json:"norm"`
	N         int        `json:"n"`
	Clean     float64    `json:"clean"`
	FGSM      float64    `json:"fgsm"`
	PGD       float64    `json:"pgd"`
	Certified float64    `json:"certified"`
	Speed     Throughput `json:"images_per_s"`
	Seconds   float64    `json:"seconds"`
}

// Throughput is in images (of a PGD step: image-steps) a second, over the
// whole pass with all its workers.
type Throughput struct {
	Forward float64 `json:"forward"`
	PGDStep float64 `json:"pgd_step"`
	IBP     float64 `json:"ibp"`
}

// Contradiction is the error of an image both attacked and certified: a bug in
// this module, or hardware that miscalculates.
type Contradiction struct {
	Image int
	Ball  net.Ball
}

func (c *Contradiction) Error() string {
	return fmt.Sprintf("image %d: both attacked and certified in the ball %v; neither result can be trusted, please report this", c.Image, c.Ball)
}

// Evaluate runs all passes on the n = len(y) images of x, channels first,
// pixels in [0, 1]. The network must be compiled with backward passes. A
// result that contradicts another is a *Contradiction.
func Evaluate(ctx context.Context, n *net.Network, pool *kernels.Pool, x []float32, y []int, o Options) (*Evaluation, error) {
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	begin := time.Now()
	total := len(y)
	e := &Evaluation{Eps: o.Ball.Eps.Float64(), Norm: o.Ball.Norm.String(), N: total}
	if err := n.CheckLabels(y, total); err != nil {
		return nil, err
	}
	if total == 0 {
		return nil, fmt.Errorf("images: none, want at least one")
	}

	o.Progress("clean", 0, total)
	logits := make([]float32, total*n.Classes())
	start := time.Now()
	if err := n.NewRunner(pool).Logits(ctx, logits, x, total); err != nil {
		return nil, err
	}
	e.Speed.Forward = perSecond(int64(total), start)
	o.Progress("clean", total, total)
	c := n.Classes()
	clean := 0
	for i, label := range y {
		if net.Argmax(logits[i*c:(i+1)*c]) == label {
			clean++
		}
	}

	run := func(pass string, cfg attack.Config) (*attack.Result, time.Time, error) {
		cfg.Progress = func(done int) { o.Progress(pass, done, total) }
		a, err := attack.New(n, cfg, pool)
		if err != nil {
			return nil, start, err
		}
		res := new(attack.Result)
		start := time.Now()
		return res, start, a.Run(ctx, attack.Batch{X: x, Y: y, First: o.First}, res)
	}
	fgsm, _, err := run("fgsm", attack.FGSM(o.Ball, false, o.Seed))
	if err != nil {
		return nil, err
	}
	pgd, start, err := run("pgd", attack.PGD(o.Ball, o.Steps, o.Seed))
	if err != nil {
		return nil, err
	}
	e.Speed.PGDStep = perSecond(pgd.ImageSteps, start)

	ibp, err := verify.NewIBP(n, pool)
	if err != nil {
		return nil, err
	}
	o.Progress("certify", 0, total)
	var cert verify.Result
	start = time.Now()
	if err := ibp.Certify(ctx, o.Ball, verify.Batch{X: x, Y: y}, &cert); err != nil {
		return nil, err
	}
	e.Speed.IBP = perSecond(int64(total), start)
	o.Progress("certify", total, total)

	for _, a := range []*attack.Result{fgsm, pgd} {
		if err := Check(o.Ball, x, a, &cert, o.First); err != nil {
			return nil, err
		}
	}
	_, fromAttack, robustFGSM := fgsm.Count()
	_, _, robustPGD := pgd.Count()
	if fromAttack != clean {
		return nil, fmt.Errorf("%d images correct in the forward pass, %d in the attack: please report this", clean, fromAttack)
	}
	_, certified := cert.Count()
	fraction := func(k int) float64 { return float64(k) / float64(total) }
	e.Clean, e.FGSM, e.PGD, e.Certified = fraction(clean), fraction(robustFGSM), fraction(robustPGD), fraction(certified)
	e.Seconds = time.Since(begin).Seconds()
	return e, nil
}

// Check compares what an attack found with what was certified on the same
// images and the same ball: a point in the ball that is misclassified and a
// certificate for its image are a *Contradiction, and so is a certificate for
// an image that is wrong itself.
func Check(ball net.Ball, x []float32, a *attack.Result, v *verify.Result, first int) error {
	size := 0
	if len(a.Done) > 0 {
		size = len(x) / len(a.Done)
	}
	for i, certified := range v.Certified {
		if !certified || !v.Done[i] || !a.Done[i] {
			continue
		}
		at := func(s []float32) []float32 { return s[i*size : (i+1)*size] }
		if !a.Clean[i] || a.Success[i] && ball.Contains(at(x), at(a.Adv)) {
			return &Contradiction{first + i, ball}
		}
	}
	return nil
}

func perSecond(n int64, start time.Time) float64 {
	return float64(n) / max(time.Since(start).Seconds(), 1e-9)
}
