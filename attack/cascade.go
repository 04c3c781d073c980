package attack

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/epsball/epsball/kernels"
)

// cascadeBlock is the number of images that a cascade takes through all its stages
// before it begins the next: what is lost if it is killed.
const cascadeBlock = 1024

// cascade runs stages one after the other, each on the images that withstood those
// before it.
type cascade struct {
	stages []*Attacker
	names  []string
	warm   []bool // stages that begin where those before them got
	cfg    Config

	// The batch at hand.
	b     Batch
	res   *Result
	last  bool // stage
	done  int
	steps []int // of each image
	only  []int
	mu    sync.Mutex
}

// NewCascade returns the run of a method that is a cascade of others, with goal
// LowestMargin. warm, if not nil, names the stages whose first run begins at the best
// point so far.
func NewCascade(t Target, c Config, pool *kernels.Pool, stages []Method, warm []bool) (Run, error) {
	r := &cascade{cfg: c, warm: warm}
	shared := &passPool{}
	for k, m := range stages {
		own := c
		own.Method, own.Progress = m, nil
		a, err := New(t, own, pool)
		if err != nil {
			return nil, err
		}
		a.passes, a.later, a.settled = shared, k > 0, r.settled
		r.stages, r.names = append(r.stages, a), append(r.names, m.String())
	}
	return r, nil
}

// settled notes that a stage is through with an image.
func (c *cascade) settled(i, steps int) {
	c.mu.Lock()
	c.steps[i] += steps
	total, over := c.steps[i], c.last || !c.res.Clean[i] || c.res.Success[i] || c.b.Robust != nil && c.b.Robust[i]
	if over {
		c.done++
	}
	done := c.done
	c.mu.Unlock()
	if !over {
		return
	}
	c.res.Done[i] = true
	if c.b.Finished != nil {
		c.b.Finished(i, total)
	}
	if c.cfg.Progress != nil {
		c.cfg.Progress(done)
	}
}

// Run is Attacker.Run.
func (c *cascade) Run(ctx context.Context, b Batch, res *Result) error {
	n := len(b.Y)
	c.b, c.res, c.done = b, res, 0
	if cap(c.steps) < n {
		c.steps = make([]int, n)
	}
	c.steps = c.steps[:n]
	clear(c.steps)
	for _, name := range c.names {
		res.Stages = append(res.Stages, Stage{Method: name})
	}
	var err error
	for at := 0; at < n && err == nil && ctx.Err() == nil; at += cascadeBlock {
		err = c.block(ctx, at, min(at+cascadeBlock, n))
	}
	for _, s := range res.Stages {
		res.ImageSteps += s.Steps
	}
	c.b, c.res = Batch{}, nil
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	return ctx.Err()
}

// block takes images [from, to) through all stages.
func (c *cascade) block(ctx context.Context, from, to int) error {
	var few bool
	for k, a := range c.stages {
		c.only = c.only[:0]
		for i := from; i < to; i++ {
			if !c.res.Done[i] {
				c.only = append(c.only, i)
			}
		}
		if len(c.only) == 0 || ctx.Err() != nil {
			break
		}
		start := time.Now()
		c.last = k == len(c.stages)-1
		b := c.b
		if c.warm != nil && c.warm[k] {
			b.Start = c.res.Adv
		}
		few = a.sweep(ctx, b, c.only, c.res)
		s := &c.res.Stages[k]
		s.Images += len(c.only)
		for _, i := range c.only {
			if c.res.Success[i] {
				s.Fooled++
			}
		}
		s.Steps += a.steps.Load()
		s.Seconds += time.Since(start).Seconds()
		if err := a.check(few); err != nil {
			return err
		}
		a.ctx, a.b, a.res, a.only = nil, Batch{}, nil, nil
	}
	return nil
}
