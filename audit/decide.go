package audit

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/round"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// Question asks whether a property holds on all inputs of a box. Its constants are real
// numbers, which float32 has on one side or the other.
type Question struct {
	Box ExactBox

	// Proves holds what a proof must show, constants rounded down; Refutes what a witness
	// must violate, constants rounded up, or beyond where a row need only not be negative.
	Proves, Refutes *net.Property
}

// Decision is the answer to questions that are asked together: whether the properties of
// all of them hold.
type Decision struct {
	Answer Answer // Holds, Violated by Witness, or Undecided

	// Witness violates the property of the question of number Question; of an answer that
	// is undecided, at one level alone. Nil if there is none.
	Witness  *Witness
	Question int

	By string // what decided: bounds, attack, or branch and bound; empty if undecided

	// Proofs holds, if the properties hold and DecideOptions.Record asks for it, what branch
	// and bound has taken down about each question; nil: bounds of the whole box prove it.
	Proofs []*branch.Record

	// Of the first question that was not proved, or of the last one. Low is a lower bound of
	// its property on all of its box, −Inf if none was found; of all properties if they hold.
	branch.Progress

	Bounded int // parts by branch and bound of all questions; not those of a state gone on from
}

// DecideOptions say how Decide works. The zero value is good.
type DecideOptions struct {
	Search attack.Search  // the thorough one; a quick one comes before it
	Branch branch.Options // Point, Resume, Save and Record are not used; SaveEvery is that of Save

	// Record asks for what proves the properties, in Decision.Proofs. It does not go with
	// Resume, Save and Branch.Memory.
	Record bool

	// Resume, if not nil, is a state to go on from, of the same network and questions.
	Resume *DecideState

	// Save, if not nil, is given the state between the stages, as branch.Options.Save is during
	// the search, and when Decide ends undecided. Its error ends Decide.
	Save func(*DecideState) error

	// Level says which answers of a witness count; nil: both must be Violated.
	Level func(*Witness) bool
}

// Decide answers questions about a network that was compiled with Options.Backward: by
// interval and linear bounds, by an attack, and by branch and bound, whose parts are
// looked at for witnesses as well. When ctx ends, what is not decided is Undecided, and that
// is no error. The pool must not be used meanwhile.
func Decide(ctx context.Context, n *net.Network, questions []Question, o DecideOptions, pool *kernels.Pool) (*Decision, error) {
	v, err := verify.New(n, pool)
	if err != nil {
		return nil, err
	}
	v.JoinBalls()
	v.FirstPlanes()
	if o.Level == nil {
		o.Level = (*Witness).Violates
	}
	d := &decider{net: n, v: v, pool: pool, o: o, low: float32(math.Inf(1)), decision: &Decision{}}
	d.decision.Low = float32(math.Inf(-1))
	for i := range questions {
		if err := questions[i].Box.validate(n.Input().Size()); err != nil {
			return nil, fmt.Errorf("question %d: %w", i, err)
		}
		d.open = append(d.open, i)
	}
	d.questions = questions
	if o.Record {
		d.proofs = make([]*branch.Record, len(questions))
	}
	d.found = map[int]*branch.State{}
	if o.Resume != nil {
		if err := d.resume(ctx, o.Resume); err != nil {
			return nil, err
		}
	}
	err = d.run(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	if err == nil && d.decision.Answer == Undecided && d.found[d.open[0]] == nil { // else the search has
		err = d.save()
	}
	return d.decision, err
}

// decider is a run of Decide.
type decider struct {
	net       *net.Network
	v         *verify.Verifier
	pool      *kernels.Pool
	o         DecideOptions
	questions []Question
	open      []int
	low       float32 // of what is proved
	decision  *Decision
	stage     int                   // under way
	found     map[int]*branch.State // of searches, of open questions
	proofs    []*branch.Record
}

func (d *decider) run(ctx context.Context) error {
	quick := d.o.Search
	quick.Restarts, quick.Steps = 2, 20
	stages := []func(context.Context) error{
		func(ctx context.Context) error { return d.bound(ctx, verify.MethodCROWNIBP) },
		func(ctx context.Context) error { return d.attack(ctx, quick) },
		func(ctx context.Context) error { return d.bound(ctx, verify.MethodCROWN) },
		func(ctx context.Context) error { return d.attack(ctx, d.o.Search) },
		d.search,
	}
	for d.decision.Answer != Violated { // a state may have had a witness
		if err := stages[d.stage](ctx); err != nil || d.decision.Answer == Violated {
			return err
		}
		if len(d.open) == 0 {
			d.decision.Answer, d.decision.Low, d.decision.Proofs = Holds, d.low, d.proofs
			return nil
		}
		if d.stage == searchStage { // it gave up
			return nil
		}
		d.stage++
		if err := d.save(); err != nil {
			return err
		}
	}
	return nil
}

// searchStage is the number of the stage of branch and bound, the last one.
const searchStage = 4

// Region is the box around a question's, as proofs want it: its ends are rounded outward.
func (q *Question) Region() verify.Region {
	r := verify.Region{Lo: make([]float32, len(q.Box.Lo)), Hi: make([]float32, len(q.Box.Lo))}
	for k, lo := range q.Box.Lo {
		r.Lo[k], r.Hi[k] = round.Down(lo), round.Up(q.Box.Hi[k])
	}
	return r
}

// bound closes questions that a method proves.
func (d *decider) bound(ctx context.Context, m verify.Method) error {
	var left []int
	var res verify.Result
	for _, i := range d.open {
		q := &d.questions[i]
		o := verify.Options{Method: m, Property: q.Proves, Ladder: m == verify.MethodCROWNIBP}
		if err := d.v.CertifyRegions(ctx, o, []verify.Region{q.Region()}, nil, &res); err != nil {
			return err
		}
		if !res.Certified[0] {
			left = append(left, i)
		} else {
			d.low, d.decision.By = min(d.low, res.Margin[0]), "bounds"
		}
	}
	d.open = left
	return nil
}

// attack looks for a witness.
func (d *decider) attack(ctx context.Context, how attack.Search) error {
	for _, i := range d.open {
		q := &d.questions[i]
		w, err := FindWitness(ctx, d.net, []ExactBox{q.Box}, q.Refutes, how, d.pool)
		if d.take(w, i, "attack") || err != nil {
			return err
		}
	}
	return nil
}

// take keeps a witness, and reports whether it decides.
func (d *decider) take(w *Witness, question int, by string) bool {
	if w == nil {
		return false
	}
	decides := d.o.Level(w)
	if decides || w.better(d.decision.Witness) {
		d.decision.Witness, d.decision.Question = w, question
	}
	if decides {
		d.decision.Answer, d.decision.By = Violated, by
	}
	return decides
}

// search goes on by branch and bound.
func (d *decider) search(ctx context.Context) error {
	const by = "branch and bound"
	for len(d.open) > 0 {
		i := d.open[0]
		q := &d.questions[i]
		p := newPoints(d.net, q, d.pool)
		var failed error
		o := d.o.Branch
		o.Point = func(x []float32) bool {
			if !p.violates(x) {
				return false
			}
			w, err := CheckWitness(ctx, d.net, &q.Box, q.Refutes, p.x, d.pool)
			failed = err
			return err != nil || d.take(w, i, by)
		}
		o.Resume, o.Save, o.Record = d.found[i], nil, nil
		if d.o.Record {
			o.Record = &branch.Record{ByInputs: true}
		}
		if d.o.Save != nil {
			o.Save = func(st *branch.State) error {
				d.found[i] = st
				return d.save()
			}
		}
		before := 0
		if o.Resume != nil {
			before = o.Resume.Parts
		}
		res, err := branch.Prove(ctx, d.v, q.Region(), q.Proves, o)
		d.decision.Progress = res.Progress
		d.decision.Bounded += max(0, res.Parts-before)
		if err == nil {
			err = failed
		}
		if err != nil || d.decision.Answer == Violated || !res.Proved {
			return err
		}
		if d.o.Record {
			d.proofs[i] = o.Record
		}
		d.decision.By, d.low = by, min(d.low, res.Low)
		d.open = d.open[1:]
		delete(d.found, i)
	}
	return nil
}

// points executes the network at points of a question's box.
type points struct {
	*execution
	lo, hi []float32
	p      *net.Property
	x, z   []float32
}

func newPoints(n *net.Network, q *Question, pool *kernels.Pool) *points {
	box := q.Box.inner()
	return &points{newExecution(n, pool), box.Lo, box.Hi, q.Refutes, make([]float32, n.Input().Size()), make([]float32, n.Classes())}
}

// violates reports whether the property is violated, as executed, at the input x of the first
// node, which it leaves in p.x as the network's own.
func (p *points) violates(x []float32) bool {
	p.nearest(p.x, x, p.lo, p.hi)
	p.run(p.z, p.x)
	signs := executedSigns(p.z, p.p)
	for _, n := range p.p.ClauseRows(len(p.z)) {
		if answer(signs[:n]) == Violated {
			return true
		}
		signs = signs[n:]
	}
	return false
}
