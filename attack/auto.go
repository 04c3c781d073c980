package attack

import (
	"fmt"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Auto is AutoAttack (Croce & Hein 2020, Reliable evaluation of adversarial robustness
// with an ensemble of diverse parameter-free attacks; L1: Croce & Hein 2021, Mind the box)
// with its published parameters, in Linf, L2 and L1. Each stage attacks the images that
// withstood those before it:
//
//	standard  apgd-ce 1 × 100, apgd-t 9 targets × 100, fab-t 9 targets × 100, square 5,000 queries
//	          L1: apgd-ce 5 × 100, apgd-t 5 targets × 100, both with larger balls first
//	rand      apgd-ce and apgd-dlr 1 × 100, each step a mean of 20 draws: for targets that draw random numbers
//
// With fewer classes there are fewer targets, and below four the loss DLR is what
// net.DLR says.
//
// Where Config.Prove has proofs, images that are proved robust after the first stage of
// standard are not attacked any more. That changes time, not what is robust.
type Auto struct {
	Version  string // "standard", "rand"; "": standard
	NoProofs bool   // attack the images that are proved, too
	Seed     uint64
}

const (
	autoStandard = "standard"
	autoRand     = "rand"
	autoEOT      = 20
)

func (Auto) Name() string { return "auto" }

// Fields ties the settings to their textual form.
func (a *Auto) Fields() []Field {
	return []Field{
		Choice("version", "the stages; rand is for targets that draw random numbers", &a.Version, autoStandard, autoRand),
		Flag("proofs", "spare images that are proved robust (default true)", &a.NoProofs, true),
		Seed(&a.Seed),
	}
}

func (a Auto) String() string { return Text(a.Name(), a.Fields()) }

// Method returns what a is set to.
func (a *Auto) Method() Method { return *a }

func (a Auto) Plan() Plan {
	p := Plan{Restarts: 1, RandomStart: true, Seed: a.Seed}
	if a.Version == autoRand {
		p.EOT = autoEOT
	}
	return p
}

func (a Auto) Validate(b net.Ball, classes int) error {
	if err := checkNorm(b, net.Linf, net.L2, net.L1); err != nil {
		return err
	}
	if err := CheckFields(a.Fields()); err != nil {
		return err
	}
	return validateStages(a.Stages(b.Norm), b, classes)
}

// Stages are what a runs in that norm.
func (a Auto) Stages(n net.Norm) []CascadeStage {
	ce, dlr := APGD{Seed: a.Seed}, APGD{Seed: a.Seed, Loss: net.DLR}
	if a.Version == autoRand {
		return []CascadeStage{{Method: ce}, {Method: dlr}}
	}
	t := APGD{Seed: a.Seed, Loss: net.DLR, Targets: 9}
	if n == net.L1 {
		ce.Restarts, ce.Stages = 5, true
		t.Targets, t.Stages = 5, true
	}
	stages := []CascadeStage{{Method: ce}, {}, {Method: t}, {Method: FABT{Seed: a.Seed, Stop: true}}, {Method: Square{Seed: a.Seed}}}
	if a.NoProofs {
		stages = slices.Delete(stages, 1, 2)
	}
	return stages
}

// NewRule is never called: the stages have rules.
func (Auto) NewRule(*Space) Rule { panic("attack: auto has no rule") }

// NewRun implements Whole.
func (a Auto) NewRun(t Target, c Config, pool *kernels.Pool) (Run, error) {
	c.EOT = max(c.EOT, a.Plan().EOT)
	return NewCascade(t, c, pool, a.Stages(c.Ball.Norm))
}

// validateStages names the first stage that makes no sense.
func validateStages(stages []CascadeStage, b net.Ball, classes int) error {
	for _, s := range stages {
		if s.Method == nil {
			continue
		}
		if err := s.Method.Validate(b, classes); err != nil {
			return fmt.Errorf("%s: %w", s.Method.Name(), err)
		}
	}
	return nil
}
