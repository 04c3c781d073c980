package attack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/epsball/epsball/kernels"
)

// cascadeBlock is the number of images that a cascade takes through all its stages
// before it begins the next: what is lost if it is killed.
const cascadeBlock = 1024

// CascadeStage is a stage of a cascade: an attack, or proofs.
type CascadeStage struct {
	Method Method // nil: Config.Prove, if there is one
	Warm   bool   // the first run of an image begins at the best point so far

	// Within spares images that look out of reach: only those are attacked whose lowest
	// margin so far is at most this share of the margin of the image as it is; 0: all.
	Within float64

	// Close spares all images but those that Config.Prove nearly proved by intervals
	// alone: networks trained for such bounds often mislead the gradient.
	Close bool
}

// Proof is what a stage of proofs says of an image.
type Proof int8

const (
	Unproved Proof = iota
	NearlyProved
	Proved
)

// cascade runs stages one after the other, each on the images that withstood those
// before it.
type cascade struct {
	stages []stage
	cfg    Config

	// The batch at hand.
	b      Batch
	res    *Result
	last   bool // stage
	done   int
	steps  []int     // of each image
	clean  []float32 // its margin as it is
	only   []int
	proofs []Proof
	close  []bool // images that are nearly proved
	mu     sync.Mutex
}

type stage struct {
	CascadeStage
	name string
	a    *Attacker // nil: proofs
}

// NewCascade returns the run of a method that is a cascade of others, with goal
// LowestMargin. A stage of proofs is left out if c.Prove is nil.
func NewCascade(t Target, c Config, pool *kernels.Pool, stages []CascadeStage) (Run, error) {
	r := &cascade{cfg: c}
	shared := &passPool{}
	for _, s := range stages {
		if s.Method == nil {
			if c.Prove != nil {
				r.stages = append(r.stages, stage{s, StageProofs, nil})
			}
			continue
		}
		own := c
		own.Method, own.Progress, own.Prove = s.Method, nil, nil
		a, err := New(t, own, pool)
		if err != nil {
			return nil, err
		}
		a.passes, a.later, a.settled = shared, len(r.stages) > 0, r.settled
		r.stages = append(r.stages, stage{s, s.Method.String(), a})
	}
	return r, nil
}

// StageProofs is the name of a stage that proves.
const StageProofs = "proofs"

// settled notes that a stage is through with an image.
func (c *cascade) settled(i, steps int) {
	c.mu.Lock()
	c.steps[i] += steps
	total, over := c.steps[i], c.last || !c.res.Clean[i] || c.res.Success[i] || c.res.Proved[i]
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
		c.steps, c.clean, c.close = make([]int, n), make([]float32, n), make([]bool, n)
	}
	c.steps, c.clean, c.close = c.steps[:n], c.clean[:n], c.close[:n]
	clear(c.close)
	clear(c.steps)
	for _, s := range c.stages {
		res.Stages = append(res.Stages, Stage{Method: s.name})
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
	for k, stage := range c.stages {
		c.only = c.only[:0]
		for i := from; i < to; i++ {
			if !c.res.Done[i] && stage.takes(c, i) {
				c.only = append(c.only, i)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if len(c.only) == 0 {
			continue
		}
		start := time.Now()
		c.last = k == len(c.stages)-1
		s := &c.res.Stages[k]
		s.Images += len(c.only)
		var err error
		if stage.a == nil {
			err = c.prove(ctx, s)
		} else {
			err = c.attack(ctx, stage, s)
		}
		s.Seconds += time.Since(start).Seconds()
		if err != nil {
			return err
		}
	}
	if ctx.Err() == nil {
		c.last = true
		for i := from; i < to; i++ { // those that were spared
			if !c.res.Done[i] {
				c.settled(i, 0)
			}
		}
	}
	return nil
}

// takes reports whether the stage is for image i.
func (s *stage) takes(c *cascade, i int) bool {
	return (s.Within == 0 || float64(c.res.Margin[i]) <= float64(s.Within*float64(c.clean[i]))) && (!s.Close || c.close[i])
}

func (c *cascade) attack(ctx context.Context, stage stage, s *Stage) error {
	a, b := stage.a, c.b
	if stage.Warm {
		b.Start = c.res.Adv
	}
	a.margins = c.clean
	few := a.sweep(ctx, b, c.only, c.res)
	for _, i := range c.only {
		if c.res.Success[i] {
			s.Fooled++
		}
	}
	s.Steps += a.steps.Load()
	err := a.check(few)
	a.ctx, a.b, a.res, a.only = nil, Batch{}, nil, nil
	return err
}

// prove asks for proofs of the images that are left.
func (c *cascade) prove(ctx context.Context, s *Stage) error {
	if cap(c.proofs) < len(c.only) {
		c.proofs = make([]Proof, len(c.only))
	}
	c.proofs = c.proofs[:len(c.only)]
	clear(c.proofs)
	err := c.cfg.Prove(ctx, c.cfg.Ball, c.b, c.res, c.only, c.proofs)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("proofs: %w", err)
	}
	for k, i := range c.only {
		c.close[i] = c.proofs[k] == NearlyProved
		if c.proofs[k] == Proved {
			s.Proved++
			c.res.Proved[i] = true
			c.settled(i, 0)
		}
	}
	return nil
}
