package train

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

const (
	maxValidation   = 1000 // images looked at after an epoch
	validationSteps = 10   // of PGD
	validationDraws = 4    // of noise for each image
)

// Validation says how a model does on images held back from training, in fractions of
// them: classified right, also under PGD of 10 steps, and proved by interval bounds, in
// the ball of Config.ValidationEps. Noisy, of methods that train on noise of Config.Sigma, is the
// fraction of noisy copies that are classified right, the same noise after each epoch.
type Validation struct {
	Images    int     `json:"images"`
	Clean     float64 `json:"clean"`
	PGD       float64 `json:"pgd"`
	Certified float64 `json:"certified"`
	Noisy     float64 `json:"noisy,omitempty"`
}

// validator looks at models.
type validator struct {
	x     []float32
	y     []int
	noisy []float32 // validationDraws copies of x with noise; nil without
	ball  net.Ball
	isa   string
	pool  *kernels.Pool
}

// split draws the images to be held back, regardless of class, and returns the indices of
// both parts in order.
func (c *Config) split(images int) (training, held []int32) {
	if c.Validation == 0 {
		return inSequence(images), nil
	}
	all := inSequence(images)
	shuffle(all, kernels.NewStream(c.Seed, 0, streamSplit))
	n := c.heldBack(images)
	held, training = all[:n:n], all[n:]
	slices.Sort(held)
	slices.Sort(training)
	return training, held
}

func (c *Config) heldBack(images int) int {
	return int(math.Round(float64(c.Validation * float64(images))))
}

func inSequence(n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = int32(i)
	}
	return s
}

// newValidator copies what it looks at: the first images held back. It is nil if none are.
func newValidator(c *Config, d *dataset.Set, held []int32, pool *kernels.Pool) *validator {
	if len(held) == 0 {
		return nil
	}
	v := &validator{ball: net.Ball{Norm: c.NormTrained(), Eps: c.ValidationEps}, isa: c.ISA, pool: pool}
	if c.ValidationEps.IsZero() {
		v.ball.Eps = c.TrainEps
	}
	for _, i := range held[:min(len(held), maxValidation)] {
		v.x, v.y = append(v.x, d.Image(int(i))...), append(v.y, d.Y[i])
	}
	if c.Sigma > 0 {
		v.noisy = slices.Repeat(v.x, validationDraws)
		s := kernels.NewStream(c.Seed, 0, streamValidation)
		for k, x := range v.noisy {
			v.noisy[k] = x + normalNoise(c, &s)
		}
	}
	return v
}

func (v *validator) run(ctx context.Context, m *model.Model) (*Validation, error) {
	n, err := net.Compile(m, net.Options{ISA: v.isa, Backward: true})
	if err != nil {
		return nil, err
	}
	r := &Validation{Images: len(v.y)}
	share := func(k int) float64 { return float64(k) / float64(len(v.y)) }
	a, err := attack.New(n, attack.Config{Ball: v.ball, Method: attack.PGD{Steps: validationSteps, Seed: 1}}, v.pool)
	if err != nil {
		return nil, err
	}
	var found attack.Result
	if err := a.Run(ctx, attack.Batch{X: v.x, Y: v.y}, &found); err != nil {
		return nil, err
	}
	_, right, robust := found.Count()
	r.Clean, r.PGD = share(right), share(robust)
	bounds, err := verify.New(n, v.pool)
	if err != nil {
		return nil, err
	}
	var proved verify.Result
	if err := bounds.Certify(ctx, verify.Options{Method: verify.MethodIBP}, v.ball, verify.Batch{X: v.x, Y: v.y}, &proved); err != nil {
		return nil, err
	}
	_, certified := proved.Count()
	r.Certified = share(certified)
	if v.noisy != nil {
		r.Noisy = share(v.rightWithNoise(n)) / validationDraws
	}
	return r, ctx.Err()
}

// rightWithNoise counts the noisy copies that are classified right. (Runners refuse pixels
// outside of [0, 1].)
func (v *validator) rightWithNoise(n *net.Network) int {
	const atOnce = 64
	in, z := n.Input(), make([]float32, n.Classes())
	size := in.Size()
	w := n.NewWorkspace(atOnce, false)
	packed := make([]float32, atOnce*size)
	right, copies := 0, len(v.noisy)/size
	for from := 0; from < copies; from += atOnce {
		some := min(atOnce, copies-from)
		net.PackLanes(packed, v.noisy[from*size:(from+some)*size], in, some)
		logits := w.Forward(packed, kernels.Groups(some))
		for k := range some {
			net.LaneGroups.Gather(z, logits, k)
			if net.Argmax(z) == v.y[(from+k)%len(v.y)] {
				right++
			}
		}
	}
	return right
}

// score is what epochs are chosen by: certified accuracy for methods that train bounds,
// accuracy under noise for those that train on noise, accuracy under attack for others that attack,
// clean accuracy otherwise.
func (c *Config) score(v *Validation) float64 {
	switch o := objectiveOf(c.Method); {
	case c.Sigma > 0:
		return v.Noisy
	case o.needs.boxes != nil:
		return v.Certified
	case o.radius():
		return v.PGD
	}
	return v.Clean
}

// better reports whether validation figures are above others. Accuracy under attack, then
// clean accuracy, breaks ties.
func (c *Config) better(v, than *Validation) bool {
	return slices.Compare([]float64{c.score(v), v.PGD, v.Clean}, []float64{c.score(than), than.PGD, than.Clean}) > 0
}

// lead returns the epoch (from 1) after the given number of epochs with the best
// validation figures, the first of equals, or 0.
func (c *Config) lead(history []Epoch, after float64) int {
	best := 0
	for i, e := range history {
		if float64(e.Epoch) > after && e.Validation != nil && (best == 0 || c.better(e.Validation, history[best-1].Validation)) {
			best = i + 1
		}
	}
	return best
}

// stopped reports whether the last Patience epochs were no better than one before. Those
// that have not seen the whole radius do not count.
func (c *Config) stopped(history []Epoch) bool {
	best := c.lead(history, c.hold())
	return c.Patience > 0 && best > 0 && len(history)-best >= c.Patience
}

// checkValidation refuses validation sets that are empty, or leave too little.
func (c *Config) checkValidation(images int) error {
	held := c.heldBack(images)
	if c.Validation > 0 && held == 0 {
		return fieldErr("validation", c.Validation, "at least one of the %d images", images)
	}
	if left := images - held; c.BatchSize > left {
		what := fmt.Sprintf("the %d images of the data", images)
		if held > 0 {
			what = fmt.Sprintf("the %d images that validation leaves", left)
		}
		return fieldErr("batchSize", c.BatchSize, "at most %s", what)
	}
	return nil
}
