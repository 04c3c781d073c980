package attack

import (
	"math"
	"strconv"

	"github.com/epsball/epsball/net"
)

// FMN is the fast minimum-norm attack (Pintor et al. 2021, Algorithm 1), for L0, L1, L2
// and Linf. Each step goes along the gradient of the margin, its length α falling along
// half a cosine to a hundredth, and into a ball of a radius of its own. While nothing has
// been found, the radius is the distance at which the linearised margin is zero; then it
// shrinks by γ where the point is misclassified and grows by γ where it is not, and γ
// falls from gamma to 0.001 like α. For L0 it begins at 1, and changes by at least 1.
//
// For L1 and L2 the radius also grows by γ in each step but the first while nothing has
// been found: that of the paper may approach the boundary without ever crossing it. The
// point after the last step counts too. There is no search for a starting point.
type FMN struct {
	Steps    int     // gradient steps of a run; 0: 100
	Alpha    float64 // length of the first step, in L2; 0: 1
	Gamma    float64 // by which the radius changes at first; 0: 0.05
	Restarts int     // 0: 1; more need Targeted
	Targeted bool
	Seed     uint64 // picks directions where the gradient is zero
}

const (
	fmnSteps     = 100
	fmnAlpha     = 1.0
	fmnGamma     = 0.05
	fmnLastGamma = 0.001
)

func (FMN) Name() string { return "fmn" }

// Fields ties the settings to their textual form.
func (a *FMN) Fields() []Field {
	return []Field{
		Count("steps", "gradient steps of a run", &a.Steps, fmnSteps).Shown(strconv.Itoa(fmnSteps)),
		Positive("alpha", "length of the first step, in L2", &a.Alpha, fmnAlpha),
		Share("gamma", "by which the radius shrinks or grows in the first steps", &a.Gamma, fmnGamma),
		Count("restarts", "runs an image gets, each towards another class", &a.Restarts, 1),
		Flag("targeted", "look for a point of a wrong class", &a.Targeted, false),
		Seed(&a.Seed),
	}
}

func (a FMN) String() string { return Text(a.Name(), a.Fields()) }

// Method returns what a is set to.
func (a *FMN) Method() Method { return *a }

func (a FMN) Plan() Plan {
	return Plan{Goal: SmallestDistance, Restarts: max(1, a.Restarts), Targeted: a.Targeted, Seed: a.Seed}
}

func (a FMN) Validate(b net.Ball, classes int) error {
	return checkNearest(a.Fields(), b, a.Plan(), net.Linf, net.L2, net.L1, net.L0)
}

func (a FMN) NewRule(s *Space) Rule {
	return &fmn{
		one: newOne(s), state: make([]fmnState, s.Slots),
		steps: or(a.Steps, fmnSteps), alpha: min(or(a.Alpha, fmnAlpha), huge), gamma: or(a.Gamma, fmnGamma),
	}
}

type fmn struct {
	one
	steps        int
	alpha, gamma float64
	state        []fmnState // by Seat
}

// fmnState is what the rule knows of one run.
type fmnState struct {
	radius float64
	most   float64 // distance of the farthest point of the pixel box
	best   float64 // of the nearest point that fools; most: none has been found
	margin float64 // of the point at hand, absolute
	fools  bool
	found  bool // a point fools
}

func (r *fmn) Start(*Slot, []float32) {}

func (r *fmn) Judge(s *Slot, z, dz []float32) Verdict {
	if s.Step >= r.steps {
		return RunOver
	}
	t := &r.state[s.Seat]
	if s.Step == 0 {
		*t = fmnState{radius: 1}
	}
	t.fools = s.Fools
	t.found = t.found || s.Fools
	if t.margin = math.Abs(float64(net.Margin.Gradient(dz, z, s.Y, s.Target))); math.IsNaN(t.margin) {
		t.margin = 0
	}
	return Ascend
}

func (r *fmn) Move(slots []Slot, grad []float32) {
	for i := range slots {
		if s := &slots[i]; s.Moves {
			norm2 := r.take(s, grad)
			r.step(s, norm2)
			r.put(s)
		}
	}
}

// step is that of one image, from its s.Step-th point.
func (r *fmn) step(s *Slot, norm2 float64) {
	t, norm := &r.state[s.Seat], r.space.Ball.Norm
	if s.Step == 1 {
		t.most = r.farthest(norm)
		t.best = t.most
	}
	for k := range r.d {
		r.d[k] = float64(r.x[k]) - float64(r.c[k])
	}
	share := annealed(s.Step-1, r.steps)
	gamma := fmnLastGamma + float64((r.gamma-fmnLastGamma)*share)
	r.resize(s, t, norm, length(r.d, norm), gamma)

	if norm2 == 0 {
		norm2 = r.random(s)
	}
	last := r.alpha / 100
	alpha := (last + float64((r.alpha-last)*share)) / math.Sqrt(norm2)
	for k, g := range r.g {
		r.d[k] += float64(alpha * float64(g))
	}
	r.land(r.shrink(norm, t.radius))
}

// resize chooses the radius of the step from a point at that distance from the image.
func (r *fmn) resize(s *Slot, t *fmnState, norm net.Norm, distance, gamma float64) {
	if t.fools {
		t.best = min(t.best, distance)
	}
	smaller, larger := float64(t.radius*(1-gamma)), float64(t.radius*(1+gamma))
	switch {
	case norm == net.L0 && t.fools:
		t.radius = max(0, min(t.radius-1, math.Floor(smaller), t.best))
	case norm == net.L0:
		t.radius = max(t.radius+1, math.Floor(larger))
	case t.fools:
		t.radius = min(smaller, t.best)
	case t.found:
		t.radius = larger
	default:
		if way := t.margin / max(r.dual(norm), 1e-12); norm == net.Linf || s.Step == 1 {
			t.radius = distance + way
		} else {
			t.radius = max(float64(distance*(1+gamma))+way, larger)
		}
	}
	t.radius = min(t.radius, t.most)
}

// dual is the norm of the gradient that belongs to distances in norm.
func (r *fmn) dual(norm net.Norm) float64 {
	var largest, sum, sum2 float64
	for _, v := range r.g {
		a := math.Abs(float64(v))
		largest = max(largest, a)
		sum += a
		sum2 += float64(a * a)
	}
	switch norm {
	case net.L1:
		return largest
	case net.L2:
		return math.Sqrt(sum2)
	}
	return sum
}

// shrink projects d to the ball of that radius, but for a factor that it returns.
func (r *fmn) shrink(norm net.Norm, radius float64) float64 {
	switch norm {
	case net.Linf:
		for k, v := range r.d {
			r.d[k] = min(max(v, -radius), radius)
		}
	case net.L2:
		if n := length(r.d, net.L2); n > radius {
			return radius / n
		}
	case net.L1:
		shrinkL1(r.d, radius)
	case net.L0:
		shrinkL0(r.d, int(radius))
	}
	return 1
}

// shrinkL1 projects d to the L1 ball: all absolute values fall by a number θ, but not
// below zero (Duchi et al. 2008). θ is found by leaving out values that would vanish until
// none does (Michelot 1986).
func shrinkL1(d []float64, radius float64) {
	theta, left := 0.0, 0
	if length(d, net.L1) <= radius {
		return
	}
	for {
		sum, n := 0.0, 0
		for _, v := range d {
			if a := math.Abs(v); a > theta {
				sum += a
				n++
			}
		}
		if n == left || n == 0 {
			break
		}
		theta, left = max(theta, (sum-radius)/float64(n)), n
	}
	for k, v := range d {
		d[k] = math.Copysign(max(0, math.Abs(v)-theta), v)
	}
}

// shrinkL0 keeps the n largest absolute values of d, at least one, and those equal to the
// smallest that is kept; the others become zero. The bits of positive numbers are in
// their order: the smallest one to keep is found bit by bit.
func shrinkL0(d []float64, n int) {
	n = max(1, n)
	var least uint64
	for bit := 62; bit >= 0; bit-- {
		try, count := least|1<<bit, 0
		for _, v := range d {
			if math.Float64bits(math.Abs(v)) >= try {
				count++
			}
		}
		if count >= n {
			least = try
		}
	}
	for k, v := range d {
		if math.Float64bits(math.Abs(v)) < least {
			d[k] = 0
		}
	}
}
