package attack

import "github.com/epsball/epsball/net"

// RFGSM is R+FGSM: a random step of length α along signs, then one of ε − α along the
// signs of the gradient there (Tramèr et al. 2018, eq. 5).
type RFGSM struct {
	Alpha    float64 // in pixel units, at most ε; 0: ε/2
	Restarts int     // 0: 1
	Targeted bool
	Loss     net.Loss
	Seed     uint64
}

func (RFGSM) Name() string { return "rfgsm" }

// Fields ties the settings to their textual form.
func (f *RFGSM) Fields() []Field {
	return []Field{
		Length("alpha", "length of the random step in pixel units (default ε/2)", &f.Alpha),
		Count("restarts", "runs an image gets", &f.Restarts, 1),
		Flag("targeted", "climb towards a wrong class", &f.Targeted, false),
		Loss(&f.Loss),
		Seed(&f.Seed),
	}
}

func (f RFGSM) String() string { return Text(f.Name(), f.Fields()) }

// Method returns what f is set to.
func (f *RFGSM) Method() Method { return *f }

func (f RFGSM) Plan() Plan {
	return Plan{Restarts: max(1, f.Restarts), RandomStart: true, Targeted: f.Targeted, Seed: f.Seed, FixedLengths: f.Alpha != 0}
}

func (f RFGSM) Validate(b net.Ball, classes int) error {
	return checkClimb(f.Fields(), b, classes, f.Plan(), net.Linf)
}

func (f RFGSM) NewRule(s *Space) Rule {
	return &rfgsm{climber{space: s, steps: 1, loss: f.Loss}, f.Alpha}
}

type rfgsm struct {
	climber
	alpha float64
}

// split returns the lengths of both steps.
func (r *rfgsm) split() (random, climb float64) {
	eps := r.space.Ball.Eps.Float64()
	if random = min(r.alpha, eps); r.alpha == 0 {
		random = eps / 2
	}
	return random, eps - random
}

func (r *rfgsm) Start(s *Slot, x []float32) {
	alpha, _ := r.split()
	step := float32(alpha)
	for k := range x {
		if s.Stream.Uint32()&1 == 1 {
			x[k] += step
		} else {
			x[k] -= step
		}
	}
}

func (r *rfgsm) Move(slots []Slot, grad []float32) {
	_, step := r.split()
	r.space.Climb(grad, float32(step), len(slots)/int(r.space.Layout))
}
