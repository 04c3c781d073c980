package attack

import "github.com/epsball/epsball/net"

// NIFGSM is the iterative method with Nesterov's momentum (Lin et al. 2020, §3.1): MIFGSM
// whose gradients are those of the point where the momentum alone would lead, x + α·μ·g.
// These points may lie outside the ball. The last point of a run is evaluated, too; the
// others are not, but for the first.
type NIFGSM struct {
	Steps    int     // 0: 10
	StepSize float64 // α in pixel units; 0: ε/Steps
	Decay    float64 // μ; 0: 1
	Restarts int     // 0: 1; more need Targeted
	Targeted bool
	Loss     net.Loss
	Seed     uint64
}

func (NIFGSM) Name() string { return "nifgsm" }

// Fields ties the settings to their textual form.
func (n *NIFGSM) Fields() []Field { return (*MIFGSM)(n).Fields() }

func (n NIFGSM) String() string { return Text(n.Name(), n.Fields()) }

// Method returns what n is set to.
func (n *NIFGSM) Method() Method { return *n }

func (n NIFGSM) Plan() Plan {
	p := MIFGSM(n).Plan()
	p.Roams = true
	return p
}

func (n NIFGSM) Validate(b net.Ball, classes int) error {
	return checkClimb(n.Fields(), b, classes, n.Plan(), net.Linf)
}

func (n NIFGSM) NewRule(s *Space) Rule {
	return &nifgsm{newMIFGSM(s, MIFGSM(n)), s.Tensor()}
}

// nifgsm is the rule. Space.X holds the points where the momentum leads, x the iterates.
type nifgsm struct {
	*mifgsm
	x []float32
}

func (r *nifgsm) Move(slots []Slot, grad []float32) {
	s, w := r.space, int(r.space.Layout)
	for i := range slots { // of a run's first step
		if slots[i].Moves && slots[i].Step == 1 {
			to, from := s.Layout.Slot(r.x, s.Size, slots[i].Place), s.Layout.Slot(s.X, s.Size, slots[i].Place)
			for k := 0; k < s.Size*w; k += w {
				to[k] = from[k]
			}
		}
	}
	r.gather(slots, grad)
	n := s.Layout.Len(len(slots)/w, s.Size)
	alpha := r.alpha()
	s.ISA.PGDStep(r.x[:n], grad[:n], s.Lo[:n], s.Hi[:n], alpha)
	ahead := float64(r.decay * float64(alpha))
	for b := range len(slots) / w {
		x, at, g := s.Block(r.x, b), s.Block(s.X, b), s.Block(r.g, b)
		for i := 0; i < len(x); i += w {
			for l := range w {
				switch sl := &slots[b*w+l]; {
				case !sl.Moves:
				case sl.Step < r.steps:
					at[i+l] = float32(float64(x[i+l]) + float64(ahead*float64(g[i+l])))
				default:
					at[i+l] = x[i+l]
				}
			}
		}
	}
}
