package attack

import (
	"math"

	"github.com/epsball/epsball/net"
)

// BIM is the basic iterative method: FGSM in small steps, from the image (Kurakin et al.
// 2017, §2.2). Lengths are counted in steps of 1/255: there are min(ε + 4, 1.25·ε).
type BIM struct {
	Steps    int     // 0: as above, rounded down
	StepSize float64 // in pixel units; 0: 1/255, or ε/Steps if the steps given would not reach ε
	Restarts int     // 0: 1; more need Targeted
	Targeted bool
	Loss     net.Loss
	Seed     uint64
}

func (BIM) Name() string { return "bim" }

// Fields ties the settings to their textual form.
func (b *BIM) Fields() []Field {
	steps := Count("steps", "", &b.Steps, 0)
	steps.About = "gradient steps (default min(ε + 4, 1.25·ε), with ε in steps)"
	return []Field{
		steps,
		Length("step-size", "length of a step in pixel units (default 1/255, or ε/steps if that is longer)", &b.StepSize),
		Count("restarts", "runs an image gets", &b.Restarts, 1),
		Flag("targeted", "climb towards a wrong class", &b.Targeted, false),
		Loss(&b.Loss),
		Seed(&b.Seed),
	}
}

func (b BIM) String() string { return Text(b.Name(), b.Fields()) }

// Method returns what b is set to.
func (b *BIM) Method() Method { return *b }

func (b BIM) Plan() Plan {
	return Plan{Restarts: max(1, b.Restarts), Targeted: b.Targeted, Seed: b.Seed, FixedLengths: b.StepSize != 0}
}

func (b BIM) Validate(ball net.Ball, classes int) error {
	return checkClimb(b.Fields(), ball, classes, b.Plan(), net.Linf)
}

func (b BIM) NewRule(s *Space) Rule { return &bim{climber{space: s, loss: b.Loss}, b} }

// bim is a climber whose steps depend on the ball.
type bim struct {
	climber
	m BIM
}

func (r *bim) Judge(s *Slot, z, dz []float32) Verdict {
	r.steps, r.length = r.m.schedule(r.space.Ball.Eps.Float64())
	return r.climber.Judge(s, z, dz)
}

// schedule returns the number of steps in a ball, and their length.
func (b BIM) schedule(eps float64) (steps int, length float64) {
	if length = b.StepSize; length == 0 {
		length = 1.0 / 255
	}
	if b.Steps > 0 {
		if b.StepSize == 0 {
			length = max(length, eps/float64(b.Steps))
		}
		return b.Steps, length
	}
	units := eps / length
	// A little above whole numbers, so that 8/255 is 8.
	n := math.Floor(min(units+4, float64(1.25*units)) + 1e-9)
	return int(min(max(1, n), maxCount)), length
}
