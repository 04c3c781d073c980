package attack

import (
	"cmp"
	"math"
	"strconv"

	"github.com/epsball/epsball/net"
)

// HopSkipJump needs labels alone (Chen, Jordan & Wainwright 2020, HopSkipJumpAttack: a
// query-efficient decision-based attack, Algorithm 2), for L2 and Linf. It looks for the
// misclassified point nearest to the image. From a point at the boundary, a step estimates
// the direction of the gradient from the labels of points around it, goes that way,
// less and less far until the point is misclassified, and comes back to the boundary by
// bisection of the segment to the image (Linf: of the radius).
//
// It begins with uniform noise blended into the image, as foolbox does, or with the given
// start point if that is misclassified. Each point evaluated is a query. Step t takes
// Evals·√t queries for the gradient, at most MaxEvals.
type HopSkipJump struct {
	Steps    int // 0: 64
	Evals    int // queries for the gradient of the first step; 0: 100
	MaxEvals int // of any step; 0: 10,000
	Queries  int // at which an image ends in any case; 0: 1,048,576
	Restarts int // 0: 1
	Seed     uint64
}

const (
	hopSteps    = 64
	hopEvals    = 100
	hopMaxEvals = 10000
	hopHalvings = 40 // of the length of a step
)

func (HopSkipJump) Name() string { return "hopskipjump" }

// Fields ties the settings to their textual form.
func (h *HopSkipJump) Fields() []Field {
	return []Field{
		Count("steps", "steps of a run", &h.Steps, hopSteps).Shown(strconv.Itoa(hopSteps)),
		Count("evals", "queries for the gradient of the first step", &h.Evals, hopEvals),
		Count("max-evals", "most queries for the gradient of a step", &h.MaxEvals, hopMaxEvals),
		Count("queries", "queries at which a run ends", &h.Queries, maxCount),
		Count("restarts", "runs an image gets", &h.Restarts, 1),
		Seed(&h.Seed),
	}
}

func (h HopSkipJump) String() string { return Text(h.Name(), h.Fields()) }

// Method returns what h is set to.
func (h *HopSkipJump) Method() Method { return *h }

func (h HopSkipJump) Plan() Plan {
	return Plan{Goal: SmallestDistance, Restarts: max(1, h.Restarts), NoGradient: true, Seed: h.Seed}
}

func (h HopSkipJump) Validate(b net.Ball, classes int) error {
	return checkSettings(h.Fields(), b, classes, net.Linf, net.L2)
}

func (h HopSkipJump) NewRule(s *Space) Rule {
	r := &hopSkipJump{
		space: s, steps: cmp.Or(h.Steps, hopSteps), queries: cmp.Or(h.Queries, maxCount), state: make([]hopState, s.Slots),
		evals: float64(cmp.Or(h.Evals, hopEvals)), maxEvals: float64(cmp.Or(h.MaxEvals, hopMaxEvals)),
	}
	r.at, r.sum, r.signed = s.Tensor(), s.Tensor(), s.Tensor()
	return r
}

// hopSkipJump is the rule. Its tensors hold the point at the boundary, or the one from
// which it is sought; the sum of the offsets that were tried; and their sum with the
// signs of their labels, which then becomes the direction.
type hopSkipJump struct {
	space           *Space
	steps, queries  int
	evals, maxEvals float64
	state           []hopState // by Seat
	at, sum, signed []float32
}

type hopState struct {
	phase    hopPhase
	blend    blending
	step     int
	distance float64 // of the point at the boundary

	lo, hi float64 // of the bisection
	delta  float64 // distance of the points that are tried
	tried  int
	evals  int
	inside int     // of them are misclassified
	length float64 // of the step
	halved int
}

type hopPhase int

const (
	hopBlend  hopPhase = iota // for a first misclassified point
	hopBisect                 // to the boundary
	hopTry                    // points around it
	hopJump                   // along the direction
)

// Start is not called: runs begin at the image.
func (r *hopSkipJump) Start(*Slot, []float32) {}

func (r *hopSkipJump) Judge(s *Slot, _, _ []float32) Verdict {
	t := &r.state[s.Seat]
	if s.Step == 0 {
		*t = hopState{step: 1}
		if s.Fools { // a given start point
			r.bisect(s, t)
			return Move
		}
	}
	if s.Step >= r.queries {
		return RunOver
	}
	switch t.phase {
	case hopBlend:
		found, over := t.blend.next(s.Fools)
		if over {
			return RunOver
		}
		if found {
			r.bisect(s, t)
		}
		return Move
	case hopBisect:
		if mid := (t.lo + t.hi) / 2; s.Fools {
			t.hi = mid
		} else {
			t.lo = mid
		}
	case hopTry:
		r.note(s, t)
		return Move
	case hopJump:
		if s.Fools {
			t.step++
			r.bisect(s, t)
			break
		}
		t.length /= 2
		if t.halved++; t.halved < hopHalvings {
			return Move
		}
		t.step++
		return r.around(t)
	}
	if t.hi-t.lo > r.precision(t) {
		return Move
	}
	r.project(s, r.at, t.hi)
	t.distance = r.space.apart(r.at, s)
	return r.around(t)
}

// bisect starts a bisection from the misclassified point at hand.
func (r *hopSkipJump) bisect(s *Slot, t *hopState) {
	t.phase, t.lo, t.hi = hopBisect, 0, 1
	r.space.keep(r.at, s)
	t.distance = r.space.apart(r.at, s)
	if r.space.Ball.Norm == net.Linf {
		t.hi = t.distance
	}
}

// precision is that of a bisection: of a share of the segment for L2, of a radius for Linf.
func (r *hopSkipJump) precision(t *hopState) float64 {
	d := float64(r.space.Size)
	if r.space.Ball.Norm == net.Linf {
		return t.distance / float64(d*d)
	}
	return 1 / float64(d*math.Sqrt(d))
}

// project brings the point of r.at to a share of its way (L2) or to a radius (Linf), as a
// point of t.
func (r *hopSkipJump) project(s *Slot, t []float32, to float64) {
	sp := r.space
	x, c, v := sp.Layout.Slot(t, sp.Size, s.Place), sp.Layout.Slot(sp.Centre, sp.Size, s.Place), sp.Layout.Slot(r.at, sp.Size, s.Place)
	if sp.Ball.Norm != net.Linf {
		sp.between(x, c, v, to)
		return
	}
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		lo, hi := float32(float64(c[k])-to), float32(float64(c[k])+to)
		x[k] = min(max(v[k], lo), hi)
	}
}

// around begins the estimate of a direction, if a step is left.
func (r *hopSkipJump) around(t *hopState) Verdict {
	if t.step > r.steps {
		return RunOver
	}
	t.phase, t.tried, t.inside = hopTry, 0, 0
	t.evals = int(min(float64(r.evals*math.Sqrt(float64(t.step))), r.maxEvals))
	if t.delta = 0.1; t.step > 1 {
		t.delta = t.distance / float64(r.space.Size)
	}
	return Move
}

// note adds the point at hand to the sums, and makes them a direction after the last.
func (r *hopSkipJump) note(s *Slot, t *hopState) {
	sp := r.space
	slot := func(t []float32) []float32 { return sp.Layout.Slot(t, sp.Size, s.Place) }
	x, at, sum, signed := slot(sp.X), slot(r.at), slot(r.sum), slot(r.signed)
	sign := float32(-1)
	if s.Fools {
		sign = 1
		t.inside++
	}
	first := t.tried == 0
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		if first {
			sum[k], signed[k] = 0, 0
		}
		d := x[k] - at[k]
		sum[k] += d
		signed[k] += float32(sign * d)
	}
	if t.tried++; t.tried < t.evals {
		return
	}
	// The mean of the signs is a baseline, which lowers the variance (equation 16).
	mean := float64(2*t.inside)/float64(t.tried) - 1
	if t.inside == 0 || t.inside == t.tried {
		mean = 0
	}
	norm2 := 0.0
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		d := float64(signed[k]) - float64(mean*float64(sum[k]))
		signed[k] = float32(d)
		norm2 += float64(d * d)
	}
	scale := 1 / (math.Sqrt(norm2) + 1e-30)
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		switch v := signed[k]; {
		case sp.Ball.Norm != net.Linf:
			signed[k] = float32(scale * float64(v))
		case v > 0:
			signed[k] = 1
		case v < 0:
			signed[k] = -1
		}
	}
	t.phase, t.halved = hopJump, 0
	t.length = t.distance / math.Sqrt(float64(t.step))
}

func (r *hopSkipJump) Move(slots []Slot, _ []float32) {
	for i := range slots {
		s := &slots[i]
		if !s.Moves {
			continue
		}
		switch t := &r.state[s.Seat]; t.phase {
		case hopBlend:
			t.blend.move(r.space, s, r.sum)
		case hopBisect:
			r.project(s, r.space.X, (t.lo+t.hi)/2)
		case hopTry:
			r.try(s, t.delta)
		case hopJump:
			sp := r.space
			slot := func(t []float32) []float32 { return sp.Layout.Slot(t, sp.Size, s.Place) }
			x, at, way := slot(sp.X), slot(r.at), slot(r.signed)
			for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
				x[k] = box(float64(at[k]) + float64(t.length*float64(way[k])))
			}
		}
	}
}

// try goes a distance delta from the point at the boundary in a random direction, of
// normal numbers (L2) or uniform ones (Linf).
func (r *hopSkipJump) try(s *Slot, delta float64) {
	sp := r.space
	x, at := sp.Layout.Slot(sp.X, sp.Size, s.Place), sp.Layout.Slot(r.at, sp.Size, s.Place)
	norm2 := 0.0
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		if sp.Ball.Norm == net.Linf {
			x[k] = 2*s.Stream.Float32() - 1
		} else {
			x[k] = s.Stream.Norm()
		}
		norm2 += float64(float64(x[k]) * float64(x[k]))
	}
	scale := delta / (math.Sqrt(norm2) + 1e-12)
	for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
		x[k] = box(float64(at[k]) + float64(scale*float64(x[k])))
	}
}
