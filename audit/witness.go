package audit

import (
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/reals"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Answer says whether a property is violated.
type Answer int8

const (
	Undecided Answer = iota // a sigmoid or tanh is known too roughly, or time ran out
	Holds                   // the property does
	Violated
)

func (a Answer) String() string { return [...]string{"undecided", "holds", "violated"}[a] }

// Witness is an input for which a property may be violated: every row of Clause is at
// most 0. Level (a) is exact arithmetic over the network's float32 weights, level (b) its
// execution in float32 as package net runs it; other engines sum in other orders.
type Witness struct {
	Box, Clause int

	// Point lies in the box, exactly. X are the float32 nearest to it, which are executed.
	// They are the same but for inputs of which the box holds no float32, such as one that
	// is fixed to a decimal: those are Rounded.
	Point   []*big.Rat
	X       []float32
	Rounded int

	Z        []float32 // outputs for X, executed
	Exact    Answer    // at Point, level (a)
	Executed Answer    // at X, level (b)
}

// Violates reports whether the property is violated at both levels.
func (w *Witness) Violates() bool { return w.Exact == Violated && w.Executed == Violated }

// better reports whether w is a better witness than v; what exact arithmetic says weighs
// more.
func (w *Witness) better(v *Witness) bool {
	return v == nil || w.Exact > v.Exact || w.Exact == v.Exact && w.Executed > v.Executed
}

// mostRefused is the number of violations that are executed alone after which FindWitness
// gives up: the outputs are then 0 on a part of the box, or nearly.
const mostRefused = 16

// FindWitness attacks a network, compiled with Options.Backward, in boxes of inputs until it
// finds a witness that violates the property at both levels. It returns the best one found,
// nil if there is none. When ctx ends first, the error is the context's, and the witness
// what is known so far. The result does not depend on the pool. Constants D of a property
// that are no float32 are to be rounded up for a witness, and down for a proof.
func FindWitness(ctx context.Context, n *net.Network, boxes []ExactBox, p *net.Property, how attack.Search, pool *kernels.Pool) (*Witness, error) {
	s, err := attack.NewSearcher(n, how, pool)
	if err != nil {
		return nil, err
	}
	var list []attack.Box
	for i := range boxes {
		if err := boxes[i].validate(n.Input().Size()); err != nil {
			return nil, fmt.Errorf("box %d: %w", i, err)
		}
		list = append(list, boxes[i].inner())
	}
	var best *Witness
	var failed error
	refused := 0
	err = s.Each(ctx, list, p, func(v *attack.Violation) bool {
		w := &Witness{Box: v.Box, X: slices.Clone(v.X), Z: slices.Clone(v.Z)}
		if failed = w.place(&boxes[v.Box]); failed == nil {
			failed = w.judge(ctx, n, p)
		}
		if w.better(best) {
			best = w
		}
		refused++
		return failed == nil && !w.Violates() && refused < mostRefused
	})
	if failed != nil {
		err = failed
	}
	return best, err
}

// CheckWitness judges an input x, channels first, that is said to violate the property. It
// is an error if x lies outside of the box, but for inputs of which the box holds no
// float32: there the nearest one is wanted. When ctx ends before exact arithmetic has
// decided, the error is the context's, and the witness what is known so far.
func CheckWitness(ctx context.Context, n *net.Network, box *ExactBox, p *net.Property, x []float32, pool *kernels.Pool) (*Witness, error) {
	if err := box.validate(n.Input().Size()); err != nil {
		return nil, err
	}
	if p == nil {
		return nil, fmt.Errorf("property: none")
	}
	if err := p.Validate(n.Classes()); err != nil {
		return nil, err
	}
	w := &Witness{X: slices.Clone(x), Z: make([]float32, n.Classes())}
	if err := w.place(box); err != nil {
		return nil, err
	}
	newExecution(n, pool).run(w.Z, x)
	return w, w.judge(ctx, n, p)
}

// execution runs a network on single inputs.
type execution struct {
	net    *net.Network
	passes net.Passes
	in     []float32
}

func newExecution(n *net.Network, pool *kernels.Pool) *execution {
	p := n.Passes(1, pool)
	return &execution{n, p, kernels.Alloc(p.Layout().Len(1, n.Input().Size()))}
}

// run writes the outputs for x to z.
func (e *execution) run(z, x []float32) {
	l := e.passes.Layout()
	l.Pack(e.in, x, e.net.Input(), 0)
	l.Gather(z, e.passes.Forward(e.in, 1), 0)
}

// nearest sets x to the network's own input within lo … hi that is nearest to the input at of
// its first node.
func (e *execution) nearest(x, at, lo, hi []float32) {
	mean, std := e.net.Normalization()
	pixels := len(at) / e.net.Input().C
	for k, v := range at {
		if mean != nil {
			v = float32(v*std[k/pixels]) + mean[k/pixels]
		}
		x[k] = min(max(v, lo[k]), hi[k])
	}
}

// executedSigns returns the signs of the property's rows at outputs as executed; NaN and Inf
// violate nothing.
func executedSigns(z []float32, p *net.Property) []reals.Sign {
	if slices.ContainsFunc(z, func(v float32) bool { return v-v != 0 }) {
		return slices.Repeat([]reals.Sign{reals.Positive}, len(p.C)/len(z))
	}
	return reals.SignsOf(z, p.C, p.D)
}

// place finds the point of the box that X stands for.
func (w *Witness) place(b *ExactBox) error {
	if len(w.X) != len(b.Lo) {
		return fmt.Errorf("witness: %d numbers, want %d", len(w.X), len(b.Lo))
	}
	for k, v := range w.X {
		if v-v != 0 {
			return fmt.Errorf("witness: input %d is %v, want a finite number", k, v)
		}
		r := new(big.Rat).SetFloat64(float64(v))
		switch lo, hi := b.Lo[k], b.Hi[k]; {
		case r.Cmp(lo) >= 0 && r.Cmp(hi) <= 0:
		default:
			if l, h := inward(lo, hi); l <= h || v != between(lo, hi) {
				return fmt.Errorf("witness: input %d is %v, want a number in [%s, %s]", k, v, lo.FloatString(12), hi.FloatString(12))
			}
			w.Rounded++
			if r = lo; r.Cmp(new(big.Rat).SetFloat64(float64(v))) < 0 {
				r = hi
			}
		}
		w.Point = append(w.Point, r)
	}
	return nil
}

// judge fills in the answers, and picks the clause that is violated at the higher level.
func (w *Witness) judge(ctx context.Context, n *net.Network, p *net.Property) error {
	executed := executedSigns(w.Z, p)
	exact, err := reals.Signs(ctx, n.Model(), w.Point, p.C, p.D)
	if exact == nil {
		return err
	}
	var best *Witness
	row := 0
	for c, rows := range p.ClauseRows(len(w.Z)) {
		v := *w
		v.Clause, v.Exact, v.Executed = c, answer(exact[row:row+rows]), answer(executed[row:row+rows])
		if v.better(best) {
			best = &v
		}
		row += rows
	}
	*w = *best
	return err
}

// answer is that of the rows of a clause.
func answer(rows []reals.Sign) Answer {
	a := Violated
	for _, s := range rows {
		switch s {
		case reals.Positive:
			return Holds
		case reals.Undecided:
			a = Undecided
		}
	}
	return a
}
