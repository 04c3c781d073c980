package attack

import (
	"context"
	"fmt"
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Box is a set of inputs, channels first, with Lo ≤ input ≤ Hi: any finite numbers.
type Box struct{ Lo, Hi []float32 }

// Search says how a Searcher looks for violations. The zero value is a search of a
// second or so on networks of a few million products.
type Search struct {
	// Steps is the number of gradient steps of a run from a random start; 0: 50. Runs
	// from the middle of a box make a quarter of them.
	Steps int

	// Restarts is the number of random starts of the most promising clauses in each box,
	// after the one in the middle; 0: 31, negative: none. Clauses that are far from a
	// violation get fewer.
	Restarts int

	// Deepen is the number of steps that go on from a violation, so that another
	// execution of the network, which rounds differently, is violated too; 0: 20,
	// negative: none.
	Deepen int

	// Slack is how far a violation is to be deepened, as a share of the sum of the
	// magnitudes of the terms of the row that decides; 0: 1e-3.
	Slack float64

	Seed uint64
}

const (
	searchSteps    = 50
	searchRestarts = 31
	searchDeepen   = 20
	searchSlack    = 1e-3

	localStep  = 1.0 / 32 // from a good point, in widths of the box
	fewClauses = 3        // that are left when others get no more restarts
	gridInputs = 10       // most inputs that vary for a grid
	gridPoints = 1024     // most of its points in all boxes
)

// Validate names the first field that makes no sense.
func (s *Search) Validate() error {
	for _, f := range []struct {
		name  string
		value int
		least int
	}{{"steps", s.Steps, 0}, {"restarts", s.Restarts, math.MinInt}, {"deepen", s.Deepen, math.MinInt}} {
		if f.value < f.least || f.value > maxCount {
			return fmt.Errorf("%s: got %d, want at most %d, or 0 for the default", f.name, f.value, maxCount)
		}
	}
	if !(s.Slack >= 0 && s.Slack <= 1) {
		return fmt.Errorf("slack: got %v, want a share of at most 1, or 0 for %v", s.Slack, searchSlack)
	}
	return nil
}

// count returns v, usual if it is 0, and 0 if it is negative.
func count(v, usual int) int {
	if v == 0 {
		return usual
	}
	return max(0, v)
}

// Violation is an input of a box for which, as executed here in float32, all rows of a
// clause are at most 0.
type Violation struct {
	Box    int       // of those that were searched
	Clause int       // of the property: the one with the lowest Value
	Value  float64   // the largest of the clause's rows, ≤ 0, up to rounding in float64
	X      []float32 // channels first
	Z      []float32 // the outputs there
}

// Searcher looks in boxes for inputs that violate a property. It attacks a network of
// two outputs that computes, of a point of the unit cube, the largest row of a clause at
// the point of the box that it stands for, and 0: PGD from the middle, points of a grid
// if few inputs vary, and APGD from random points and corners.
// Steps are thus shares of the width of each input, and inputs of width 0 stay.
//
// What it finds depends on the network, the boxes, the property and the settings, not on
// the number of threads. It must be used by one goroutine at a time.
type Searcher struct {
	how    Search
	pool   *kernels.Pool
	target *violator
	passes *passPool
	point  *violatorPasses // to evaluate single points on

	middle, random, local, deepen *Attacker

	batch Batch
	res   Result
	jobs  []job
	value []float64 // lowest so far of each clause in each box
	order [][]int   // of each box: its clauses, the lowest first
	from  []float32 // where runs begin
	found Violation
}

// NewSearcher prepares a search on a network compiled with Options.Backward.
func NewSearcher(n *net.Network, how Search, pool *kernels.Pool) (*Searcher, error) {
	if err := how.Validate(); err != nil {
		return nil, err
	}
	s := &Searcher{how: how, pool: pool, target: &violator{Network: n}, passes: &passPool{}}
	half := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("1/2")}
	steps := count(how.Steps, searchSteps)
	for _, a := range []struct {
		at     **Attacker
		method Method
	}{
		{&s.middle, PGD{Steps: max(1, steps/4), FixedStart: true, Loss: net.Margin}},
		{&s.random, APGD{Steps: steps, Loss: net.Margin, Seed: how.Seed}},
		{&s.local, PGD{Steps: searchDeepen, StepSize: localStep, FixedStart: true, Loss: net.Margin}},
		{&s.deepen, PGD{Steps: max(1, count(how.Deepen, searchDeepen)), StepSize: localStep, FixedStart: true, Loss: net.Margin}},
	} {
		var err error
		if *a.at, err = New(s.target, Config{Ball: half, Method: a.method}, pool); err != nil {
			return nil, err
		}
		(*a.at).passes = s.passes
	}
	s.point = s.target.Passes(1, pool).(*violatorPasses)
	if n.Few(1) {
		s.passes.few = s.point
	} else {
		s.passes.lanes = append(s.passes.lanes, s.point)
	}
	return s, nil
}

// Find returns the first violation, or nil if it finds none. When ctx ends it returns
// what it has and the context's error. The violation is valid until the next call.
func (s *Searcher) Find(ctx context.Context, boxes []Box, p *net.Property) (*Violation, error) {
	var v *Violation
	err := s.Each(ctx, boxes, p, func(found *Violation) bool {
		v = found
		return false
	})
	return v, err
}

// Each offers violations to more, in an order that does not depend on the threads, until
// more returns false or the search has come to its end, which is no error. A violation is
// valid until more returns. No two are of the same run. When ctx ends it returns the
// context's error. Boxes and property must not change meanwhile.
func (s *Searcher) Each(ctx context.Context, boxes []Box, p *net.Property, more func(*Violation) bool) error {
	if err := s.target.aim(boxes, p); err != nil {
		return err
	}
	defer s.target.release()
	if len(boxes) == 0 {
		return nil
	}
	r := searchRun{Searcher: s, ctx: ctx, boxes: boxes, more: more}
	return r.run()
}

// Steps returns the number of gradient steps of the last search.
func (s *Searcher) Steps() int64 { return s.target.steps }
