package attack

import (
	"math"

	"github.com/epsball/epsball/net"
)

// MIFGSM is the momentum iterative method (Dong et al. 2018, Algorithm 1): it steps along
// the sign of the gathered gradient
//
//	g ← μ·g + ∇f / mean|∇f|
//
// or, for L2, along g itself (eq. 9). It begins at the image. The paper divides by the sum
// of |∇f|, which leads to the same steps; its authors' code takes the mean.
type MIFGSM struct {
	Steps    int     // 0: 10
	StepSize float64 // in pixel units, in the norm of the ball; 0: ε/Steps
	Decay    float64 // μ; 0: 1
	Restarts int     // 0: 1; more need Targeted
	Targeted bool
	Loss     net.Loss
	Seed     uint64
}

const momentumSteps = 10

func (MIFGSM) Name() string { return "mifgsm" }

// Fields ties the settings to their textual form.
func (m *MIFGSM) Fields() []Field {
	return []Field{
		Count("steps", "gradient steps", &m.Steps, momentumSteps),
		Length("step-size", "length of a step in pixel units (default ε/steps)", &m.StepSize),
		Share("decay", "share of the gathered gradient that a step keeps", &m.Decay, 1),
		Count("restarts", "runs an image gets", &m.Restarts, 1),
		Flag("targeted", "climb towards a wrong class", &m.Targeted, false),
		Loss(&m.Loss),
		Seed(&m.Seed),
	}
}

func (m MIFGSM) String() string { return Text(m.Name(), m.Fields()) }

// Method returns what m is set to.
func (m *MIFGSM) Method() Method { return *m }

func (m MIFGSM) Plan() Plan {
	return Plan{Restarts: max(1, m.Restarts), Targeted: m.Targeted, Seed: m.Seed, FixedLengths: m.StepSize != 0}
}

func (m MIFGSM) Validate(b net.Ball, classes int) error {
	return checkClimb(m.Fields(), b, classes, m.Plan(), net.Linf, net.L2)
}

func (m MIFGSM) NewRule(s *Space) Rule { return newMIFGSM(s, m) }

// mifgsm is the rule. Its tensor holds the gathered gradient of each slot.
type mifgsm struct {
	climber
	decay float64
	g     []float32
}

func newMIFGSM(s *Space, m MIFGSM) *mifgsm {
	r := &mifgsm{climber{space: s, steps: m.Steps, loss: m.Loss, length: m.StepSize}, m.Decay, s.Tensor()}
	if r.steps == 0 {
		r.steps = momentumSteps
	}
	if r.decay == 0 {
		r.decay = 1
	}
	r.share = 1 / float64(r.steps)
	return r
}

func (r *mifgsm) Move(slots []Slot, grad []float32) {
	r.gather(slots, grad)
	r.climber.Move(slots, grad)
}

// gather adds the gradients to what is gathered and puts that in their place. A gradient
// that is zero or not finite adds nothing.
func (r *mifgsm) gather(slots []Slot, grad []float32) {
	s, w := r.space, int(r.space.Layout)
	for b := range len(slots) / w {
		g, all := s.Block(grad, b), s.Block(r.g, b)
		var sum, keep, scale each64
		for i := 0; i < len(g); i += w {
			for l, v := range g[i : i+w] {
				sum[l] += math.Abs(float64(v))
			}
		}
		for l := range w {
			if slots[b*w+l].Step > 1 { // else the run's first: nothing is gathered
				keep[l] = r.decay
			}
			if sum[l] > 0 && !math.IsInf(sum[l], 0) {
				scale[l] = float64(s.Size) / sum[l]
			}
		}
		for i := 0; i < len(g); i += w {
			for l := range w {
				k := i + l
				if !slots[b*w+l].Moves {
					continue
				}
				var v float64
				if keep[l] > 0 {
					v = float64(keep[l] * float64(all[k]))
				}
				if scale[l] > 0 {
					v += float64(scale[l] * float64(g[k]))
				}
				all[k] = float32(v)
				g[k] = all[k]
			}
		}
	}
}
