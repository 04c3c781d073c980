package attack

import (
	"slices"

	"github.com/epsball/epsball/kernels"
)

// apgdL1 is APGD in an L1 ball (Croce & Hein 2021, Algorithm 1):
//
//	x′ = P(x + η·s/‖s‖₁)    s the signs of the k largest gradients
//
// Every 4 % of the steps it looks at the best point, in which d values differ from the
// image. k becomes ⌈2d/3⌉. If d has shrunk by more than 5 %, η becomes ε again, and the
// run goes on from the best point; else η is divided by 1.5, down to ε/10. k is a fifth of
// all values first, or ⌈2d/3⌉ of a start that was given.
//
// A run of several stages goes through balls of 3ε, 2ε and ε; each begins at the
// projection of the best point of the one before, as a run with a given start.
//
// Steps by equal lengths leave many values equally far from the image, which the
// projection brings back to it together, up to rounding: d counts differences above 1e-6.
// The authors' code counts all.
type apgdL1 struct {
	*apgd
	stages    []stageL1
	l1        []apgdL1State // by Seat
	zero, one []float32     // pixel box of a block
	image     []float32
}

// stageL1 is so many steps in the ball of so many ε.
type stageL1 struct {
	times float64
	steps int
}

// apgdL1State is what the rule knows of a stage, beside apgdState.
type apgdL1State struct {
	stage  int
	at     int  // moves made in it
	keep   int  // k
	differ int  // d at the last look
	turn   bool // the stage is over
}

func newAPGDL1(r *apgd, stages bool) *apgdL1 {
	s := r.space
	a := &apgdL1{apgd: r, stages: []stageL1{{1, r.steps}}, l1: make([]apgdL1State, s.Slots)}
	if stages {
		first := (3*r.steps + 9) / 10
		second := min(first, r.steps-first)
		a.stages = []stageL1{{3, first}, {2, second}, {1, r.steps - first - second}}
	}
	a.image = make([]float32, s.Size)
	a.zero = make([]float32, s.Size*int(s.Layout))
	a.one = slices.Repeat([]float32{1}, len(a.zero))
	return a
}

// Start moves x by a normal vector, and into the ball of the first stage.
func (r *apgdL1) Start(s *Slot, x []float32) {
	copy(r.image, x)
	for k := range x {
		x[k] += s.Stream.Norm()
	}
	r.space.projectImageL1(x, r.zero, r.one, r.image, 1, r.eps(0))
}

func (r *apgdL1) eps(stage int) float64 { return float64(r.stages[stage].times * r.space.eps) }

func (r *apgdL1) Judge(s *Slot, z, dz []float32) Verdict {
	t, u := &r.state[s.Seat], &r.l1[s.Seat]
	f := r.loss.Gradient(dz, z, s.Y, s.Target)
	switch {
	case s.Step == 0:
		r.begin(s, 0, f)
	case u.turn:
		r.begin(s, u.stage+1, f)
	default:
		u.at++
		t.back, t.found = false, f > t.best
		if t.found {
			t.best = f
		}
	}
	steps := r.stages[u.stage].steps
	switch {
	case u.at < steps:
		if period := max(1, 4*steps/100); u.at > 0 && u.at%period == 0 {
			r.adapt(s)
		}
		return Ascend
	case u.stage == len(r.stages)-1:
		return RunOver
	}
	u.turn = true
	return Move
}

// begin is told the loss of the first point of a stage.
func (r *apgdL1) begin(s *Slot, stage int, f float32) {
	t, u := &r.state[s.Seat], &r.l1[s.Seat]
	drawn := s.Stream != kernels.NewStream(s.Seed, s.Image, uint32(s.Run)) // the start point
	*t = apgdState{eta: r.eps(stage), best: f, found: true}
	*u = apgdL1State{stage: stage, differ: r.space.Size, keep: (r.space.Size + 4) / 5}
	if !drawn || len(r.stages) > 1 {
		u.differ = r.differing(s, r.space.X)
		u.keep = (2*u.differ + 2) / 3
	}
}

// adapt is what happens every 4 % of a stage.
func (r *apgdL1) adapt(s *Slot) {
	t, u := &r.state[s.Seat], &r.l1[s.Seat]
	best := r.best
	if t.found {
		best = r.space.X // not yet kept
	}
	d, eps := r.differing(s, best), r.eps(u.stage)
	if fewer := 100*d < 95*u.differ; fewer {
		t.eta, t.back = eps, !t.found
	} else {
		t.eta = max(t.eta/1.5, eps/10)
	}
	u.keep, u.differ = (2*d+2)/3, d
}

// differing counts the values in which the point of t differs from the image.
func (r *apgdL1) differing(s *Slot, t []float32) (n int) {
	sp := r.space
	x, c := sp.Layout.Slot(t, sp.Size, s.Place), sp.Layout.Slot(sp.Centre, sp.Size, s.Place)
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		if d := x[k] - c[k]; d > 1e-6 || d < -1e-6 {
			n++
		}
	}
	return n
}

func (r *apgdL1) Move(slots []Slot, grad []float32) {
	s, w := r.space, int(r.space.Layout)
	for i := range slots {
		sl := &slots[i]
		if !sl.Moves {
			continue
		}
		lane := func(t []float32) []float32 { return s.Block(t, i/w)[i%w:] }
		t, u := &r.state[sl.Seat], &r.l1[sl.Seat]
		x, stage := lane(s.X), u.stage
		if u.turn {
			stage++
			if best := lane(r.best); !t.found {
				for k := 0; k < len(x); k += w {
					x[k] = best[k]
				}
			}
		} else {
			g := lane(grad)
			r.settle(t, s.Block(s.X, i/w), s.Block(grad, i/w), s.Block(r.best, i/w), s.Block(r.bestGrad, i/w), i%w)
			s.stepSparse(x, g, t.eta, max(1, u.keep))
		}
		lo, hi := r.zero, r.one
		if r.stages[stage].times == 1 {
			lo, hi = lane(s.Lo), lane(s.Hi)
		}
		s.projectImageL1(x, lo, hi, lane(s.Centre), w, r.eps(stage))
	}
}
