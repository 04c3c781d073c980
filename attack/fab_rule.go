package attack

import (
	"cmp"
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// fab is the rule of FABT. The rule of FAB, fabAll, differs in the planes.
type fab struct {
	space               *Space
	steps               int
	alphaMax, eta, beta float64
	state               []fabState // by Seat
	nearest             []float32  // the nearest misclassified point of the run
	x, c, g             []float32  // one image: point, image, gradient
	toPoint, toImage    []float64  // their shifts to the plane
	plane               *planes
}

// fabState is what the rule knows of one run.
type fabState struct {
	first  int  // target of the first run
	random bool // that run's target has come again: start at random points

	steps    int     // done
	next     fabMove // what Move does
	gap      float64 // of the logit of the plane's class to that of the label
	distance float64 // of the nearest misclassified point; +Inf: none
	margin   float32 // there

	class  int     // of FAB: whose gradient comes next
	ratio  float64 // of FAB: distance of the nearest plane so far
	around segment
}

type fabMove int

const (
	fabStep fabMove = iota // to the plane
	fabBack                // towards the image
	fabSeek                // on the segment
)

// segment is a search of the segment from the image, 0, to a misclassified point, 1.
type segment struct {
	steps    int // made
	at       float64
	lo, hi   float64 // correct and misclassified points
	mLo, mHi float32 // margins there
}

func newFAB(s *Space, f FAB) *fab {
	r := &fab{
		space: s, steps: cmp.Or(f.Steps, fabSteps), alphaMax: cmp.Or(f.AlphaMax, fabAlphaMax),
		eta: cmp.Or(f.Eta, fabEta), beta: cmp.Or(f.Beta, fabBeta), state: make([]fabState, s.Slots),
	}
	r.nearest = s.Tensor()
	for _, t := range []*[]float32{&r.x, &r.c, &r.g} {
		*t = make([]float32, s.Size)
	}
	r.toPoint, r.toImage = make([]float64, s.Size), make([]float64, s.Size)
	r.plane = newPlanes(s.Ball.Norm, s.Size)
	return r
}

// Start is at the image until the targets come again.
func (r *fab) Start(s *Slot, x []float32) {
	t := &r.state[s.Seat]
	if s.Run == 0 {
		t.first, t.random = s.Target, false
	} else if s.Target == t.first {
		t.random = true
	}
	if !t.random {
		return
	}
	// Pixels are uniform in [−1, 1] for Linf, else normal; then brought to the length.
	linf := r.space.Ball.Norm == net.Linf
	draw := func(q *kernels.Stream) float64 {
		if linf {
			return float64(2*q.Float32() - 1)
		}
		return float64(q.Norm())
	}
	again := s.Stream
	var sum sums
	for range x {
		sum.add(draw(&s.Stream))
	}
	length := sum.norm(r.space.Ball.Norm)
	if length == 0 {
		return
	}
	scale := min(s.Nearest, r.space.Ball.Eps.Float64()) / 2 / length
	for k := range x {
		x[k] += float32(scale * draw(&again))
	}
}

// sums are what norms are made of.
type sums struct{ largest, sum, sum2 float64 }

func (s *sums) add(v float64) {
	v = math.Abs(v)
	s.largest = max(s.largest, v)
	s.sum += v
	s.sum2 += float64(v * v)
}

func (s *sums) norm(n net.Norm) float64 {
	switch n {
	case net.Linf:
		return s.largest
	case net.L2:
		return math.Sqrt(s.sum2)
	}
	return s.sum
}

func (r *fab) Judge(s *Slot, z, dz []float32) Verdict {
	t := &r.state[s.Seat]
	v := r.judge(s, t)
	if v == Ascend {
		t.gap = float64(z[s.Target]) - float64(z[s.Y])
		dz[s.Target], dz[s.Y] = 1, -1
	}
	return v
}

// judge says what comes after the point in the slot: for Ascend, a step.
func (r *fab) judge(s *Slot, t *fabState) Verdict {
	if s.Step == 0 {
		*t = fabState{first: t.first, random: t.random, distance: math.Inf(1), next: fabBack}
	}
	if t.next == fabSeek {
		return t.seek(s.Fools, s.Margin)
	}
	if s.Fools && s.Distance < t.distance {
		t.distance, t.margin = s.Distance, s.Margin
		r.space.keep(r.nearest, s)
	}
	if t.steps == r.steps {
		if math.IsInf(t.distance, 1) {
			return RunOver
		}
		t.next, t.around = fabSeek, segment{hi: 1, mHi: t.margin}
		return Move // to the image, for its margin
	}
	if s.Fools && t.next == fabStep {
		t.next = fabBack
		return Move
	}
	t.next = fabStep
	t.steps++
	return Ascend
}

// seek is told of the point at t.around.at, and picks the next one. The margin is taken to
// be linear between the ends. The point is nearer to the misclassified end by a
// twentieth, so that rounding does not make it a correct one.
func (t *fabState) seek(fools bool, margin float32) Verdict {
	q := &t.around
	if fools {
		q.hi, q.mHi = q.at, margin
	} else {
		q.lo, q.mLo = q.at, margin
	}
	if q.steps == fabSearch {
		return RunOver
	}
	q.steps++
	share := float64(q.mLo) / (float64(q.mLo) - float64(q.mHi))
	if !(share > 0 && share < 1) {
		share = 0.5
	}
	share += float64(0.05 * (1 - share))
	q.at = q.lo + float64(share*(q.hi-q.lo))
	return Move
}

// keep copies the point of a slot to the same slot of t.
func (s *Space) keep(t []float32, at *Slot) {
	to, from := s.Layout.Slot(t, s.Size, at.Place), s.Layout.Slot(s.X, s.Size, at.Place)
	for k := 0; k < s.Size*int(s.Layout); k += int(s.Layout) {
		to[k] = from[k]
	}
}

func (r *fab) Move(slots []Slot, grad []float32) { r.move(slots, grad) }

// move makes the moves, to the planes whose normals are in w.
func (r *fab) move(slots []Slot, w []float32) {
	sp := r.space
	for i := range slots {
		s := &slots[i]
		if !s.Moves {
			continue
		}
		at := func(t []float32) []float32 { return sp.Layout.Slot(t, sp.Size, s.Place) }
		switch t := &r.state[s.Seat]; t.next {
		case fabStep:
			r.step(at(sp.X), at(sp.Centre), at(w), t.gap)
		case fabBack:
			sp.between(at(sp.X), at(sp.Centre), at(sp.X), r.beta)
		case fabSeek:
			sp.between(at(sp.X), at(sp.Centre), at(r.nearest), t.around.at)
		}
	}
}

// between is x ← c + share·(v − c) for one slot; share is at most 1.
func (s *Space) between(x, c, v []float32, share float64) {
	for k := 0; k < s.Size*int(s.Layout); k += int(s.Layout) {
		d := float64(v[k]) - float64(c[k])
		x[k] = float32(float64(c[k]) + float64(share*d))
	}
}

// step is x ← (1 − α)·(x + η·d₁) + α·(c + η·d₂), in the pixel box, for one slot. d₁ and
// d₂ bring x and c to the plane w·(· − x) = −gap, and α is ‖d₁‖/(‖d₁‖ + ‖d₂‖), but at
// most AlphaMax.
func (r *fab) step(x, c, w []float32, gap float64) {
	lanes := int(r.space.Layout)
	ahead := gap // of the image: gap + w·(c − x)
	for k := range r.x {
		i := k * lanes
		r.x[k], r.c[k], r.g[k] = x[i], c[i], w[i]
		ahead += float64(float64(w[i]) * (float64(c[i]) - float64(x[i])))
	}
	d1 := max(1e-8, r.plane.project(r.toPoint, r.x, r.g, gap))
	d2 := max(1e-8, r.plane.project(r.toImage, r.c, r.g, ahead))
	alpha := min(d1/(d1+d2), r.alphaMax)
	for k, d := range r.toPoint {
		p := float64(r.x[k]) + float64(r.eta*d)
		q := float64(r.c[k]) + float64(r.eta*r.toImage[k])
		x[k*lanes] = float32(min(max(float64((1-alpha)*p)+float64(alpha*q), 0), 1))
	}
}

// fabAll is the rule of FAB: its plane is the nearest one of all classes.
type fabAll struct {
	fab
	logits []float32 // of the slots' points, by Seat
	normal []float32 // of the nearest plane so far
	dz     []float32
}

func (r *fabAll) Judge(s *Slot, z, dz []float32) Verdict {
	t := &r.state[s.Seat]
	v := r.judge(s, t)
	if v == Ascend {
		copy(r.logits[s.Seat*len(z):], z)
		t.class, t.ratio = -1, math.Inf(1)
		t.seed(s, dz)
	}
	return v
}

// seed asks for the gradient of the next class, unless that was the last one.
func (t *fabState) seed(s *Slot, dz []float32) (more bool) {
	if t.class++; t.class == s.Y {
		t.class++
	}
	if more = t.class < len(dz); more {
		dz[t.class], dz[s.Y] = 1, -1
	}
	return more
}

// Next looks at the planes of a class each image, and asks for the gradients of the next
// ones.
func (r *fabAll) Next(slots []Slot, grad []float32, seed func(s *Slot, dz []float32)) bool {
	sp, more := r.space, false
	for i := range slots {
		s := &slots[i]
		t := &r.state[s.Seat]
		if !s.Moves || t.next != fabStep || t.class >= sp.Classes {
			continue
		}
		z := r.logits[s.Seat*sp.Classes:][:sp.Classes]
		gap := float64(z[t.class]) - float64(z[s.Y])
		g := sp.Layout.Slot(grad, sp.Size, s.Place)
		d := math.Abs(gap) / (1e-12 + sp.dual(g))
		if nearer := d < t.ratio; nearer || math.IsInf(t.ratio, 1) {
			if t.gap = gap; nearer {
				t.ratio = d
			}
			to := sp.Layout.Slot(r.normal, sp.Size, s.Place)
			for k := 0; k < sp.Size*int(sp.Layout); k += int(sp.Layout) {
				to[k] = g[k]
			}
		}
		clear(r.dz)
		if t.seed(s, r.dz) {
			seed(s, r.dz)
			more = true
		}
	}
	return more
}

func (r *fabAll) Move(slots []Slot, _ []float32) { r.move(slots, r.normal) }

// dual is the norm of a slot's gradient in which a step's length is the distance of a
// plane: L1 for Linf, L2 for L2, Linf for L1.
func (s *Space) dual(g []float32) float64 {
	var sum sums
	for k := 0; k < s.Size*int(s.Layout); k += int(s.Layout) {
		sum.add(float64(g[k]))
	}
	switch s.Ball.Norm {
	case net.Linf:
		return sum.norm(net.L1)
	case net.L2:
		return sum.norm(net.L2)
	}
	return sum.norm(net.Linf)
}
