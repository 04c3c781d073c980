package attack

import "github.com/epsball/epsball/net"

// PIFGSM is the patch-wise iterative method (Gao et al. 2020, Algorithm 1). Its steps are
// β times as long as those that would lead to ε, and what overshoots is not cut off but
// spread over the neighbours:
//
//	a ← a + β·ε/T·sign(∇f)
//	p = β·ε/T·sign(W ∗ max(|a| − ε, 0)·sign(a))
//	a ← a + p,  x ← P(x + β·ε/T·sign(∇f) + p)
//
// W is the mean of the eight neighbours, channel by channel. It begins at the image.
type PIFGSM struct {
	Steps         int     // T; 0: 10
	Amplification float64 // β; 0: 10
	Restarts      int     // 0: 1; more need Targeted
	Targeted      bool
	Loss          net.Loss
	Seed          uint64
}

const amplification = 10

func (PIFGSM) Name() string { return "pifgsm" }

// Fields ties the settings to their textual form.
func (p *PIFGSM) Fields() []Field {
	return []Field{
		Count("steps", "gradient steps", &p.Steps, momentumSteps),
		Positive("amplification", "length of a step, in units of ε/steps", &p.Amplification, amplification),
		Count("restarts", "runs an image gets", &p.Restarts, 1),
		Flag("targeted", "climb towards a wrong class", &p.Targeted, false),
		Loss(&p.Loss),
		Seed(&p.Seed),
	}
}

func (p PIFGSM) String() string { return Text(p.Name(), p.Fields()) }

// Method returns what p is set to.
func (p *PIFGSM) Method() Method { return *p }

func (p PIFGSM) Plan() Plan {
	return Plan{Restarts: max(1, p.Restarts), Targeted: p.Targeted, Seed: p.Seed}
}

func (p PIFGSM) Validate(b net.Ball, classes int) error {
	return checkClimb(p.Fields(), b, classes, p.Plan(), net.Linf)
}

func (p PIFGSM) NewRule(s *Space) Rule {
	r := &pifgsm{climber{space: s, steps: p.Steps, loss: p.Loss}, p.Amplification, s.Tensor(), make([]float32, s.Size*int(s.Layout))}
	if r.steps == 0 {
		r.steps = momentumSteps
	}
	if r.beta == 0 {
		r.beta = amplification
	}
	return r
}

// pifgsm is the rule. Its tensor holds a for each slot.
type pifgsm struct {
	climber
	beta float64
	a    []float32
	over []float32 // a block
}

func (r *pifgsm) Move(slots []Slot, grad []float32) {
	s, w := r.space, int(r.space.Layout)
	eps := float32(s.Ball.Eps.Float64())
	step := float32(min(r.beta*s.Ball.Eps.Float64()/float64(r.steps), 1e30))
	for b := range len(slots) / w {
		x, g, a := s.Block(s.X, b), s.Block(grad, b), s.Block(r.a, b)
		for i := 0; i < len(x); i += w {
			for l := range w {
				k := i + l
				if slots[b*w+l].Step == 1 {
					a[k] = 0
				}
				a[k] += float32(step * signOf(g[k]))
				switch {
				case a[k] > eps:
					r.over[k] = a[k] - eps
				case a[k] < -eps:
					r.over[k] = a[k] + eps
				default:
					r.over[k] = 0
				}
			}
		}
		for i := 0; i < len(x); i += w {
			for l := range w {
				if k := i + l; slots[b*w+l].Moves {
					p := float32(step * signOf(r.around(i, l)))
					a[k] += p
					x[k] += float32(step*signOf(g[k])) + p
				}
			}
		}
		s.Project(x, s.Block(s.Lo, b), s.Block(s.Hi, b), s.Block(s.Centre, b))
	}
}

// around is the sum of what is over at the neighbours of value i/w of lane l, in its
// channel.
func (r *pifgsm) around(i, l int) float32 {
	w, in := int(r.space.Layout), r.space.Input
	at, sum := i/w/in.C, 0.0 // which is as good as exact
	y, x := at/in.W, at%in.W
	for v := max(0, y-1); v <= min(in.H-1, y+1); v++ {
		for u := max(0, x-1); u <= min(in.W-1, x+1); u++ {
			if v != y || u != x {
				sum += float64(r.over[i+((v-y)*in.W+u-x)*in.C*w+l])
			}
		}
	}
	return float32(sum)
}

func signOf(v float32) float32 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}
