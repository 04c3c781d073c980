package attack

import "github.com/epsball/epsball/net"

// FGSM is the fast gradient sign method: one step of length ε (Goodfellow et
// al. 2015). From a random start its step is 1.25·ε (Wong et al. 2020). For L2 the
// step goes along the gradient itself. For L1 it goes to the point of ball and pixel box
// at which the linearised loss is largest: the values with the largest gradients move, one
// after the other, to 0 or 1 until the length is used up.
type FGSM struct {
	RandomStart bool
	StepSize    float64 // in pixel units, in the norm of the ball; 0: as above
	Restarts    int     // 0: 1; more need RandomStart or Targeted
	Targeted    bool
	Loss        net.Loss
	Seed        uint64
}

func (FGSM) Name() string { return "fgsm" }

// Fields ties the settings to their textual form.
func (f *FGSM) Fields() []Field {
	return []Field{
		Flag("random-start", "start at a random point of the ball", &f.RandomStart, false),
		Length("step-size", "length of the step in pixel units (default ε; 1.25·ε from a random start)", &f.StepSize),
		Count("restarts", "runs an image gets", &f.Restarts, 1),
		Flag("targeted", "climb towards a wrong class", &f.Targeted, false),
		Loss(&f.Loss),
		Seed(&f.Seed),
	}
}

func (f FGSM) String() string { return Text(f.Name(), f.Fields()) }

// Method returns what f is set to.
func (f *FGSM) Method() Method { return *f }

func (f FGSM) Plan() Plan {
	return Plan{
		Restarts: max(1, f.Restarts), RandomStart: f.RandomStart, Targeted: f.Targeted, Seed: f.Seed, FixedLengths: f.StepSize != 0,
	}
}

func (f FGSM) Validate(b net.Ball, classes int) error {
	return checkClimb(f.Fields(), b, classes, f.Plan(), net.Linf, net.L2, net.L1)
}

func (f FGSM) NewRule(s *Space) Rule {
	r := &climber{space: s, steps: 1, loss: f.Loss, length: f.StepSize, share: 1}
	if f.RandomStart {
		r.share = 1.25
	}
	return r
}
