package attack

import (
	"strconv"

	"github.com/epsball/epsball/net"
)

// FAB is the fast adaptive boundary attack (Croce & Hein 2020, Minimally distorted
// adversarial examples with a fast adaptive boundary attack, Algorithm 1) for Linf, L2 and
// L1. It looks for the misclassified point nearest to the image. A step linearises the
// classifier at the point, takes the class whose boundary is then nearest, and projects
// the point and the image to that boundary inside the pixel box. It goes to a mean of the
// two projections, each overshot by Eta. From a misclassified point, it comes back
// towards the image by the factor Beta.
//
// A step needs the gradients of all classes. FABT, the targeted form, needs one.
//
// Runs after the first begin at random points at half the distance of the nearest
// misclassified point found so far. A run ends with the paper's search of the segment
// between the image and the run's nearest misclassified point, which the authors' code
// (pyautoattack) leaves out. That code takes a random start from the ball alone and
// misses points that it does not look at, those after the way back.
type FAB struct {
	Steps    int     // of a run; 0: 100
	Restarts int     // runs; 0: 1
	AlphaMax float64 // largest weight of the image's projection; 0: 0.1
	Eta      float64 // overshoot of the projections; 0: 1.05
	Beta     float64 // share of the distance that is left by a step back; 0: 0.9

	// Stop ends the attack on an image at the first misclassified point inside the ball, as
	// a cascade wants it. Else all runs go to their ends for the smallest distance.
	Stop bool
	Seed uint64
}

// FABT is FAB with targets, FAB-T in the paper's sequel (Croce & Hein 2020, Reliable
// evaluation of adversarial robustness with an ensemble of diverse parameter-free
// attacks): run r takes the boundary to the r-th most likely wrong class. A step needs
// one gradient. Any misclassified point counts, whatever its class.
type FABT struct {
	Steps    int // of a run; 0: 100
	Targets  int // most likely wrong classes that are tried; 0: 9, or all that there are
	Restarts int // runs for each; 0: 1
	AlphaMax float64
	Eta      float64
	Beta     float64
	Stop     bool
	Seed     uint64
}

const (
	fabSteps    = 100
	fabTargets  = 9
	fabAlphaMax = 0.1
	fabEta      = 1.05
	fabBeta     = 0.9
	fabSearch   = 3 // steps of the search at the end of a run
)

func (FAB) Name() string  { return "fab" }
func (FABT) Name() string { return "fab-t" }

// Fields ties the settings to their textual form.
func (f *FAB) Fields() []Field {
	return append([]Field{Count("steps", "steps of a run", &f.Steps, fabSteps).Shown(strconv.Itoa(fabSteps))},
		fabFields(&f.Restarts, &f.AlphaMax, &f.Eta, &f.Beta, &f.Stop, &f.Seed)...)
}

// Fields ties the settings to their textual form.
func (f *FABT) Fields() []Field {
	return append([]Field{
		Count("steps", "steps of a run", &f.Steps, fabSteps).Shown(strconv.Itoa(fabSteps)),
		Count("targets", "most likely wrong classes that are tried", &f.Targets, fabTargets),
	}, fabFields(&f.Restarts, &f.AlphaMax, &f.Eta, &f.Beta, &f.Stop, &f.Seed)...)
}

func fabFields(restarts *int, alphaMax, eta, beta *float64, stop *bool, seed *uint64) []Field {
	return []Field{
		Count("restarts", "runs an image gets, for each target", restarts, 1),
		Share("alpha-max", "largest weight of the image's projection", alphaMax, fabAlphaMax),
		overshoot(eta),
		Share("beta", "share of the distance that a step back leaves", beta, fabBeta),
		Flag("stop", "end at the first misclassified point inside the ball", stop, false),
		Seed(seed),
	}
}

// overshoot is a field for a factor from 1 to 2.
func overshoot(p *float64) Field {
	return number("eta", "factor by which projections are overshot", p, fabEta, "want a number from 1 to 2", "", func(v float64) bool { return v >= 1 && v <= 2 })
}

func (f FAB) String() string  { return Text(f.Name(), f.Fields()) }
func (f FABT) String() string { return Text(f.Name(), f.Fields()) }

// Method returns what f is set to.
func (f *FAB) Method() Method { return *f }

// Method returns what f is set to.
func (f *FABT) Method() Method { return *f }

func (f FAB) Plan() Plan {
	p := Plan{Goal: SmallestDistance, Restarts: max(1, f.Restarts), RandomStart: f.Restarts > 1, Seed: f.Seed}
	if f.Stop {
		p.Goal, p.Roams = LowestMargin, true
	}
	return p
}

func (f FABT) Plan() Plan {
	p := FAB{Restarts: f.Restarts, Stop: f.Stop, Seed: f.Seed}.Plan()
	p.Targeted, p.Targets = true, f.Targets
	if p.Targets == 0 {
		p.Targets = fabTargets
	}
	return p
}

func (f FAB) Validate(b net.Ball, classes int) error {
	return checkSettings(f.Fields(), b, classes, net.Linf, net.L2, net.L1)
}

func (f FABT) Validate(b net.Ball, classes int) error {
	return checkSettings(f.Fields(), b, classes, net.Linf, net.L2, net.L1)
}

// checkSettings is what methods check that have no loss.
func checkSettings(fields []Field, b net.Ball, classes int, norms ...net.Norm) error {
	return checkClimb(fields, b, classes, Plan{}, norms...)
}

func (f FAB) NewRule(s *Space) Rule {
	return &fabAll{*newFAB(s, f), make([]float32, s.Slots*s.Classes), s.Tensor(), make([]float32, s.Classes)}
}

func (f FABT) NewRule(s *Space) Rule {
	return newFAB(s, FAB{Steps: f.Steps, AlphaMax: f.AlphaMax, Eta: f.Eta, Beta: f.Beta})
}
