package attack

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Fast is the cheapest cascade known here that fools about as many images as Auto: a few
// steps on all images; proofs that spare the images that no attack can fool, where
// Config.Prove has them; and longer runs towards the likeliest classes on the few that
// are left, first from the best point so far.
type Fast struct {
	Seed uint64
}

func (Fast) Name() string { return "fast" }

// Fields ties the settings to their textual form.
func (f *Fast) Fields() []Field { return []Field{Seed(&f.Seed)} }

func (f Fast) String() string { return Text(f.Name(), f.Fields()) }

// Method returns what f is set to.
func (f *Fast) Method() Method { return *f }

func (f Fast) Plan() Plan { return Plan{Restarts: 1, RandomStart: true, Seed: f.Seed} }

func (f Fast) Validate(b net.Ball, classes int) error {
	if err := checkNorm(b, net.Linf, net.L2, net.L1); err != nil {
		return err
	}
	if err := CheckFields(f.Fields()); err != nil {
		return err
	}
	return validateStages(f.Stages(b.Norm), b, classes)
}

// Stages are the stages of f in that norm.
func (f Fast) Stages(n net.Norm) []CascadeStage {
	climb := func(steps, targets int, loss net.Loss) Method {
		return APGD{Steps: steps, Targets: targets, Loss: loss, Seed: f.Seed}
	}
	return []CascadeStage{
		{Method: PGD{Steps: 10, FixedStart: true, Loss: net.Margin}},
		{}, // proofs
		{Method: climb(10, 9, net.Margin)},
		{Method: climb(50, 3, net.DLR), Within: 0.2},
		{Method: climb(100, 9, net.DLR), Within: 0.03},
	}
}

// NewRule is never called: the stages have rules.
func (Fast) NewRule(*Space) Rule { panic("attack: fast has no rule") }

// NewRun implements Whole.
func (f Fast) NewRun(t Target, c Config, pool *kernels.Pool) (Run, error) {
	return NewCascade(t, c, pool, f.Stages(c.Ball.Norm))
}
