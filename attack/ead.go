package attack

import (
	"math"
	"strconv"

	"github.com/epsball/epsball/net"
)

// EAD is the elastic-net attack (Chen et al. 2018, Algorithm 1), for L1. FISTA minimises
//
//	β·‖x′ − x‖₁ + ‖x′ − x‖² + c·max(0, z_y − max_{j≠y} z_j)
//
// in the pixel box; with a target t, max(0, max_{j≠t} z_j − z_t). The length of its steps
// falls with the square root of those left. The weight c is found by bisection. Each
// weight begins at the image.
//
// The nearest point that fools is the one with the smallest L1 distance (the decision rule
// L1 of the paper) or, with ElasticNet, with the smallest β·L1 + L2² (rule EN). The
// auxiliary points of FISTA count too. Confidence is 0. What is minimised is looked at after
// each tenth of the steps; a weight is given up when it has not fallen twice in a row. The
// authors' program does so the first time, with the last two terms of the whole batch.
type EAD struct {
	Steps      int     // for each weight; 0: 1000
	Searches   int     // weights tried; 0: 9
	Beta       float64 // weight of L1; 0: 0.01
	Rate       float64 // length of the first step; 0: 0.01
	Weight     float64 // first weight of the loss; 0: 0.001
	ElasticNet bool
	AllSteps   bool // take all steps for each weight
	Restarts   int  // 0: 1; more need Targeted
	Targeted   bool
}

const (
	eadSteps    = 1000
	eadSearches = 9
	eadBeta     = 0.01
	eadRate     = 0.01
	eadWeight   = 0.001
)

func (EAD) Name() string { return "ead" }

// Fields ties the settings to their textual form.
func (a *EAD) Fields() []Field {
	return []Field{
		Count("steps", "steps for each weight of the loss", &a.Steps, eadSteps).Shown(strconv.Itoa(eadSteps)),
		Count("searches", "weights of the loss that are tried", &a.Searches, eadSearches).Shown(strconv.Itoa(eadSearches)),
		Positive("beta", "weight of the L1 distance", &a.Beta, eadBeta),
		Positive("rate", "length of the first step", &a.Rate, eadRate),
		Positive("weight", "first weight of the loss", &a.Weight, eadWeight),
		Flag("elastic-net", "prefer the point with the smallest beta·L1 + L2², not L1", &a.ElasticNet, false),
		Flag("abort-early", "give up a weight when the loss no longer falls (default true)", &a.AllSteps, true),
		Count("restarts", "runs an image gets, each towards another class", &a.Restarts, 1),
		Flag("targeted", "look for a point of a wrong class", &a.Targeted, false),
	}
}

func (a EAD) String() string { return Text(a.Name(), a.Fields()) }

// Method returns what a is set to.
func (a *EAD) Method() Method { return *a }

func (a EAD) Plan() Plan {
	return Plan{Goal: SmallestDistance, Restarts: max(1, a.Restarts), Targeted: a.Targeted}
}

func (a EAD) Validate(b net.Ball, classes int) error {
	return checkNearest(a.Fields(), b, a.Plan(), net.L1)
}

func (a EAD) NewRule(s *Space) Rule {
	r := &ead{
		one: newOne(s), state: make([]eadState, s.Slots), last: s.Tensor(), l1: make([]float32, s.Size),
		steps: or(a.Steps, eadSteps), searches: or(a.Searches, eadSearches),
		beta: or(a.Beta, eadBeta), rate: or(a.Rate, eadRate), weight: or(a.Weight, eadWeight),
	}
	r.every = (r.steps + 9) / 10
	if a.AllSteps {
		r.every = r.steps
	}
	if a.ElasticNet {
		return &elasticNet{r}
	}
	return r
}

// ead is the rule. A step goes from an auxiliary point y_i to x_{i+1}, with a gradient, and
// from there to y_{i+1}, without.
type ead struct {
	one
	steps, searches, every int
	beta, rate, weight     float64
	state                  []eadState // by Seat
	last                   []float32  // x_i
	l1                     []float32  // of one image
}

// eadState is what the rule knows of one run.
type eadState struct {
	bisection
	i      int // steps with this weight
	active bool
	to     eadMove
}

type eadMove int

const (
	toImage eadMove = iota
	toX
	toY
)

func (r *ead) Start(*Slot, []float32) {}

func (r *ead) Judge(s *Slot, z, dz []float32) Verdict {
	t := &r.state[s.Seat]
	if s.Step == 0 {
		*t = eadState{bisection: newBisection(r.searches, r.weight)}
	}
	if t.to == toX { // this is x_{i+1}
		t.found = t.found || s.Fools
		if t.i++; t.i == r.steps {
			return r.another(t)
		}
		if t.i > 1 { // y_1 is x_1
			t.to = toY
			return Move
		}
	}
	f := max(0, -float64(net.Margin.Gradient(dz, z, s.Y, s.Target)))
	if t.i%r.every == 0 && t.stalled(float64(r.beta*s.Distance)+r.squared(s)+float64(t.weight*f)) {
		return r.another(t)
	}
	t.to = toX
	if t.active = f > 0; t.active {
		return Ascend
	}
	return Move
}

// another goes on with the next weight, if any.
func (r *ead) another(t *eadState) Verdict {
	if !t.next() {
		return RunOver
	}
	t.i, t.to = 0, toImage
	return Move
}

// squared is the squared L2 distance of the point from the image.
func (r *ead) squared(s *Slot) (sum float64) {
	l := r.space.Layout
	x, c := l.Slot(r.space.X, r.space.Size, s.Place), l.Slot(r.space.Centre, r.space.Size, s.Place)
	for k := 0; k < r.space.Size*int(l); k += int(l) {
		d := float64(x[k]) - float64(c[k])
		sum += float64(d * d)
	}
	return sum
}

func (r *ead) Move(slots []Slot, grad []float32) {
	for i := range slots {
		s := &slots[i]
		if !s.Moves {
			continue
		}
		r.take(s, grad)
		switch t := &r.state[s.Seat]; t.to {
		case toImage:
			copy(r.x, r.c)
		case toX:
			r.step(t)
			if t.i == 0 {
				r.space.Layout.Scatter(r.last, r.x, s.Place)
			}
		case toY:
			r.ahead(t.i, s)
		}
		r.put(s)
	}
}

// step goes from y_i to x_{i+1}: down the gradient, then β towards the image, and no
// farther than there (eqs. 4 and 5 of the paper).
func (r *ead) step(t *eadState) {
	rate := float64(r.rate * math.Sqrt(1-float64(t.i)/float64(r.steps)))
	weight := 0.0
	if t.active {
		weight = t.weight
	}
	for k, y := range r.x {
		c := float64(r.c[k])
		g := 2*(float64(y)-c) - float64(weight*float64(r.g[k]))
		z := float64(y) - float64(rate*g)
		switch d := z - c; {
		case d > r.beta:
			c = min(z-r.beta, 1)
		case d < -r.beta:
			c = max(z+r.beta, 0)
		}
		r.x[k] = float32(c)
	}
}

// ahead goes from x_i to y_i = x_i + (i−1)/(i+2)·(x_i − x_{i−1}).
func (r *ead) ahead(i int, s *Slot) {
	r.space.Layout.Gather(r.l1, r.last, s.Place)
	r.space.Layout.Scatter(r.last, r.x, s.Place)
	share := float64(i-1) / float64(i+2)
	for k, x := range r.x {
		r.x[k] = float32(float64(x) + float64(share*(float64(x)-float64(r.l1[k]))))
	}
}

// elasticNet is the rule that compares points by the elastic net.
type elasticNet struct{ *ead }

func (r *elasticNet) Rank(s *Slot) float64 {
	return float64(r.beta*s.Distance) + r.squared(s)
}
