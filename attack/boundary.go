package attack

import (
	"cmp"
	"math"
	"strconv"

	"github.com/epsball/epsball/net"
)

// Boundary is the boundary attack, which needs labels alone, for L2 (Brendel, Rauber &
// Bethge 2018, Decision-based adversarial attacks: reliable attacks against black-box
// machine learning models). From a misclassified point, a step goes a random way along
// the sphere around the image, then towards the image, and counts if the point that it
// comes to is still misclassified. The lengths of both parts follow the shares of
// misclassified points after the first part and after both, as in foolbox: the former is
// looked at every tenth step, with a query of its own, and kept between 0.2 and 0.5; the
// latter between 0.1 and 0.25. A run ends when the way towards the image is below a
// 10⁻⁷th of the distance.
//
// It begins with uniform noise blended into the image, or with the given start point if
// that is misclassified. Each point evaluated is a query.
type Boundary struct {
	Steps     int     // 0: 25,000
	Queries   int     // at which an image ends in any case; 0: 1,048,576
	Spherical float64 // first length of a way along the sphere, as a share of the distance; 0: 0.01
	Source    float64 // of a way towards the image; 0: 0.01
	Restarts  int     // 0: 1
	Seed      uint64
}

const (
	boundarySteps = 25000
	boundaryStep  = 0.01
	boundaryLast  = 1e-7
	boundaryEvery = 10  // steps between looks at the shares
	boundaryAdapt = 1.5 // factor of the lengths
)

func (Boundary) Name() string { return "boundary" }

// Fields ties the settings to their textual form.
func (b *Boundary) Fields() []Field {
	return []Field{
		Count("steps", "steps of a run", &b.Steps, boundarySteps).Shown(strconv.Itoa(boundarySteps)),
		Count("queries", "queries at which a run ends", &b.Queries, maxCount),
		Share("spherical-step", "first length of a way along the sphere, as a share of the distance", &b.Spherical, boundaryStep),
		Share("source-step", "first length of a way towards the image, as a share of the distance", &b.Source, boundaryStep),
		Count("restarts", "runs an image gets", &b.Restarts, 1),
		Seed(&b.Seed),
	}
}

func (b Boundary) String() string { return Text(b.Name(), b.Fields()) }

// Method returns what b is set to.
func (b *Boundary) Method() Method { return *b }

func (b Boundary) Plan() Plan {
	return Plan{Goal: SmallestDistance, Restarts: max(1, b.Restarts), NoGradient: true, Seed: b.Seed}
}

func (b Boundary) Validate(in net.Ball, classes int) error {
	return checkSettings(b.Fields(), in, classes, net.L2)
}

func (b Boundary) NewRule(s *Space) Rule {
	r := &boundary{
		space: s, steps: cmp.Or(b.Steps, boundarySteps), queries: cmp.Or(b.Queries, maxCount),
		spherical: cmp.Or(b.Spherical, boundaryStep), source: cmp.Or(b.Source, boundaryStep), state: make([]boundaryState, s.Slots),
	}
	r.at, r.sphere = s.Tensor(), s.Tensor()
	return r
}

// boundary is the rule. Its tensors hold the point so far, and that on the sphere.
type boundary struct {
	space             *Space
	steps, queries    int
	spherical, source float64
	state             []boundaryState // by Seat
	at, sphere        []float32
}

type boundaryState struct {
	phase             boundaryPhase
	blend             blending
	step              int
	distance          float64
	spherical, source float64 // lengths, as shares of the distance
	onSphere, reached shares
	hit               bool // the point of the step is misclassified
}

type boundaryPhase int

const (
	boundaryBlend  boundaryPhase = iota // for a first misclassified point
	boundaryWalk                        // both ways
	boundarySphere                      // the way along the sphere alone
)

// Start is not called: runs begin at the image.
func (r *boundary) Start(*Slot, []float32) {}

func (r *boundary) Judge(s *Slot, _, _ []float32) Verdict {
	t := &r.state[s.Seat]
	if s.Step == 0 {
		*t = boundaryState{spherical: r.spherical, source: r.source}
		t.onSphere.size, t.reached.size = 100, 30
	}
	if s.Step >= r.queries {
		return RunOver
	}
	switch {
	case s.Step == 0 && s.Fools: // a given start point
		r.take(s, t)
	case t.phase == boundaryBlend:
		found, over := t.blend.next(s.Fools)
		if over {
			return RunOver
		}
		if !found {
			return Move
		}
		r.take(s, t)
	case t.phase == boundaryWalk:
		if t.hit = s.Fools; s.Fools && s.Distance < t.distance {
			r.take(s, t)
		}
		if t.step%boundaryEvery == 0 {
			t.phase = boundarySphere
			return Move
		}
	default:
		t.adapt(s.Fools)
	}
	if t.step == r.steps || t.source < boundaryLast {
		return RunOver
	}
	t.phase = boundaryWalk
	t.step++
	return Move
}

// take goes on from the point at hand.
func (r *boundary) take(s *Slot, t *boundaryState) {
	r.space.keep(r.at, s)
	t.distance = s.Distance
}

// adapt changes the lengths by the shares of misclassified points.
func (t *boundaryState) adapt(onSphere bool) {
	t.onSphere.add(onSphere)
	t.reached.add(t.hit)
	switch share, ok := t.onSphere.share(); {
	case !ok:
	case share > 0.5:
		t.spherical *= boundaryAdapt
		t.source *= boundaryAdapt
		t.onSphere.n = 0
	case share < 0.2:
		t.spherical /= boundaryAdapt
		t.source /= boundaryAdapt
		t.onSphere.n = 0
	}
	switch share, ok := t.reached.share(); {
	case !ok:
	case share > 0.25:
		t.source *= boundaryAdapt
		t.reached.n = 0
	case share < 0.1:
		t.source /= boundaryAdapt
		t.reached.n = 0
	}
}

// shares counts the hits among the last size trials.
type shares struct {
	hits  [100]bool // trial i is at i%size
	size  int
	n, at int // trials since the last change of a length; place of the next
}

func (s *shares) add(hit bool) {
	s.hits[s.at] = hit
	s.at = (s.at + 1) % s.size
	s.n++
}

// share is known after size trials.
func (s *shares) share() (float64, bool) {
	if s.n < s.size {
		return 0, false
	}
	hits := 0
	for _, hit := range s.hits[:s.size] {
		if hit {
			hits++
		}
	}
	return float64(hits) / float64(s.size), true
}

func (r *boundary) Move(slots []Slot, _ []float32) {
	sp := r.space
	for i := range slots {
		s := &slots[i]
		if !s.Moves {
			continue
		}
		switch t := &r.state[s.Seat]; t.phase {
		case boundaryBlend:
			t.blend.move(sp, s, r.sphere)
		case boundaryWalk:
			r.walk(s, t)
		case boundarySphere:
			x, from := sp.Layout.Slot(sp.X, sp.Size, s.Place), sp.Layout.Slot(r.sphere, sp.Size, s.Place)
			for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
				x[k] = from[k]
			}
		}
	}
}

// walk goes to a random point of the sphere around the image, and from there towards the
// image.
func (r *boundary) walk(s *Slot, t *boundaryState) {
	sp := r.space
	slot := func(t []float32) []float32 { return sp.Layout.Slot(t, sp.Size, s.Place) }
	x, c, at, sphere := slot(sp.X), slot(sp.Centre), slot(r.at), slot(r.sphere)
	n := sp.Size * int(sp.Layout)
	// η, normal, less its part towards the image
	var radius2, along, eta2 float64
	for k := 0; k < n; k += int(sp.Layout) {
		x[k] = s.Stream.Norm()
		d := float64(c[k]) - float64(at[k])
		radius2 += float64(d * d)
		along += float64(d * float64(x[k]))
	}
	along /= radius2
	for k := 0; k < n; k += int(sp.Layout) {
		e := float64(x[k]) - float64(along*(float64(c[k])-float64(at[k])))
		eta2 += float64(e * e)
	}
	radius := math.Sqrt(radius2)
	if !(radius > 0 && eta2 > 0) {
		return // x is noise: a query is lost
	}
	scale := float64(t.spherical*radius) / math.Sqrt(eta2)
	fall := 1 / math.Sqrt(1+float64(t.spherical*t.spherical))
	var left2 float64
	for k := 0; k < n; k += int(sp.Layout) {
		d := float64(c[k]) - float64(at[k])
		e := float64(scale * (float64(x[k]) - float64(along*d)))
		sphere[k] = box(float64(c[k]) + float64(fall*(e-d)))
		left := float64(c[k]) - float64(sphere[k])
		left2 += float64(left * left)
	}
	left := math.Sqrt(left2)
	share := 0.0
	if left > 0 {
		share = min(1, max(0, float64(t.source*radius)+left-radius)/left)
	}
	for k := 0; k < n; k += int(sp.Layout) {
		d := float64(c[k]) - float64(sphere[k])
		x[k] = box(float64(sphere[k]) + float64(share*d))
	}
}
