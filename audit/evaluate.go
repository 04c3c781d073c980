// Package audit does what needs attack and proof together: the evaluation of a
// classifier from both sides, and the check that they never contradict each
// other; proofs between the stages of a cascade of attacks; the diagnosis of an attack
// and its result; witnesses of violated properties, judged exactly and as executed; and the
// guard of a device that sees one image at a time.
package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// Options say how Evaluate looks at a classifier.
type Options struct {
	Ball    net.Ball
	Attacks []attack.Method // nil: FGSM{} and PGD{}
	First   int             // index of the first image, for the random numbers
	EOT     int             // draws a step averages, of a target that draws random numbers: attack.Config.EOT

	// Deployed, if not nil, is what the attacks are judged by (attack.Judge) instead of
	// the target that they attack: a defended network, if they attack it without its
	// defence, or one that draws random numbers. Clean is then its, too.
	Deployed attack.Target

	// Found, if not nil, is called with what each attack found once that is done and
	// judged, for Diagnose to look at.
	Found func(ctx context.Context, c attack.Config, b attack.Batch, res *attack.Result)

	// Progress, if not nil, is called from any goroutine with the pass that
	// runs (one of Passes), and how many images are done.
	Progress func(pass string, done, total int)
}

// Evaluation is what is known of a classifier on a set of images: the fractions of all
// n images that are classified correctly, remain so under each attack, and are proved
// correct in the whole ball. Clean ≥ each Robust ≥ Certified.
type Evaluation struct {
	Eps       float64    `json:"eps"`
	Norm      string     `json:"norm"`
	N         int        `json:"n"`
	Clean     float64    `json:"clean"`
	Attacks   []Attacked `json:"attacks"`
	Certified float64    `json:"certified"`
	Speed     Throughput `json:"images_per_s"`
	Seconds   float64    `json:"seconds"`

	// NotRun names the passes that a cancelled evaluation did not finish, whose
	// fields are 0.
	NotRun []string `json:"not_run,omitempty"`
}

// Attacked is what one attack leaves.
type Attacked struct {
	Attack string  `json:"attack"` // its textual form
	Robust float64 `json:"robust"` // fraction still classified correctly
}

// The passes before and after the attacks, which are called by their textual form.
const (
	PassClean   = "clean"
	PassCertify = "certify"
)

// Passes lists the passes of an evaluation in order.
func (o *Options) Passes() []string {
	passes := []string{PassClean}
	for _, m := range o.attacks() {
		passes = append(passes, m.String())
	}
	return append(passes, PassCertify)
}

func (o *Options) attacks() []attack.Method {
	if o.Attacks == nil {
		return []attack.Method{attack.FGSM{}, attack.PGD{}}
	}
	return o.Attacks
}

// Throughput is in images (of attacks: image-steps) a second, over the whole pass
// with all its workers.
type Throughput struct {
	Forward float64   `json:"forward"`
	Steps   []float64 `json:"attack_steps"` // one an attack
	IBP     float64   `json:"ibp"`
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
// result that contradicts another is a *Contradiction. Of a target that is not a
// *net.Network nothing can be proved: PassCertify is among those NotRun. When ctx ends, the
// evaluation holds the passes that are finished, and the error is the context's;
// with any other error it is nil.
func Evaluate(ctx context.Context, t attack.Target, pool *kernels.Pool, x []float32, y []int, o Options) (*Evaluation, error) {
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	begin := time.Now()
	total := len(y)
	if err := t.CheckLabels(y, total); err != nil {
		return nil, err
	}
	if total == 0 {
		return nil, fmt.Errorf("images: none, want at least one")
	}
	e := &evaluation{
		Evaluation: Evaluation{Eps: o.Ball.Eps.Float64(), Norm: o.Ball.Norm.String(), N: total},
		target:     t, deployed: t, pool: pool, x: x, y: y, o: o,
	}
	if o.Deployed != nil {
		e.deployed = o.Deployed
	}
	runs := []func(context.Context) error{e.clean}
	for _, m := range o.attacks() {
		e.Attacks = append(e.Attacks, Attacked{Attack: m.String()})
		e.Speed.Steps = append(e.Speed.Steps, 0)
		at := len(e.Attacks) - 1
		runs = append(runs, func(ctx context.Context) error { return e.attack(ctx, m, at) })
	}
	if e.network, _ = e.deployed.(*net.Network); e.network != nil {
		runs = append(runs, e.certify)
	} else {
		e.NotRun = []string{PassCertify}
	}
	for i, pass := range runs {
		if err := pass(ctx); err != nil {
			if end := ctx.Err(); end == nil || !errors.Is(err, end) {
				return nil, err
			}
			e.NotRun = o.Passes()[i:]
			e.Seconds = time.Since(begin).Seconds()
			return &e.Evaluation, err
		}
	}
	e.Seconds = time.Since(begin).Seconds()
	return &e.Evaluation, nil
}

// evaluation is one under way.
type evaluation struct {
	Evaluation
	target   attack.Target
	deployed attack.Target // judges
	network  *net.Network  // deployed, if it is one
	pool     *kernels.Pool
	x        []float32
	y        []int
	o        Options
	correct  int
	attacked []*attack.Result
}

func (e *evaluation) fraction(k int) float64 { return float64(k) / float64(e.N) }

func (e *evaluation) clean(ctx context.Context) error {
	e.o.Progress(PassClean, 0, e.N)
	c := e.target.Classes()
	logits := make([]float32, e.N*c)
	start := time.Now()
	if err := attack.Logits(ctx, e.deployed, e.pool, logits, attack.Batch{X: e.x, First: e.o.First}); err != nil {
		return err
	}
	e.Speed.Forward = perSecond(int64(e.N), start)
	e.o.Progress(PassClean, e.N, e.N)
	for i, label := range e.y {
		if net.Argmax(logits[i*c:(i+1)*c]) == label {
			e.correct++
		}
	}
	e.Clean = e.fraction(e.correct)
	return nil
}

// attack runs attack number at.
func (e *evaluation) attack(ctx context.Context, m attack.Method, at int) error {
	cfg := attack.Config{Ball: e.o.Ball, Method: m, EOT: e.o.EOT}
	pass := m.String()
	cfg.Progress = func(done int) { e.o.Progress(pass, done, e.N) }
	if e.o.Deployed == nil { // or the proofs would not be of what judges
		var err error
		if cfg, err = WithProofs(e.target, e.pool, cfg); err != nil {
			return err
		}
	}
	a, err := attack.New(e.target, cfg, e.pool)
	if err != nil {
		return err
	}
	res := new(attack.Result)
	start := time.Now()
	b := attack.Batch{X: e.x, Y: e.y, First: e.o.First}
	if err := a.Run(ctx, b, res); err != nil {
		return err
	}
	speed := perSecond(res.ImageSteps, start)
	if e.o.Deployed != nil {
		if err := attack.Judge(ctx, e.deployed, e.pool, b, res); err != nil {
			return err
		}
	}
	_, fromAttack, left := res.Count()
	if fromAttack != e.correct {
		return fmt.Errorf("%d images correct in the forward pass, %d in the attack: please report this", e.correct, fromAttack)
	}
	e.attacked = append(e.attacked, res)
	e.Attacks[at].Robust, e.Speed.Steps[at] = e.fraction(left), speed
	if e.o.Found != nil {
		e.o.Found(ctx, cfg, b, res)
	}
	return nil
}

func (e *evaluation) certify(ctx context.Context) error {
	v, err := verify.New(e.network, e.pool)
	if err != nil {
		return err
	}
	ibp := verify.Options{Method: verify.MethodIBP}
	if err := v.Prepare(ibp); err != nil {
		return err
	}
	e.o.Progress(PassCertify, 0, e.N)
	var cert verify.Result
	start := time.Now()
	if err := v.Certify(ctx, ibp, e.o.Ball, verify.Batch{X: e.x, Y: e.y}, &cert); err != nil {
		return err
	}
	e.Speed.IBP = perSecond(int64(e.N), start)
	e.o.Progress(PassCertify, e.N, e.N)
	for _, a := range e.attacked {
		if err := Check(e.o.Ball, e.x, a, &cert, e.o.First); err != nil {
			return err
		}
	}
	_, certified := cert.Count()
	e.Certified = e.fraction(certified)
	return nil
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
