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
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

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
	// neurons are counted, those of a State that the search goes on from are not.
	Parts int

	// Memory is how many bytes open parts may hold, by an estimate; 0: any number. What is
	// over it is packed: slopes of parts with high bounds are found again when it is their
	// turn, and where that is not enough, parts are divided depth first. Those that are being
	// divided, up to Round, and what the verifier holds come on top. It changes the tree.
	Memory int

	// Resume, if not nil, is a state to go on from, of the same network, region, property and
	// options but Parts and Memory. Bounds that it says are proved are taken to be.
	Resume *State

	// Save, if not nil, is given the state of the search after a round if SaveEvery has gone
	// by since the last time, and when the search ends without a proof. Its error ends the
	// search.
	Save      func(*State) error
	SaveEvery time.Duration

	// Root says how the region is bounded first; Method 0 means MethodAlphaCROWN.
	Root verify.Options

	// Point, if not nil, is given inputs to the first node, channels first, at which bounds
	// of the property are attained. If it returns true, the search ends undecided.
	Point func(x []float32) bool

	// Record, if not nil, takes down the proof. The search then goes another way: Record says
	// which, and whether FewInputs is used. With Memory, closed parts count, too.
	Record *Record

	// Progress, if not nil, is told how things stand, once a round.
	Progress func(Progress)
}

// Progress is how a search stands.
type Progress struct {
	Low   float32 // lower bound of the property (Property.Margin)
	Open  int     // parts that are open
	Parts int     // bounded so far, all of them, and those of a State gone on from
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
	if o.Steps < 0 || o.Candidates < 0 || o.Round < 0 || o.Parts < 0 || o.Memory < 0 {
		return Result{}, fmt.Errorf("branch: steps %d, candidates %d, round %d, parts %d, memory %d, want none below 0", o.Steps, o.Candidates, o.Round, o.Parts, o.Memory)
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
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	if err == nil && s.root != nil && len(s.trees) > 0 && o.Record == nil { // what was bounded last may have been all
		s.settle()
	}
	if err == nil && !s.proved {
		err = s.save(true)
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
	s.property, s.region = p, r
	s.low, s.budget, s.saved = float32(math.Inf(-1)), firstBudget, time.Now()
	if s.lo, s.hi, err = r.Box(s.v.Network()); err != nil {
		return err
	}
	s.inputs = varying(s.lo, s.hi)
	s.few = len(s.inputs) <= s.o.FewInputs && (s.o.Record == nil || s.o.Record.ByInputs && r.IsBox())
	if r := s.o.Record; r != nil {
		if r.Steps, r.Cuts = nil, nil; !s.few {
			err = r.begin(s.v)
		}
	}
	switch {
	case err != nil:
	case s.o.Resume != nil:
		err = s.resume(root, s.o.Resume)
	default:
		err = s.boundRoot(0, root)
	}
	if err != nil {
		return err
	}
	s.root = root
	if s.o.Record != nil && !s.few && s.o.Resume == nil {
		if err := s.recordRoot(); err != nil {
			return err
		}
	}
	if s.few {
		return s.boxes()
	}
	if s.share { // tighter neurons would want trees of all the region
		allow(s.trees, math.MaxInt)
		_, err = s.grow(s.trees, s.stop)
		return err
	}
	refined, resumed := s.trees == nil, s.trees != nil
	for ; ; s.budget *= budgetGrowth {
		if refined {
			if err := s.plant(); err != nil {
				return err
			}
		}
		if stopped, err := s.turn(resumed); stopped || err != nil {
			return err
		}
		resumed = false
		if refined, err = s.refine(s.budget); err != nil || s.ended {
			return err
		}
		if !refined && !s.open() { // nothing is left to split
			return nil
		}
	}
}

// turn is the property's turn. It is over for good if it is stopped: proved, and taken down if that is
// asked for, or ended.
func (s *search) turn(resumed bool) (stopped bool, err error) {
	for {
		if !s.proved {
			if stopped, err := s.growProperty(resumed); !stopped || err != nil {
				return stopped, err
			}
		}
		if !s.proved || s.o.Record == nil {
			return true, nil
		}
		if s.proved, err = s.recordClauses(); s.proved || err != nil {
			return true, err
		}
		resumed = true // it goes on with what is open again
	}
}

// growProperty divides for the property: some parts for each clause, and as long as another
// doubling seems to get it done before the next round of searches for neurons would be.
func (s *search) growProperty(resumed bool) (stopped bool, err error) {
	if resumed && s.neurons != nil { // its turn was over
		return s.grow(s.trees, s.stop)
	}
	parts := s.budget * propertyShare / 2
	if !resumed { // else with what is left of its turn
		allow(s.trees, parts)
	}
	if stopped, err := s.grow(s.trees, s.stop); stopped || err != nil {
		return stopped, err
	}
	if resumed && slices.ContainsFunc(s.trees, func(t *tree) bool { return t.open.len() >= parts }) {
		return false, nil // how long it has gone on, and what for, is not known
	}
	for {
		before := lows(s.trees)
		allow(s.trees, parts)
		if stopped, err := s.grow(s.trees, s.stop); stopped || err != nil {
			return stopped, err
		}
		parts *= 2
		if !s.open() || s.forecast(before, parts) > float64(s.coming())*float64(s.budget)*neuronCost {
			return false, nil
		}
	}
}

// coming is about how many searches for neurons the next round has.
func (s *search) coming() int {
	if s.searches > 0 {
		return s.searches
	}
	n := 0
	for i, is := range s.v.Targets() {
		if !is {
			continue
		}
		iv := s.root.Interval(i)
		for k, lo := range iv.Lower {
			if lo < 0 && iv.Upper[k] > 0 {
				n += 2
			}
		}
	}
	return min(n, maxTargets)
}

// forecast is how many parts the clauses still want, if each doubling of their parts raises their
// bounds as much as the last one, before which they were these.
func (s *search) forecast(before []float32, parts int) float64 {
	want := 0.0
	for i, t := range s.trees {
		if t.open.len() == 0 {
			continue
		}
		low := float64(t.low())
		doublings := math.Ceil(-low / max(low-float64(before[i]), 1e-6))
		if !(doublings <= 40) {
			return math.Inf(1)
		}
		want += float64(parts) * float64(int(1)<<int(max(doublings, 0))-1)
	}
	return want
}

// lows are the bounds of trees.
func lows(trees []*tree) []float32 {
	var list []float32
	for _, t := range trees {
		list = append(list, t.low())
	}
	return list
}

// boundRoot bounds nodes of the root from the given one on: if its neurons are to be taken
// down, by intervals.
func (s *search) boundRoot(from int, root *verify.Domain) error {
	return s.boundBy(s.o.Root, from, root)
}

// boundBy is boundRoot by other options.
func (s *search) boundBy(o verify.Options, from int, root *verify.Domain) error {
	if s.o.Record != nil && !s.few {
		return s.v.BoundBoxes(s.ctx, from, root)
	}
	return s.v.BoundDomains(s.ctx, o, from, root)
}

const (
	firstBudget   = 16  // parts of a neuron's bound in the first round of searches
	budgetGrowth  = 4   // from a round to the next
	propertyShare = 8   // parts of a clause for each of a neuron's
	neuronCost    = 0.2 // of a neuron's part, which reaches a part of the network, in those of a clause
)
