package attack

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Fast is a cascade that leaves about as many images as Auto, at a fraction of its cost:
// ten steps on all images; proofs that spare the images that no attack can fool, where
// Config.Prove has them; and longer runs on those that are left, the longest only where
// the margin has nearly gone. Images that intervals nearly prove get Square in the end. In L1, where the margin says less of what longer runs find,
// it ends with the stages of Auto but for Square.
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
	first := []CascadeStage{{Method: PGD{Steps: 10, FixedStart: true, Loss: net.Margin}}, {}} // {}: proofs
	if n == net.L1 {
		return append(first,
			CascadeStage{Method: APGD{Restarts: 5, Stages: true, Seed: f.Seed}},
			CascadeStage{Method: APGD{Loss: net.DLR, Targets: 5, Stages: true, Seed: f.Seed}},
			CascadeStage{Method: FABT{Stop: true, Seed: f.Seed}, Within: 0.6},
			CascadeStage{Method: Square{Seed: f.Seed}, Close: true})
	}
	return append(first,
		CascadeStage{Method: APGD{Steps: 50, Seed: f.Seed}},
		CascadeStage{Method: APGD{Steps: 20, Loss: net.DLR, Targets: 5, Seed: f.Seed}, Within: 0.5},
		CascadeStage{Method: APGD{Loss: net.DLR, Targets: 5, Seed: f.Seed}, Within: 0.06},
		CascadeStage{Method: Square{Seed: f.Seed}, Close: true})
}

// NewRule is never called: the stages have rules.
func (Fast) NewRule(*Space) Rule { panic("attack: fast has no rule") }

// NewRun implements Whole.
func (f Fast) NewRun(t Target, c Config, pool *kernels.Pool) (Run, error) {
	return NewCascade(t, c, pool, f.Stages(c.Ball.Norm))
}
