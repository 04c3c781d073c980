package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// Prover proves at a radius and searches for radii: *verify.Verifier.
type Prover interface {
	RadiusProver
	Certify(ctx context.Context, how verify.Options, ball net.Ball, b verify.Batch, res *verify.Result) error
	ProveAll(ctx context.Context, how verify.Options, b verify.Batch, ball func(image int) (net.Ball, bool)) ([]*verify.Proof, error)
}

// ProveOptions say what Proving proves of each image: that the ball of radius Eps holds
// no misclassified point or, with Search or Resolution, the largest radius for which
// that can be proved.
type ProveOptions struct {
	Norm net.Norm
	Eps  net.Epsilon

	// Resolution, if not 0, asks for radii: multiples of it up to Max.
	Resolution, Max net.Epsilon

	// Search, if not nil, attacks above the radius that is proved. It must have the
	// same norm, resolution and maximum.
	Search      *attack.RadiusSearch
	AttackSteps int // of Search, for reports alone

	// How says by which method. With Slopes it should have RowsOnly, or margins may be
	// better than those that Slopes give.
	How verify.Options

	// Complete, if not nil, decides what How leaves open. Of radii, it closes in on what is
	// between those that are proved and those that are attacked.
	Complete *Completion

	// State, if not nil, is given the records of proofs by branch and bound, which are only
	// then taken down, with the image's position and the number of steps of its radius. After
	// an error, which should say that the proof cannot be certified, the proof does not count.
	State func(ctx context.Context, i, steps int, r *branch.Record) error

	// Slopes asks for what a certificate states of each proof, but of intervals alone.
	Slopes bool

	First int // index of the first image: picks random numbers, names images in errors
	Block int // number of images after which Save is called

	// Save, if not nil, is called after every block with the positions of its
	// images. Those that are Done are final. Its error ends the run.
	Save func(at []int) error

	// Progress, if not nil, is called from the goroutine of Run before each block
	// with the pass that begins ("prove" or "attack"), and before each image of Complete.
	Progress func(pass string, done, total int)
}

// Radius reports whether radii are searched for.
func (o *ProveOptions) Radius() bool { return o.Resolution.Cmp(net.Epsilon{}) > 0 }

// Ball returns the ball at a number of steps of the resolution, or that of Eps.
func (o *ProveOptions) Ball(steps int) net.Ball {
	if !o.Radius() {
		return net.Ball{Norm: o.Norm, Eps: o.Eps}
	}
	return net.Ball{Norm: o.Norm, Eps: o.Resolution.Times(max(0, steps))}
}

// Proving proves a statement about each image of a set, block by block. What is proved
// of an image does not depend on its neighbours. The slices hold one entry an image.
type Proving struct {
	ProveOptions

	Done   []bool
	Proved []bool          // at Eps, or at the radius of Steps
	Method []verify.Method // that decided, at Eps
	Margin []float64       // lower bound that is proved, at Eps
	Steps  []int           // with Radius: largest radius proved, in units of Resolution; −1: none, not even 0
	Proof  []*verify.Proof // with Slopes; nil: intervals decided, or nothing is proved

	// Attacked is, with Search or Complete, the smallest radius that fools, as
	// Brackets.Attacked.
	Attacked []int

	// Fooled marks, with Complete, what is misclassified somewhere in the ball of Eps.
	Fooled []bool

	// Settled marks images that are Done before Run and of which Attacked and Fooled are
	// known as well: they are left alone.
	Settled []bool

	// Before holds, with Complete, the Steps and Attacked that it started from.
	Before struct{ Steps, Attacked []int }

	// Whole is the number of images, from the first on, that are all done.
	Whole int

	prover Prover
	x      []float32
	y      []int
	size   int
}

// NewProving prepares the proofs of n = len(y) images, channels first, pixels in [0,
// 1]. If the outcome of an image is known already, from a file, the caller sets Done
// for it before Run.
func NewProving(by Prover, x []float32, y []int, o ProveOptions) (*Proving, error) {
	n := len(y)
	if n == 0 || len(x)%n != 0 {
		return nil, fmt.Errorf("images: %d numbers for %d labels, want whole images and at least one", len(x), n)
	}
	if o.Block < 1 {
		return nil, fmt.Errorf("block: %d, want at least 1", o.Block)
	}
	if s := o.Search; s != nil && (s.Attack.Ball.Norm != o.Norm || s.Resolution.Cmp(o.Resolution) != 0 || s.Max.Cmp(o.Max) != 0) {
		return nil, errors.New("search: want the norm, the resolution and the largest radius of the proofs")
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	p := &Proving{
		ProveOptions: o, prover: by, x: x, y: y, size: len(x) / n,
		Done: make([]bool, n), Proved: make([]bool, n), Method: make([]verify.Method, n), Margin: make([]float64, n),
		Steps: make([]int, n), Proof: make([]*verify.Proof, n), Attacked: slices.Repeat([]int{-1}, n), Fooled: make([]bool, n),
		Settled: make([]bool, n),
	}
	p.Before.Steps, p.Before.Attacked = make([]int, n), make([]int, n)
	return p, nil
}

// Append adds the outcomes of q, whose images follow p's, without its images and proofs: p, which
// may begin empty with the options of q, is then to be looked at, not to be Run.
func (p *Proving) Append(q *Proving) {
	p.Done, p.Proved = append(p.Done, q.Done...), append(p.Proved, q.Proved...)
	p.Method, p.Margin = append(p.Method, q.Method...), append(p.Margin, q.Margin...)
	p.Steps, p.Attacked = append(p.Steps, q.Steps...), append(p.Attacked, q.Attacked...)
	p.Fooled, p.Settled = append(p.Fooled, q.Fooled...), append(p.Settled, q.Settled...)
	p.Before.Steps, p.Before.Attacked = append(p.Before.Steps, q.Before.Steps...), append(p.Before.Attacked, q.Before.Attacked...)
	p.Proof = append(p.Proof, make([]*verify.Proof, len(q.Done))...)
	p.y = append(p.y, q.y...)
}

// Attacks reports whether radii are searched for from above, too.
func (p *Proving) Attacks() bool { return p.Search != nil || p.Radius() && p.Complete != nil }

// AnswerOf returns what is known of image i and the ball of Eps.
func (p *Proving) AnswerOf(i int) Answer {
	switch {
	case p.Proved[i]:
		return Holds
	case p.Fooled[i]:
		return Violated
	}
	return Undecided
}

// Certified reports whether image i counts as certified: at Eps or, with Radius, at a
// radius above 0.
func (p *Proving) Certified(i int) bool {
	return p.Done[i] && p.Proved[i] && (!p.Radius() || p.Steps[i] > 0)
}

// RadiusOf returns the proved radius of image i, rounded down, or 0.
func (p *Proving) RadiusOf(i int) float64 {
	if p.Steps[i] <= 0 {
		return 0
	}
	r, _ := p.Resolution.Times(p.Steps[i]).Bounds()
	return r
}

// Run proves what is not Done. If ctx ends, the error is the context's, and what is
// done stands. An image that is both attacked and certified is a *Contradiction.
func (p *Proving) Run(ctx context.Context) error {
	var todo, known []int
	for i, done := range p.Done {
		switch {
		case !done:
			todo = append(todo, i)
		case !p.Settled[i]:
			known = append(known, i)
		}
	}
	if err := p.attackKnown(ctx, known); err != nil {
		return err
	}
	for block := range slices.Chunk(todo, p.Block) {
		p.Whole = block[0]
		p.Progress("prove", block[0], len(p.y))
		err := p.prove(ctx, block)
		if p.Save != nil {
			err = errors.Join(err, p.Save(block))
		}
		if err != nil {
			return err
		}
	}
	p.Whole = len(p.y)
	return nil
}

// Check compares the proofs with the classes predicted for the images themselves: a
// proof for one that is misclassified is a *Contradiction.
func (p *Proving) Check(pred []int) error {
	for i, done := range p.Done {
		if done && p.Proved[i] && pred[i] != p.y[i] {
			return &Contradiction{Image: p.First + i, Ball: p.Ball(p.Steps[i])}
		}
	}
	return nil
}

// batch gathers images.
func (p *Proving) batch(at []int) (b verify.Batch) {
	for _, i := range at {
		b.X, b.Y = append(b.X, p.x[i*p.size:(i+1)*p.size]...), append(b.Y, p.y[i])
	}
	return b
}

// index returns the indices in the data set of the images at.
func (p *Proving) index(at []int) []int {
	index := make([]int, len(at))
	for k, i := range at {
		index[k] = p.First + i
	}
	return index
}

// prove fills in the images at.
func (p *Proving) prove(ctx context.Context, at []int) error {
	b := p.batch(at)
	if p.Radius() {
		return p.bracket(ctx, b, at)
	}
	ball := p.Ball(0)
	var res verify.Result
	err := p.prover.Certify(ctx, p.How, ball, b, &res)
	if err == nil {
		err = p.findSlopes(ctx, b, at, func(k int) (net.Ball, bool) { return ball, res.Certified[k] })
	}
	for k, done := range res.Done {
		i := at[k]
		p.Done[i], p.Proved[i] = done && p.whole(err) && (res.Certified[k] || p.Complete == nil), res.Certified[k]
		p.Margin[i], p.Method[i] = float64(res.Margin[k]), res.Method[k]
		if v := p.Proof[i]; v != nil { // found again for its slopes, perhaps by a cheaper one
			p.Method[i] = v.Method
		}
	}
	if err == nil && p.Complete != nil {
		err = p.complete(ctx, at)
	}
	return err
}

// whole reports whether an image of a block that ended with err is done: with
// slopes, which come after the proofs, only if that was without an error.
func (p *Proving) whole(err error) bool { return err == nil || !p.Slopes }

// bracket is prove for radii.
func (p *Proving) bracket(ctx context.Context, b verify.Batch, at []int) error {
	var steps, fooled []int
	var done []bool
	var err error
	if p.Search == nil {
		var res verify.RadiusResult
		err = p.prover.Radius(ctx, p.How, p.Norm, p.Resolution, p.Max, b, &res)
		steps, done = res.Steps, res.Done
	} else {
		var res *Brackets
		res, err = Bracket(ctx, p.prover, p.How, p.Search, b.X, b.Y, p.index(at))
		steps, fooled, done = res.Certified, res.Attacked, res.AttackDone
	}
	if err == nil {
		err = p.findSlopes(ctx, b, at, func(k int) (net.Ball, bool) { return p.Ball(steps[k]), steps[k] >= 0 })
	}
	for k, d := range done {
		i := at[k]
		p.Done[i], p.Proved[i], p.Steps[i] = d && p.whole(err) && p.Complete == nil, steps[k] >= 0, steps[k]
		if fooled != nil {
			p.Attacked[i] = fooled[k]
		}
	}
	if err == nil && p.Complete != nil {
		err = p.narrow(ctx, at)
	}
	return err
}

// findSlopes fills in the proofs that need more than intervals.
func (p *Proving) findSlopes(ctx context.Context, b verify.Batch, at []int, ball func(k int) (net.Ball, bool)) error {
	if !p.Slopes || p.How.Method == verify.MethodIBP {
		return nil
	}
	found, err := p.prover.ProveAll(ctx, p.How, b, ball)
	for k, proof := range found {
		if proof != nil && proof.Certified { // else intervals decided, which need none
			p.Proof[at[k]] = proof
		}
	}
	return err
}

// attackKnown attacks the images whose certified radius was known before the run:
// a file of certificates has no room for the other side.
func (p *Proving) attackKnown(ctx context.Context, at []int) error {
	if p.Complete != nil && !p.Radius() {
		return p.foolKnown(ctx, at)
	}
	if p.Search == nil {
		return nil
	}
	for block := range slices.Chunk(at, 64) {
		p.Progress("attack", block[0], len(p.y))
		b, index, low := p.batch(block), p.index(block), make([]int, len(block))
		for k, i := range block {
			low[k] = p.Steps[i]
		}
		var res attack.RadiusResult
		if err := p.Search.Run(ctx, attack.Batch{X: b.X, Y: b.Y, Index: index}, low, &res); err != nil {
			return err
		}
		for k, i := range block {
			fooled := res.Steps[k]
			p.Attacked[i] = fooled
			if fooled >= 0 && low[k] >= fooled {
				return &Contradiction{Image: index[k], Ball: p.Ball(fooled)}
			}
		}
	}
	return nil
}
