package attack

import (
	"math"
	"strconv"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// CW is the L2 attack of Carlini & Wagner 2017 (section VI.A): Adam minimises
//
//	‖x′ − x‖² + c·max(0, z_y − max_{j≠y} z_j)    x′ = (tanh w + 1)/2
//
// over w, or with a target t, max(0, max_{j≠t} z_j − z_t). The weight c is found by
// bisection. Each weight begins at the image.
//
// Confidence is 0. The loss is looked at after each tenth of the steps; a weight is given up
// when it has not fallen twice in a row. The authors' program does so the first time, with
// the loss of the whole batch.
type CW struct {
	Steps    int     // gradient steps for each weight; 0: 10,000
	Searches int     // weights tried; 0: 9
	Rate     float64 // learning rate of Adam; 0: 0.01
	Weight   float64 // first weight; 0: 0.001
	AllSteps bool    // take all steps for each weight
	Restarts int     // 0: 1; more need Targeted
	Targeted bool
}

const (
	cwSteps    = 10000
	cwSearches = 9
	cwRate     = 0.01
	cwWeight   = 0.001

	// Of Adam.
	cwBeta1   = 0.9
	cwBeta2   = 0.999
	cwEpsilon = 1e-8

	cwInside = 1 - 1e-6 // 2x − 1 is made as much smaller so that w is finite
	cwMost   = 40       // |w| is cut to this: the pixel is black or white long before
)

func (CW) Name() string { return "cw" }

// Fields ties the settings to their textual form.
func (a *CW) Fields() []Field {
	return []Field{
		Count("steps", "gradient steps for each weight of the loss", &a.Steps, cwSteps).Shown(strconv.Itoa(cwSteps)),
		Count("searches", "weights of the loss that are tried", &a.Searches, cwSearches).Shown(strconv.Itoa(cwSearches)),
		Positive("rate", "learning rate of Adam", &a.Rate, cwRate),
		Positive("weight", "first weight of the loss", &a.Weight, cwWeight),
		Flag("abort-early", "give up a weight when the loss no longer falls (default true)", &a.AllSteps, true),
		Count("restarts", "runs an image gets, each towards another class", &a.Restarts, 1),
		Flag("targeted", "look for a point of a wrong class", &a.Targeted, false),
	}
}

func (a CW) String() string { return Text(a.Name(), a.Fields()) }

// Method returns what a is set to.
func (a *CW) Method() Method { return *a }

func (a CW) Plan() Plan {
	return Plan{Goal: SmallestDistance, Restarts: max(1, a.Restarts), Targeted: a.Targeted}
}

func (a CW) Validate(b net.Ball, classes int) error {
	return checkNearest(a.Fields(), b, a.Plan(), net.L2)
}

func (a CW) NewRule(s *Space) Rule {
	r := &cw{
		one: newOne(s), state: make([]cwState, s.Slots),
		steps: or(a.Steps, cwSteps), searches: or(a.Searches, cwSearches), rate: or(a.Rate, cwRate), weight: or(a.Weight, cwWeight),
		w: s.Tensor(), m: s.Tensor(), v: s.Tensor(),
	}
	r.every = max(1, r.steps/10)
	if a.AllSteps {
		r.every = r.steps
	}
	for _, t := range []*[]float32{&r.w1, &r.m1, &r.v1, &r.s1} {
		*t = make([]float32, s.Size)
	}
	return r
}

type cw struct {
	one
	steps, searches, every int
	rate, weight           float64
	state                  []cwState // by Seat
	w, m, v                []float32 // what Adam optimises, and its moments
	w1, m1, v1, s1         []float32 // of one image; s1: (tanh w + 1)/2
}

// cwState is what the rule knows of one run.
type cwState struct {
	bisection
	i            int     // steps with this weight
	power1       float64 // Adam's β₁ⁱ, β₂ⁱ
	power2       float64
	back, active bool // go back to the image; the loss has a gradient
}

func (r *cw) Start(*Slot, []float32) {}

func (r *cw) Judge(s *Slot, z, dz []float32) Verdict {
	t := &r.state[s.Seat]
	if s.Step == 0 {
		*t = cwState{bisection: newBisection(r.searches, r.weight)}
	}
	t.back = false
	t.found = t.found || s.Fools
	f := max(0, -float64(net.Margin.Gradient(dz, z, s.Y, s.Target)))
	loss := float64(s.Distance*s.Distance) + float64(t.weight*f)
	if t.i+1 == r.steps || t.i%r.every == 0 && t.stalled(loss) {
		if !t.next() {
			return RunOver
		}
		t.i, t.back = 0, true
		return Move
	}
	t.i++
	if t.active = f > 0; t.active {
		return Ascend
	}
	return Move
}

func (r *cw) Move(slots []Slot, grad []float32) {
	for i := range slots {
		if s := &slots[i]; s.Moves {
			r.take(s, grad)
			if t := &r.state[s.Seat]; t.back {
				copy(r.x, r.c)
			} else {
				r.step(s, t)
			}
			r.put(s)
		}
	}
}

// step is Adam's t.i-th of one image.
func (r *cw) step(s *Slot, t *cwState) {
	l := r.space.Layout
	if t.i == 1 {
		t.power1, t.power2 = 1, 1
		for k, c := range r.c {
			a := float64((2*float64(c) - 1) * cwInside)
			r.w1[k], r.m1[k], r.v1[k] = kernels.Log(float32((1+a)/(1-a)))/2, 0, 0
		}
		r.squash()
	} else {
		l.Gather(r.w1, r.w, s.Place)
		l.Gather(r.m1, r.m, s.Place)
		l.Gather(r.v1, r.v, s.Place)
		copy(r.s1, r.x)
	}
	t.power1 *= cwBeta1
	t.power2 *= cwBeta2
	rate, root := r.rate/(1-t.power1), math.Sqrt(1-t.power2)
	weight := 0.0
	if t.active {
		weight = t.weight
	}
	for k, p := range r.s1 {
		g := 2*(float64(r.x[k])-float64(r.c[k])) - float64(weight*float64(r.g[k]))
		g = float64(g * 2 * float64(p) * (1 - float64(p)))
		g = min(max(g, -huge), huge)
		m := float64(cwBeta1*float64(r.m1[k])) + float64((1-cwBeta1)*g)
		v := float64(cwBeta2*float64(r.v1[k])) + float64((1-cwBeta2)*float64(g*g))
		r.m1[k], r.v1[k] = float32(m), float32(v)
		w := r.w1[k] - float32(rate*m/(math.Sqrt(v)/root+cwEpsilon))
		r.w1[k] = min(max(w, -cwMost), cwMost)
	}
	r.squash()
	copy(r.x, r.s1)
	l.Scatter(r.w, r.w1, s.Place)
	l.Scatter(r.m, r.m1, s.Place)
	l.Scatter(r.v, r.v1, s.Place)
}

// squash is s1 = (tanh w1 + 1)/2 = 1/(1 + e^(−2·w1)).
func (r *cw) squash() {
	for k, w := range r.w1 {
		r.s1[k] = w + w
	}
	r.space.ISA.Sigmoid(r.s1, r.s1)
}
