package attack

import (
	"math"
	"strconv"

	"github.com/epsball/epsball/net"
)

// DDN is the decoupled direction and norm attack (Rony et al. 2019, Algorithm 1), for L2:
// steps along the gradient of the cross-entropy, whose length falls from 1 to 0.01 along
// half a cosine, end on a sphere around the image. The radius of the sphere shrinks by
// gamma where the point is misclassified and grows by gamma where it is not.
//
// The pixels are not rounded to 256 levels, as the paper does in each step. The point
// after the last step counts too.
type DDN struct {
	Steps    int     // gradient steps of a run; 0: 100
	Gamma    float64 // by which the radius changes; 0: 0.05
	InitNorm float64 // first radius, in pixel units; 0: 1
	Restarts int     // 0: 1; more need Targeted
	Targeted bool
	Seed     uint64 // picks directions where the gradient is zero
}

const (
	ddnSteps     = 100
	ddnGamma     = 0.05
	ddnNorm      = 1.0
	ddnLastAlpha = 0.01 // length of the last step
)

func (DDN) Name() string { return "ddn" }

// Fields ties the settings to their textual form.
func (a *DDN) Fields() []Field {
	return []Field{
		Count("steps", "gradient steps of a run", &a.Steps, ddnSteps).Shown(strconv.Itoa(ddnSteps)),
		Share("gamma", "by which the radius shrinks or grows in a step", &a.Gamma, ddnGamma),
		Positive("init-norm", "first radius in pixel units", &a.InitNorm, ddnNorm),
		Count("restarts", "runs an image gets, each towards another class", &a.Restarts, 1),
		Flag("targeted", "look for a point of a wrong class", &a.Targeted, false),
		Seed(&a.Seed),
	}
}

func (a DDN) String() string { return Text(a.Name(), a.Fields()) }

// Method returns what a is set to.
func (a *DDN) Method() Method { return *a }

func (a DDN) Plan() Plan {
	return Plan{Goal: SmallestDistance, Restarts: max(1, a.Restarts), Targeted: a.Targeted, Seed: a.Seed}
}

func (a DDN) Validate(b net.Ball, classes int) error {
	return checkNearest(a.Fields(), b, a.Plan(), net.L2)
}

func (a DDN) NewRule(s *Space) Rule {
	return &ddn{
		one: newOne(s), state: make([]ddnState, s.Slots),
		steps: or(a.Steps, ddnSteps), gamma: or(a.Gamma, ddnGamma), first: or(a.InitNorm, ddnNorm),
	}
}

type ddn struct {
	one
	steps        int
	gamma, first float64
	state        []ddnState // by Seat
}

// ddnState is what the rule knows of one run.
type ddnState struct {
	radius float64
	most   float64 // distance of the farthest point of the pixel box
	fools  bool
}

func (r *ddn) Start(*Slot, []float32) {}

func (r *ddn) Judge(s *Slot, z, dz []float32) Verdict {
	if s.Step >= r.steps {
		return RunOver
	}
	t := &r.state[s.Seat]
	if s.Step == 0 {
		*t = ddnState{radius: r.first}
	}
	t.fools = s.Fools
	net.CrossEntropy.Gradient(dz, z, s.Y, s.Target)
	return Ascend
}

func (r *ddn) Move(slots []Slot, grad []float32) {
	for i := range slots {
		if s := &slots[i]; s.Moves {
			norm2 := r.take(s, grad)
			r.step(s, norm2)
			r.put(s)
		}
	}
}

// step is that of one image, from its s.Step-th point.
func (r *ddn) step(s *Slot, norm2 float64) {
	t := &r.state[s.Seat]
	if s.Step == 1 {
		t.most = r.farthest(net.L2)
	}
	if norm2 == 0 {
		norm2 = r.random(s)
	}
	alpha := ddnLastAlpha + float64((1-ddnLastAlpha)*annealed(s.Step-1, r.steps))
	alpha /= math.Sqrt(norm2)
	for k, g := range r.g {
		r.d[k] = float64(r.x[k]) - float64(r.c[k]) + float64(alpha*float64(g))
	}
	if t.fools {
		t.radius *= 1 - r.gamma
	} else {
		t.radius *= 1 + r.gamma
	}
	t.radius = min(t.radius, t.most)
	if n := length(r.d, net.L2); n > 0 {
		r.land(t.radius / n)
	}
}
