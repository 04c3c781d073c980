package attack

import (
	"strconv"

	"github.com/epsball/epsball/net"
)

// PGD is projected gradient descent from a random start with steps of ε/4 (Madry et
// al. 2018). For L2 the steps go along the gradient itself. For L1 they are sparse: along
// the signs of the largest gradients, those above their 99 % quantile, of the values that
// are not at an end of the pixel box (SLIDE: Tramèr & Boneh 2019).
type PGD struct {
	Steps      int     // gradient steps of a run; 0: 40
	StepSize   float64 // in pixel units, in the norm of the ball; 0: ε/4, or ε for a single step
	Restarts   int     // 0: 1; an image gets them until one fools it
	FixedStart bool    // begin at the image itself; then more than one run needs Targeted
	Targeted   bool
	L1Share    float64 // share of the values that a step in L1 moves; 0: 0.01
	Loss       net.Loss
	Seed       uint64
}

const usualSteps = 40

func (p PGD) steps() int {
	if p.Steps == 0 {
		return usualSteps
	}
	return p.Steps
}

func (PGD) Name() string { return "pgd" }

// Fields ties the settings to their textual form.
func (p *PGD) Fields() []Field {
	return []Field{
		Count("steps", "gradient steps of a run", &p.Steps, usualSteps).Shown(strconv.Itoa(usualSteps)),
		Length("step-size", "length of a step in pixel units (default ε/4; ε for a single step)", &p.StepSize),
		Count("restarts", "runs an image gets", &p.Restarts, 1),
		Flag("random-start", "start at a random point of the ball (default true)", &p.FixedStart, true),
		Flag("targeted", "climb towards a wrong class", &p.Targeted, false),
		Share("l1-share", "share of the values that a step in L1 moves", &p.L1Share, slideShare),
		Loss(&p.Loss),
		Seed(&p.Seed),
	}
}

func (p PGD) String() string { return Text(p.Name(), p.Fields()) }

// Method returns what p is set to.
func (p *PGD) Method() Method { return *p }

func (p PGD) Plan() Plan {
	return Plan{
		Restarts: max(1, p.Restarts), RandomStart: !p.FixedStart, Targeted: p.Targeted, Seed: p.Seed, FixedLengths: p.StepSize != 0,
	}
}

func (p PGD) Validate(b net.Ball, classes int) error {
	return checkClimb(p.Fields(), b, classes, p.Plan(), net.Linf, net.L2, net.L1)
}

func (p PGD) NewRule(s *Space) Rule {
	r := &climber{space: s, steps: p.steps(), loss: p.Loss, length: p.StepSize, share: 0.25, l1Share: p.L1Share}
	if r.steps == 1 {
		r.share = 1
	}
	if r.l1Share == 0 {
		r.l1Share = slideShare
	}
	return r
}

// climber is the rule of steps of one length along the gradient of a loss.
type climber struct {
	space  *Space
	steps  int
	loss   net.Loss
	length float64 // of a step; 0: that share of ε
	share  float64

	l1Share float64 // of the values that a step in L1 moves; 0: as many as it takes to the ends of the box
}

func (c *climber) Start(s *Slot, x []float32) { c.space.RandomPoint(x, &s.Stream) }

func (c *climber) Judge(s *Slot, z, dz []float32) Verdict {
	if s.Step >= c.steps {
		return RunOver
	}
	c.loss.Gradient(dz, z, s.Y, s.Target)
	return Ascend
}

// alpha is the length of a step.
func (c *climber) alpha() float32 {
	length := c.length
	if length == 0 {
		length = float64(c.share * c.space.Ball.Eps.Float64())
	}
	return float32(min(length, 1e30)) // across any ball, and far from overflow
}

func (c *climber) Move(slots []Slot, grad []float32) {
	alpha := c.alpha()
	s, blocks := c.space, len(slots)/int(c.space.Layout)
	switch {
	case s.Ball.Norm != net.L1:
		s.Climb(grad, alpha, blocks)
	case c.l1Share > 0:
		s.climbL1(s.X, grad, s.Lo, s.Hi, s.Centre, float64(alpha), c.l1Share, blocks)
	default:
		s.climbSteepest(grad, float64(alpha), blocks)
	}
}
