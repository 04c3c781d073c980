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
	for _, s := range f.Stages(b.Norm) {
		if s.Method != nil {
			if err := validateStages([]Method{s.Method}, b, classes); err != nil {
				return err
			}
		}
	}
	return CheckFields(f.Fields())
}

// FastStages is set by experiments.
var FastStages func(n net.Norm, seed uint64) []CascadeStage

// Stages are the stages of f in that norm.
func (f Fast) Stages(n net.Norm) []CascadeStage {
	if FastStages != nil {
		return FastStages(n, f.Seed)
	}
	return []CascadeStage{
		{Method: APGD{Steps: 10, Loss: net.Margin, Seed: f.Seed}},
		{},
		{Method: APGD{Steps: 30, Loss: net.Margin, Targets: 3, Seed: f.Seed}},
		{Method: APGD{Steps: 100, Loss: net.DLR, Targets: 9, Seed: f.Seed}, Within: 0.1},
	}
}

// NewRule is never called: the stages have rules.
func (Fast) NewRule(*Space) Rule { panic("attack: fast has no rule") }

// NewRun implements Whole.
func (f Fast) NewRun(t Target, c Config, pool *kernels.Pool) (Run, error) {
	return NewCascade(t, c, pool, f.Stages(c.Ball.Norm))
}
