package attack

import (
	"cmp"
	"math"
	"strconv"

	"github.com/epsball/epsball/net"
)

// Bisect looks for the misclassified point nearest to the image by runs of PGD (Madry et
// al. 2018) in balls of its own around the image. The radius doubles until a run
// succeeds. Then it is halfway between the largest at which a run failed and the
// distance of the nearest misclassified point. The steps of a run fall evenly from half
// of its radius towards zero. It begins at a random point of its ball or, once there is a
// misclassified point, on the way from the image to the nearest one.
//
// RadiusSearch does the same from outside with any attack, on a given grid of radii.
type Bisect struct {
	Steps    int     // of a run of PGD; 0: 40
	Probes   int     // runs of PGD; 0: 12
	First    float64 // radius in pixel units; 0: 1/16, L2 √d/16, L1 d/100 for d values
	Restarts int     // searches, each in the radius that the one before has left; 0: 1
	Loss     net.Loss
	Seed     uint64
}

const bisectProbes = 12

func (Bisect) Name() string { return "bisect" }

// Fields ties the settings to their textual form.
func (b *Bisect) Fields() []Field {
	return []Field{
		Count("steps", "gradient steps at a radius", &b.Steps, usualSteps).Shown(strconv.Itoa(usualSteps)),
		Count("probes", "radii that are tried", &b.Probes, bisectProbes),
		Length("first", "first radius in pixel units (default 1/16; for d values, l2: √d/16, l1: d/100)", &b.First),
		Count("restarts", "searches an image gets", &b.Restarts, 1),
		Loss(&b.Loss),
		Seed(&b.Seed),
	}
}

func (b Bisect) String() string { return Text(b.Name(), b.Fields()) }

// Method returns what b is set to.
func (b *Bisect) Method() Method { return *b }

func (b Bisect) Plan() Plan {
	return Plan{Goal: SmallestDistance, Restarts: max(1, b.Restarts), Seed: b.Seed, FixedLengths: b.First != 0}
}

func (b Bisect) Validate(in net.Ball, classes int) error {
	return checkSettings(b.Fields(), in, classes, net.Linf, net.L2, net.L1)
}

func (b Bisect) NewRule(s *Space) Rule {
	r := &bisect{space: s, steps: cmp.Or(b.Steps, usualSteps), probes: cmp.Or(b.Probes, bisectProbes), first: b.First, loss: b.Loss}
	if r.first == 0 {
		r.first = map[net.Norm]float64{net.Linf: 1.0 / 16, net.L2: math.Sqrt(float64(s.Size)) / 16, net.L1: float64(s.Size) / 100}[s.Ball.Norm]
	}
	r.state, r.nearest = make([]bisectState, s.Slots), s.Tensor()
	return r
}

// bisect is the rule. nearest holds the misclassified points.
type bisect struct {
	space         *Space
	steps, probes int
	first         float64
	loss          net.Loss
	state         []bisectState // by Seat
	nearest       []float32
}

type bisectState struct {
	lo, hi float64 // radius of a run that failed; distance of the nearest misclassified point, +Inf: none
	known  bool    // nearest holds such a point
	radius float64 // of the run
	begins bool    // go to its start
	probe  int
	step   int // of the run
}

// Start is not called: the rule goes to the start of each run of PGD itself.
func (r *bisect) Start(*Slot, []float32) {}

func (r *bisect) Judge(s *Slot, z, dz []float32) Verdict {
	t := &r.state[s.Seat]
	if s.Step == 0 {
		*t = bisectState{hi: s.Nearest}
		if !s.Fools {
			return r.next(t)
		}
	}
	switch {
	case s.Fools:
		if s.Distance < t.hi {
			t.hi, t.known = s.Distance, true
			r.space.keep(r.nearest, s)
		}
		t.lo = min(t.lo, t.hi)
		return r.next(t)
	case t.step == r.steps:
		t.lo = t.radius
		return r.next(t)
	}
	t.begins = false
	t.step++
	r.loss.Gradient(dz, z, s.Y, s.Target)
	return Ascend
}

// next begins a run at the next radius, if any.
func (r *bisect) next(t *bisectState) Verdict {
	most := r.space.Ball.Eps.Float64()
	switch {
	case t.probe == r.probes || t.lo >= min(t.hi, most):
		return RunOver
	case !math.IsInf(t.hi, 1):
		t.radius = (t.lo + t.hi) / 2
	case t.lo == 0:
		t.radius = min(r.first, most)
	default:
		t.radius = min(2*t.lo, most)
	}
	t.probe++
	t.begins, t.step = true, 0
	return Move
}

func (r *bisect) Move(slots []Slot, grad []float32) {
	sp := r.space
	for i := range slots {
		s := &slots[i]
		if !s.Moves {
			continue
		}
		at := func(t []float32) []float32 { return sp.Block(t, s.Place/int(sp.Layout))[s.Place%int(sp.Layout):] }
		switch t := &r.state[s.Seat]; {
		case t.begins && t.known:
			sp.between(at(sp.X), at(sp.Centre), at(r.nearest), min(1, t.radius/t.hi))
		case t.begins:
			sp.scatter(at(sp.X), at(sp.Centre), s, t.radius)
		case sp.Ball.Norm == net.L1:
			sp.slide(at(sp.X), at(grad), at(sp.Lo), at(sp.Hi), at(sp.Centre), r.length(t), t.radius)
		default:
			sp.walk(at(sp.X), at(grad), r.length(t))
			sp.pull(at(sp.X), at(sp.Centre), t.radius)
		}
	}
}

// length is that of the next step.
func (r *bisect) length(t *bisectState) float64 {
	return float64(t.radius*float64(r.steps+1-t.step)) / float64(2*r.steps)
}

// slide is climbL1 for one image of a block, in a ball of a radius of its own.
func (s *Space) slide(x, g, lo, hi, c []float32, length, radius float64) {
	for k := 0; k < len(x); k += int(s.Layout) {
		if g[k] > 0 && x[k] >= hi[k] || g[k] < 0 && x[k] <= lo[k] {
			g[k] = 0
		}
	}
	s.stepSparse(x, g, length, max(1, int(slideShare*float64(s.Size))))
	s.projectImageL1(x, lo, hi, c, int(s.Layout), radius)
}

// scatter moves a slot to a random point of a ball around the image, in the pixel box:
// uniform for Linf; else in a direction of normal numbers, at the ball's surface.
func (s *Space) scatter(x, c []float32, at *Slot, radius float64) {
	var sum sums
	n, step := s.Size*int(s.Layout), int(s.Layout)
	for k := 0; k < n; k += step {
		if s.Ball.Norm == net.Linf {
			x[k] = 2*at.Stream.Float32() - 1
		} else {
			x[k] = at.Stream.Norm()
		}
		sum.add(float64(x[k]))
	}
	scale := radius
	if s.Ball.Norm != net.Linf {
		scale /= sum.norm(s.Ball.Norm) + 1e-30
	}
	for k := 0; k < n; k += step {
		x[k] = box(float64(c[k]) + float64(scale*float64(x[k])))
	}
}

// walk moves a slot by a length along its gradient: each pixel along the sign (Linf), or
// the image along the direction (L2). It stays if the gradient is zero or not finite.
func (s *Space) walk(x, g []float32, length float64) {
	n, step := s.Size*int(s.Layout), int(s.Layout)
	if s.Ball.Norm == net.Linf {
		for k := 0; k < n; k += step {
			switch v := g[k]; {
			case v > 0:
				x[k] = box(float64(x[k]) + length)
			case v < 0:
				x[k] = box(float64(x[k]) - length)
			}
		}
		return
	}
	var sum sums
	for k := 0; k < n; k += step {
		sum.add(float64(g[k]))
	}
	if norm := math.Sqrt(sum.sum2); norm > 0 && !math.IsInf(norm, 0) {
		scale := length / norm
		for k := 0; k < n; k += step {
			x[k] += float32(scale * float64(g[k]))
		}
	}
}

// pull brings a slot into a ball around the image and into the pixel box.
func (s *Space) pull(x, c []float32, radius float64) {
	n, step := s.Size*int(s.Layout), int(s.Layout)
	if s.Ball.Norm == net.Linf {
		for k := 0; k < n; k += step {
			d := min(max(float64(x[k])-float64(c[k]), -radius), radius)
			x[k] = box(float64(c[k]) + d)
		}
		return
	}
	scale := 1.0
	var sum sums
	for k := 0; k < n; k += step {
		sum.add(float64(x[k]) - float64(c[k]))
	}
	if norm := math.Sqrt(sum.sum2); norm > radius {
		scale = radius / norm
	}
	for k := 0; k < n; k += step {
		x[k] = box(float64(c[k]) + float64(scale*(float64(x[k])-float64(c[k]))))
	}
}
