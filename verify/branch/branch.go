// Package branch decides properties by branch and bound over the phases of neurons: where
// linear bounds of a region leave a row of the property open, the region is divided into
// the evaluations in which a neuron is active and those in which it is not, and so on
// (Bunel et al. 2020; Wang et al. 2021). What is proved is proved at the level of package
// verify: for real numbers and as executed in float32.
//
// Beside the property, neurons are bounded by searches of their own, whose budgets grow as
// long as the property is open. Tighter neurons tighten all that lies behind them, and every
// part of the search for the property.
package branch

import (
	"context"
	"fmt"
	"math"

	"github.com/epsball/epsball/verify"
)

// Options say how to search. The zero value is good.
type Options struct {
	Steps      int // gradient steps of a part; 0: 6
	Candidates int // neurons tried for a split; 0: 4
	Round      int // parts divided at once; 0: 64. It changes the tree, threads do not.

	// FewInputs is the number of inputs that vary up to which the region is divided at these
	// instead of at neurons; 0: 10, negative: never.
	FewInputs int

	// Parts is the number of parts after which to give up; 0: none. Those of searches for
	// neurons are counted.
	Parts int

	// Root says how the region is bounded first; Method 0 means MethodAlphaCROWN.
	Root verify.Options

	// Point, if not nil, is given inputs to the first node, channels first, at which bounds
	// of the property are attained. If it returns true, the search ends undecided.
	Point func(x []float32) bool

	// Progress, if not nil, is told how things stand, once a round.
	Progress func(Progress)
}

// Progress is how a search stands.
type Progress struct {
	Low   float32 // lower bound of the property (Property.Margin)
	Open  int     // parts that are open
	Parts int     // bounded so far, all of them
	Depth int     // splits of the deepest part
}

// Result is what a search found.
type Result struct {
	// Proved says that the property holds all over the region. Otherwise the search was
	// ended: by its context, by Parts or Point, or because it had nothing left to split.
	Proved bool
	Progress
}

// Prove searches until the property is proved or ctx ends, which is no error: bounds found
// until then hold. The verifier must not be used meanwhile.
func Prove(ctx context.Context, v *verify.Verifier, r verify.Region, p *verify.Property, o Options) (Result, error) {
	if o.Steps < 0 || o.Candidates < 0 || o.Round < 0 || o.Parts < 0 {
		return Result{}, fmt.Errorf("branch: steps %d, candidates %d, round %d, parts %d, want none below 0", o.Steps, o.Candidates, o.Round, o.Parts)
	}
	set := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	set(&o.Steps, 6)
	set(&o.Candidates, 4)
	set(&o.Round, 64)
	set(&o.FewInputs, 10)
	set(&o.Parts, math.MaxInt)
	if o.Root.Method == 0 {
		o.Root.Method = verify.MethodAlphaCROWN
	}
	o.Root.Ladder, o.Root.Property = false, nil
	s := &search{ctx: ctx, v: v, o: o}
	err := s.prove(r, p)
	if ctx.Err() != nil {
		err = nil
	}
	return Result{Proved: err == nil && s.proved, Progress: s.progress()}, err
}

// prove alternates between the property and its neurons. A tighter root is worth a new tree:
// it wants other and fewer splits.
func (s *search) prove(r verify.Region, p *verify.Property) error {
	root, err := s.v.Root(r, p)
	if err != nil {
		return err
	}
	s.root, s.property = root, p
	s.low = float32(math.Inf(-1))
	if err := s.v.BoundDomains(s.ctx, s.o.Root, 0, root); err != nil {
		return err
	}
	lo, hi, err := r.Box(s.v.Network())
	if err != nil {
		return err
	}
	if varying(lo, hi) <= s.o.FewInputs {
		return s.boxes(r, lo, hi)
	}
	refined := true
	for budget := firstBudget; ; budget *= budgetGrowth {
		if refined {
			if err := s.plant(); err != nil || s.proved {
				return err
			}
		}
		if stopped, err := s.grow(s.trees, s.stop, budget*propertyShare); stopped || err != nil {
			return err
		}
		if refined, err = s.refine(budget); err != nil || s.ended {
			return err
		}
		if !refined && !s.open() { // nothing is left to split
			return nil
		}
	}
}

const (
	firstBudget   = 16 // parts of a neuron's bound in the first round of searches
	budgetGrowth  = 4  // from a round to the next
	propertyShare = 8  // parts of a clause for each of a neuron's
)
