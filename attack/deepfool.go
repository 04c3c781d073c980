package attack

import (
	"errors"
	"math"
	"strconv"

	"github.com/epsball/epsball/net"
)

// DeepFool takes, in each step, the network to be linear, and moves just across the
// nearest of the boundaries of its label with the candidates, the classes that were most
// likely at the image (Moosavi-Dezfooli et al. 2016, Algorithm 2; Linf: section 3.3). It
// stops at the first misclassified point. A step needs one backward pass a candidate.
//
// Each step is lengthened by the overshoot and cut to the pixel box. In the paper the sum
// of all steps is lengthened at the end, and there is no box.
type DeepFool struct {
	Steps      int     // most steps; 0: 50
	Candidates int     // classes looked at, the label among them; 0: 10
	Overshoot  float64 // by which a step is longer than the way to the boundary; 0: 0.02
}

const (
	deepFoolSteps      = 50
	deepFoolCandidates = 10
	deepFoolOvershoot  = 0.02
	deepFoolExtra      = 1e-4 // added to the way to the boundary, in pixel units
)

func (DeepFool) Name() string { return "deepfool" }

// Fields ties the settings to their textual form.
func (a *DeepFool) Fields() []Field {
	return []Field{
		Count("steps", "most steps", &a.Steps, deepFoolSteps).Shown(strconv.Itoa(deepFoolSteps)),
		Count("candidates", "classes looked at, the label among them, most likely first", &a.Candidates, deepFoolCandidates),
		Positive("overshoot", "by which a step is longer than the way to the boundary", &a.Overshoot, deepFoolOvershoot),
	}
}

func (a DeepFool) String() string { return Text(a.Name(), a.Fields()) }

// Method returns what a is set to.
func (a *DeepFool) Method() Method { return *a }

func (a DeepFool) Plan() Plan { return Plan{Goal: SmallestDistance, Restarts: 1} }

func (a DeepFool) Validate(b net.Ball, classes int) error {
	if err := checkNearest(a.Fields(), b, a.Plan(), net.Linf, net.L2); err != nil {
		return err
	}
	if a.Candidates == 1 {
		return errors.New("candidates: got 1, want at least 2: the label and another class")
	}
	return nil
}

func (a DeepFool) NewRule(s *Space) Rule {
	r := &deepFool{
		one: newOne(s), nearest: s.Tensor(), state: make([]deepFoolState, s.Slots),
		steps: or(a.Steps, deepFoolSteps), others: min(or(a.Candidates, deepFoolCandidates), s.Classes) - 1,
		reach: 1 + min(or(a.Overshoot, deepFoolOvershoot), huge), dz: make([]float32, s.Classes),
	}
	for i := range r.state {
		r.state[i].z, r.state[i].order = make([]float32, s.Classes), make([]int, s.Classes)
	}
	return r
}

type deepFool struct {
	one
	steps, others int
	reach         float64
	nearest       []float32       // gradient of the nearest boundary so far
	state         []deepFoolState // by Seat
	dz            []float32
	at            int // candidate whose gradient is computed in the round
}

// deepFoolState is what the rule knows of one image.
type deepFoolState struct {
	z        []float32 // logits of the point
	order    []int     // wrong classes, most likely first at the image
	distance float64   // of the nearest boundary so far, in the linearised network
	norm     float64   // of its gradient
}

func (r *deepFool) Start(*Slot, []float32) {}

func (r *deepFool) Judge(s *Slot, z, dz []float32) Verdict {
	if s.Fools || s.Step >= r.steps {
		return RunOver
	}
	t := &r.state[s.Seat]
	if s.Step == 0 {
		t.order = wrongClasses(t.order[:0], z, s.Y)
	}
	copy(t.z, z)
	t.distance = math.Inf(1)
	r.at = 0
	r.seed(s, dz)
	return Ascend
}

// seed writes the gradient of the candidate's logit minus that of the label.
func (r *deepFool) seed(s *Slot, dz []float32) {
	clear(dz)
	dz[r.state[s.Seat].order[r.at]], dz[s.Y] = 1, -1
}

// Next looks at the gradients of one candidate, and asks for those of the next.
func (r *deepFool) Next(slots []Slot, grad []float32, seed func(s *Slot, dz []float32)) bool {
	for i := range slots {
		if s := &slots[i]; s.Moves {
			r.look(s, grad)
		}
	}
	if r.at++; r.at == r.others {
		return false
	}
	for i := range slots {
		if s := &slots[i]; s.Moves {
			r.seed(s, r.dz)
			seed(s, r.dz)
		}
	}
	return true
}

// look keeps the gradient in the slot if its boundary is the nearest so far.
func (r *deepFool) look(s *Slot, grad []float32) {
	t := &r.state[s.Seat]
	norm := math.Sqrt(r.take(s, grad))
	if r.space.Ball.Norm == net.Linf {
		norm = 0
		for _, v := range r.g {
			norm += math.Abs(float64(v))
		}
	}
	f := math.Abs(float64(t.z[t.order[r.at]]) - float64(t.z[s.Y]))
	if d := f/max(norm, 1e-30) + deepFoolExtra; norm > 0 && d < t.distance {
		t.distance, t.norm = d, norm
		r.space.Layout.Scatter(r.nearest, r.g, s.Place)
	}
}

func (r *deepFool) Move(slots []Slot, _ []float32) {
	for i := range slots {
		s := &slots[i]
		t := &r.state[s.Seat]
		if !s.Moves || math.IsInf(t.distance, 0) {
			continue
		}
		r.take(s, r.nearest)
		way := float64(r.reach * t.distance)
		for k, g := range r.g {
			switch d := float64(g); {
			case r.space.Ball.Norm == net.L2:
				r.x[k] = min(max(float32(float64(r.x[k])+float64(way/t.norm*d)), 0), 1)
			case g != 0:
				r.x[k] = min(max(float32(float64(r.x[k])+math.Copysign(way, d)), 0), 1)
			}
		}
		r.put(s)
	}
}

// wrongClasses appends the classes but y to dst, the largest logit first.
func wrongClasses(dst []int, z []float32, y int) []int {
	for j := range z {
		if j == y {
			continue
		}
		k := len(dst)
		dst = append(dst, j)
		for ; k > 0 && z[dst[k-1]] < z[j]; k-- {
			dst[k] = dst[k-1]
		}
		dst[k] = j
	}
	return dst
}
