package attack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Attacker runs one attack on one target. It must be used by one goroutine at
// a time.
type Attacker struct {
	target  Target
	cfg     Config
	plan    Plan
	box     net.Box
	pool    *kernels.Pool
	workers []*worker // on lanes, one for each of the pool
	few     *worker   // on single images, its layers split over the pool
	f       func(worker, task int)
	whole   Run       // of a method that has no rule
	passes  *passPool // shared by the stages of a cascade

	// A later stage of a cascade keeps what earlier ones found, unless it finds better.
	later   bool
	settled func(image, steps int) // of a stage, instead of finish
	margins []float32              // nil, or where those of the images as they are go

	// The batch being attacked.
	ctx      context.Context
	b        Batch
	res      *Result
	n        int
	only     []int        // images to attack; nil: all
	capacity int          // slots a worker fills
	next     atomic.Int64 // first image no worker has taken
	done     atomic.Int64
	steps    atomic.Int64
	astray   atomic.Int64 // 1 + an image whose best point is outside the ball; 0: none
}

// New prepares an attack on a target that has gradients.
func New(t Target, c Config, pool *kernels.Pool) (*Attacker, error) {
	if err := c.Validate(t.Classes()); err != nil {
		return nil, err
	}
	a := &Attacker{target: t, cfg: c, plan: c.Method.Plan(), box: c.Ball.Box(), pool: pool, passes: &passPool{}}
	if !a.plan.NoGradient && !t.HasBackward() {
		return nil, fmt.Errorf("%s: follows gradients, and the network is compiled without backward passes, want Options.Backward", c.Method.Name())
	}
	a.plan.Restarts = max(1, a.plan.Restarts)
	a.f = func(w, _ int) { a.workers[w].run() }
	if err := a.makeWhole(); err != nil {
		return nil, err
	}
	return a, nil
}

// makeWhole prepares a method that has no rule.
func (a *Attacker) makeWhole() (err error) {
	if m, ok := a.cfg.Method.(Whole); ok {
		a.whole, err = m.NewRun(a.target, a.cfg, a.pool)
	}
	return err
}

// aim points the attacker at another ball of the same norm.
func (a *Attacker) aim(b net.Ball) error {
	a.cfg.Ball, a.box = b, b.Box()
	for _, w := range append(a.workers[:len(a.workers):len(a.workers)], a.few) {
		if w != nil {
			w.space.aim(b)
		}
	}
	return a.makeWhole()
}

// passPool holds the passes of an attacker's workers.
type passPool struct {
	lanes []Passes
	few   Passes
}

// lanes and singles make the buffers for a kind of batch, when the first comes.
func (a *Attacker) lanes(images int) {
	for len(a.workers) < a.pool.Workers() {
		k := len(a.workers)
		if k == len(a.passes.lanes) {
			a.passes.lanes = append(a.passes.lanes, a.target.Passes(images, a.pool))
		}
		a.workers = append(a.workers, newWorker(a, a.passes.lanes[k], a.target.ISA().TileGroups()*kernels.Lanes))
	}
}

func (a *Attacker) singles(images int) {
	if a.few == nil {
		if a.passes.few == nil {
			a.passes.few = a.target.Passes(images, a.pool)
		}
		a.few = newWorker(a, a.passes.few, net.MaxSmall)
	}
}

// Run attacks the batch and fills res, reusing its memory. With a res of equal size it
// allocates nothing except its buffers, once for large batches and once for small ones.
// When ctx ends it returns the context's error within a few steps: images with res.Done
// are then complete, and those with res.Begun hold the best point found so far. It is
// an error, and a bug of the method, if a rule leaves the ball.
func (a *Attacker) Run(ctx context.Context, b Batch, res *Result) error {
	if err := a.checkBatch(b); err != nil {
		return err
	}
	res.resize(len(b.Y), a.target.Input().Size())
	copy(res.Adv, b.X)
	if a.whole != nil {
		return a.whole.Run(ctx, b, res)
	}
	a.done.Store(0)
	few := a.sweep(ctx, b, nil, res)
	res.ImageSteps = a.steps.Load()
	err := a.check(few)
	a.ctx, a.b, a.res = nil, Batch{}, nil
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	return ctx.Err()
}

// sweep attacks the images of b, or only some, and reports whether they were few.
func (a *Attacker) sweep(ctx context.Context, b Batch, only []int, res *Result) (few bool) {
	n := len(b.Y)
	if only != nil {
		n = len(only)
	}
	a.ctx, a.b, a.res, a.n, a.only = ctx, b, res, n, only
	a.next.Store(0)
	a.steps.Store(0)
	a.astray.Store(0)
	if few = a.target.Few(n); few {
		a.singles(n)
		a.capacity = net.MaxSmall
		a.few.run()
		return true
	}
	a.lanes(n)
	groups, workers := kernels.Groups(n), a.pool.Workers()
	a.capacity = kernels.Lanes * min(a.target.ISA().TileGroups(), max(1, (groups+workers-1)/workers))
	a.pool.Run(min(workers, groups), a.f)
	return false
}

func (a *Attacker) checkBatch(b Batch) error {
	n := len(b.Y)
	if err := a.target.CheckImages(b.X, n); err != nil {
		return err
	}
	if err := a.target.CheckLabels(b.Y, n); err != nil {
		return err
	}
	if b.Targets != nil {
		if err := a.checkTargets(b); err != nil {
			return err
		}
	}
	if b.Start != nil {
		if err := a.target.CheckImages(b.Start, n); err != nil {
			return fmt.Errorf("start points: %w", err)
		}
	}
	if b.Index != nil && len(b.Index) != n {
		return fmt.Errorf("indices: %d, want one for each of %d images", len(b.Index), n)
	}
	if b.Robust != nil && len(b.Robust) != n {
		return fmt.Errorf("robust: %d, want one for each of %d images", len(b.Robust), n)
	}
	if b.First < 0 || len(b.Index) > 0 && slices.Min(b.Index) < 0 {
		return fmt.Errorf("first index: %d, want ≥ 0", b.First)
	}
	return nil
}

func (a *Attacker) checkTargets(b Batch) error {
	if !a.plan.Targeted {
		return errors.New("targets: given to an untargeted attack, want one with Targeted")
	}
	if err := a.target.CheckLabels(b.Targets, len(b.Y)); err != nil {
		return fmt.Errorf("targets: %w", err)
	}
	for i, t := range b.Targets {
		if t == b.Y[i] {
			return fmt.Errorf("targets: that of image %d is its label %d, want another class", i, t)
		}
	}
	return nil
}

// ImageIndex returns what picks the random numbers of image i.
func (b *Batch) ImageIndex(i int) int {
	if b.Index != nil {
		return b.Index[i]
	}
	return b.First + i
}

func (b *Batch) index(i int) uint64 { return uint64(b.ImageIndex(i)) }

// take returns the next image that no worker has, or −1.
func (a *Attacker) take() int {
	i := a.next.Add(1) - 1
	switch {
	case i >= int64(a.n):
		return -1
	case a.only != nil:
		return a.only[i]
	}
	return int(i)
}

// finish marks image i as done, after a number of steps.
func (a *Attacker) finish(i, steps int) {
	if a.settled != nil {
		a.settled(i, steps)
		return
	}
	a.res.Done[i] = true
	if a.b.Finished != nil {
		a.b.Finished(i, steps)
	}
	if d := a.done.Add(1); a.cfg.Progress != nil {
		a.cfg.Progress(int(d))
	}
}

// record notes what is known of image i, whose best point is in the result.
func (a *Attacker) record(i int, clean, success bool, label int, margin float32) {
	r := a.res
	size := a.target.Input().Size()
	r.Clean[i], r.Success[i], r.Label[i], r.Margin[i] = clean, success, label, margin
	r.Measure(i, a.b.X[i*size:(i+1)*size])
	r.Begun[i] = true
}
