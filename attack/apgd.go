package attack

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/epsball/epsball/net"
)

// APGD is projected gradient descent with momentum that finds its own step size (Croce
// & Hein 2020, Algorithm 1). Steps begin at 2ε. There are checkpoints, which come more
// and more often. A run that improved its loss in too few steps, or found no new best
// point, returns to its best point there and halves its step. Runs begin at random
// points.
//
// For L1 steps begin at ε, and there is no momentum. A step goes along the signs of the
// largest gradients. How many is adapted every 4 % of the run, to two thirds of the values
// that differ at the best point: see apgd_l1.go (Croce & Hein 2021, Algorithm 1).
//
// A checkpoint is evaluated when the loss of its point is known, before the next step.
// Algorithm 1 does so after that step, and undoes it.
type APGD struct {
	Steps    int     // gradient steps of a run; 0: 100
	Restarts int     // 0: 1
	Rho      float64 // share of improving steps below which the step size is halved; 0: 0.75
	Targeted bool
	Targets  int      // the most likely wrong classes get Restarts runs each, towards them; 0: see Targeted
	Stages   bool     // L1: 30 % of the steps in the ball of 3ε, 30 % in that of 2ε
	Loss     net.Loss // CrossEntropy: APGD-CE
	Seed     uint64
}

const (
	apgdSteps = 100
	apgdRho   = 0.75
	momentum  = 0.75 // α of the paper
)

func (APGD) Name() string { return "apgd" }

// Fields ties the settings to their textual form.
func (a *APGD) Fields() []Field {
	return []Field{
		Count("steps", "gradient steps of a run", &a.Steps, apgdSteps).Shown(strconv.Itoa(apgdSteps)),
		Count("restarts", "runs an image gets", &a.Restarts, 1),
		Share("rho", "share of improving steps below which the step size is halved", &a.Rho, apgdRho),
		Flag("targeted", "climb towards a wrong class", &a.Targeted, false),
		targets(&a.Targets),
		Flag("stages", "in L1, make 30 % of the steps in the ball of 3ε and 30 % in that of 2ε", &a.Stages, false),
		Loss(&a.Loss),
		Seed(&a.Seed),
	}
}

func targets(p *int) Field {
	f := Count("targets", "", p, 0)
	f.About = "climb towards this many of the most likely wrong classes, with restarts runs for each"
	return f
}

func (a APGD) String() string { return Text(a.Name(), a.Fields()) }

// apgdOf is APGD by a name that fixes some of its settings: what it reads is an APGD.
type apgdOf struct {
	APGD
	fixed []string
}

func (a *apgdOf) Fields() []Field {
	return slices.DeleteFunc(a.APGD.Fields(), func(f Field) bool { return slices.Contains(a.fixed, f.Name) })
}

// Method returns what a is set to.
func (a *APGD) Method() Method { return *a }

func (a APGD) Plan() Plan {
	return Plan{
		Restarts: max(1, a.Restarts), RandomStart: true, Targeted: a.Targeted || a.Targets > 0, Targets: a.Targets, Seed: a.Seed, Roams: a.Stages,
	}
}

func (a APGD) Validate(b net.Ball, classes int) error {
	if a.Stages && b.Norm != net.L1 {
		return fmt.Errorf("stages: norm %v, want l1", b.Norm)
	}
	return checkClimb(a.Fields(), b, classes, a.Plan(), net.Linf, net.L2, net.L1)
}

func (a APGD) NewRule(s *Space) Rule {
	r := &apgd{space: s, steps: a.Steps, rho: a.Rho, loss: a.Loss, state: make([]apgdState, s.Slots)}
	if r.steps == 0 {
		r.steps = apgdSteps
	}
	if r.rho == 0 {
		r.rho = apgdRho
	}
	r.best, r.bestGrad = s.Tensor(), s.Tensor()
	if s.Ball.Norm == net.L1 {
		return newAPGDL1(r, a.Stages)
	}
	r.checkpoints = checkpoints(r.steps)
	r.last = s.Tensor()
	r.z = make([]float32, s.Size*int(s.Layout))
	return r
}

// checkpoints returns w_1, w_2, … below steps: w_j = ⌈p_j·steps⌉ with p_0 = 0, p_1 =
// 0.22 and p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06), in hundredths.
func checkpoints(steps int) []int {
	var w []int
	for before, p := 0, 22; p < 100; before, p = p, p+max(p-before-3, 6) {
		if at := (p*steps + 99) / 100; at < steps && (len(w) == 0 || at > w[len(w)-1]) {
			w = append(w, at)
		}
	}
	return w
}

// apgd is the rule. Its tensors hold, for each slot, the point before, and the best one
// of the run with its gradient.
type apgd struct {
	space       *Space
	steps       int
	rho         float64
	loss        net.Loss
	checkpoints []int
	state       []apgdState // by Seat
	last        []float32
	best        []float32
	bestGrad    []float32
	z           []float32 // a block
}

// apgdState is what the rule knows of one run.
type apgdState struct {
	eta     float64 // length of a step
	f       float32 // loss of the point
	best    float32 // largest so far
	ups     int     // steps since the checkpoint that made the loss larger
	next    int     // checkpoint
	checked float32 // best at the last checkpoint
	halved  bool    // there
	first   bool    // no step has been made
	found   bool    // the point is the best
	back    bool    // go on from the best
}

func (r *apgd) Start(s *Slot, x []float32) { r.space.RandomPoint(x, &s.Stream) }

func (r *apgd) Judge(s *Slot, z, dz []float32) Verdict {
	t := &r.state[s.Seat]
	f := r.loss.Gradient(dz, z, s.Y, s.Target)
	if s.Step == 0 {
		*t = apgdState{eta: 2 * r.space.Ball.Eps.Float64(), f: f, best: f, checked: f, first: true, found: true}
	} else {
		t.first, t.back = false, false
		if f > t.f {
			t.ups++
		}
		t.f, t.found = f, f > t.best
		if t.found {
			t.best = f
		}
	}
	if s.Step >= r.steps {
		return RunOver
	}
	if t.next < len(r.checkpoints) && s.Step == r.checkpoints[t.next] {
		r.adapt(t)
	}
	return Ascend
}

// adapt is what happens at a checkpoint.
func (r *apgd) adapt(t *apgdState) {
	steps := r.checkpoints[t.next]
	if t.next > 0 {
		steps -= r.checkpoints[t.next-1]
	}
	few := float64(t.ups) < float64(r.rho*float64(steps)) // condition 1
	stuck := !t.halved && t.best == t.checked             // condition 2
	if t.halved = few || stuck; t.halved {
		t.eta /= 2
		t.back, t.f = !t.found, t.best
	}
	t.checked, t.ups = t.best, 0
	t.next++
}

func (r *apgd) Move(slots []Slot, grad []float32) {
	s, w := r.space, int(r.space.Layout)
	for b := range len(slots) / w {
		block := func(t []float32) []float32 { return s.Block(t, b) }
		x, g := block(s.X), block(grad)
		for l := range w {
			if sl := &slots[b*w+l]; sl.Moves {
				r.settle(&r.state[sl.Seat], x, g, block(r.best), block(r.bestGrad), l)
			}
		}
		r.step(slots[b*w:(b+1)*w], x, g, block(s.Lo), block(s.Hi), block(s.Centre), block(r.last))
	}
}

// settle keeps the point of lane l of a block, if it is the best, or goes back there.
func (r *apgd) settle(t *apgdState, x, g, best, bestGrad []float32, l int) {
	toX, toG, fromX, fromG := best, bestGrad, x, g
	switch {
	case t.back:
		toX, toG, fromX, fromG = x, g, best, bestGrad
	case !t.found:
		return
	}
	for k := l; k < len(x); k += int(r.space.Layout) {
		toX[k], toG[k] = fromX[k], fromG[k]
	}
}

// step moves a block:
//
//	z  = P(x + η·∇f)    along signs for Linf, normalised for L2
//	x′ = P(x + α·(z − x) + (1 − α)·(x − last))
//
// the first time x′ = z.
func (r *apgd) step(slots []Slot, x, g, lo, hi, centre, last []float32) {
	s, w := r.space, len(slots)
	var eta each64 // 0: stays
	var first [net.LaneGroups]bool
	for l := range slots {
		if slots[l].Moves {
			t := &r.state[slots[l].Seat]
			eta[l], first[l] = t.eta, t.first
		}
	}
	z := r.z
	copy(z, x)
	if s.Ball.Norm == net.L2 {
		s.stepL2(z, g, &eta)
	} else {
		stepSigns(z, g, &eta, w)
	}
	s.Project(z, lo, hi, centre)
	for i := 0; i < len(x); i += w {
		for l := range w {
			k := i + l
			if eta[l] == 0 {
				continue
			}
			v := x[k]
			if !first[l] {
				x[k] += float32(momentum*(z[k]-v)) + float32((1-momentum)*(v-last[k]))
			} else {
				x[k] = z[k]
			}
			last[k] = v
		}
	}
	s.Project(x, lo, hi, centre)
}

// stepSigns is x ← x + η·sign(g) on a block of w images, each with its η.
func stepSigns(x, g []float32, eta *each64, w int) {
	var length [net.LaneGroups]float32
	for l, v := range eta {
		length[l] = float32(v)
	}
	for i := 0; i < len(x); i += w {
		for l := range w {
			switch v := g[i+l]; {
			case v > 0:
				x[i+l] += length[l]
			case v < 0:
				x[i+l] -= length[l]
			}
		}
	}
}
