package attack

import (
	"math"

	"github.com/epsball/epsball/net"
)

// Noise tries random points of the ball and keeps the worst. It needs no gradients: an
// attack that follows gradients and finds less is broken. Uniform noise are points drawn
// as random starts are (Space.RandomPoint), in any norm. Gaussian noise is a normal
// vector: for Linf with standard deviation ε, cut off at ε; for L2 and L1 of length ε.
type Noise struct {
	Kind  string // "uniform", the default, or "gaussian"
	Draws int    // 0: 100
	Seed  uint64
}

const (
	noiseDraws = 100
	uniform    = "uniform"
	gaussian   = "gaussian"
)

func (Noise) Name() string { return "noise" }

// Fields ties the settings to their textual form.
func (n *Noise) Fields() []Field {
	return []Field{
		Choice("kind", "distribution of the noise", &n.Kind, uniform, gaussian),
		Count("draws", "points an image gets", &n.Draws, noiseDraws),
		Seed(&n.Seed),
	}
}

func (n Noise) String() string { return Text(n.Name(), n.Fields()) }

// Method returns what n is set to.
func (n *Noise) Method() Method { return *n }

func (n Noise) Plan() Plan {
	p := Plan{Restarts: n.Draws, RandomStart: true, Seed: n.Seed, NoGradient: true}
	if p.Restarts == 0 {
		p.Restarts = noiseDraws
	}
	return p
}

func (n Noise) Validate(b net.Ball, _ int) error {
	if n.Kind == gaussian {
		if err := checkNorm(b, net.Linf, net.L2, net.L1); err != nil {
			return err
		}
	}
	return CheckFields(n.Fields())
}

func (n Noise) NewRule(s *Space) Rule { return &noise{s, n.Kind == gaussian} }

// noise is a rule whose runs end where they start.
type noise struct {
	space *Space
	bell  bool
}

func (r *noise) Start(s *Slot, x []float32) {
	if !r.bell {
		r.space.RandomPoint(x, &s.Stream)
		return
	}
	first, sum, sum2 := s.Stream, 0.0, 0.0
	for range x {
		v := float64(s.Stream.Norm())
		sum += math.Abs(v)
		sum2 += float64(v * v)
	}
	scale := r.space.Ball.Eps.Float64()
	switch r.space.Ball.Norm {
	case net.L2:
		scale /= math.Sqrt(sum2)
	case net.L1:
		scale /= sum
	}
	s.Stream = first
	for k := range x {
		x[k] += float32(scale * float64(s.Stream.Norm()))
	}
}

func (*noise) Judge(*Slot, []float32, []float32) Verdict { return RunOver }

func (*noise) Move([]Slot, []float32) {}
