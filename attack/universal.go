package attack

import (
	"errors"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Universal looks for one perturbation that fools the network on as many images of the
// batch as it can (Moosavi-Dezfooli et al. 2017, with the optimiser of Shafahi et al.
// 2020, Algorithm 1): steps along the sign (Linf) or the direction (L2) of the mean
// gradient over some images, of a loss that is cut off at a height, so that images that are
// fooled well count no more. Result.Universal is what it found: the perturbation, of all
// epochs, that fools most images. Adv are the images with that added, clipped to [0, 1],
// also where it fools nothing.
//
// Step sizes fall in a straight line to zero; the paper keeps them.
type Universal struct {
	Epochs   int     // times it goes through the images; 0: 40
	Batch    int     // images that a step averages; 0: 64
	StepSize float64 // of the first step, in pixel units, in the norm of the ball; 0: ε
	Height   float64 // where the loss is cut off; 0: 9
	Loss     net.Loss
	Seed     uint64
}

const (
	universalEpochs = 40
	universalBatch  = 64
	universalHeight = 9
)

func (Universal) Name() string { return "universal" }

// Fields ties the settings to their textual form.
func (u *Universal) Fields() []Field {
	return []Field{
		Count("epochs", "times it goes through the images", &u.Epochs, universalEpochs),
		Count("batch", "images that a step averages", &u.Batch, universalBatch),
		Length("step-size", "length of the first step in pixel units (default ε)", &u.StepSize),
		Positive("height", "where the loss is cut off", &u.Height, universalHeight),
		Loss(&u.Loss),
		Seed(&u.Seed),
	}
}

func (u Universal) String() string { return Text(u.Name(), u.Fields()) }

// Method returns what u is set to.
func (u *Universal) Method() Method { return *u }

func (u Universal) Plan() Plan {
	return Plan{Restarts: 1, Seed: u.Seed, FixedLengths: u.StepSize != 0}
}

func (u Universal) Validate(b net.Ball, classes int) error {
	return checkClimb(u.Fields(), b, classes, u.Plan(), net.Linf, net.L2)
}

// NewRule panics: the method is a Whole.
func (Universal) NewRule(*Space) Rule { panic("attack: universal has no rule") }

// NewRun prepares the method on a target with gradients that draws no random numbers.
func (u Universal) NewRun(t Target, c Config, pool *kernels.Pool) (Run, error) {
	if c.Lattice > 0 {
		return nil, errors.New("universal: lattice: one perturbation does not put different images on a lattice, want none")
	}
	r := &universal{u: u, t: t, c: c, pool: pool, size: t.Input().Size()}
	if r.u.Epochs == 0 {
		r.u.Epochs = universalEpochs
	}
	if r.u.Batch == 0 {
		r.u.Batch = universalBatch
	}
	if r.u.StepSize == 0 {
		r.u.StepSize = c.Ball.Eps.Float64()
	}
	if r.u.Height == 0 {
		r.u.Height = universalHeight
	}
	r.delta, r.best, r.sum = make([]float32, r.size), make([]float32, r.size), make([]float64, r.size)
	r.eps, _ = c.Ball.Eps.Bounds()
	r.task = func(w, task int) { r.crews[w].run(r, task) }
	r.add = func(_, task int) { r.addUp(task) }
	return r, nil
}
