package verify

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/net"
)

// call is what belongs to one call of a Verifier: what is asked, of what, and where the
// answers go. It is handed to the workers, and used again by the next call.
type call struct {
	v   *Verifier
	ctx context.Context
	o   Options

	// What to verify: n regions, or balls around images.
	n       int
	x       []float32
	y       []int // nil with a property
	ball    area  // around each image, but for its centre
	ballOf  func(image int) (net.Ball, bool)
	regions []Region

	// Where answers go.
	res     *Result
	radii   *RadiusResult
	grid    radiusGrid
	proofs  []*Proof
	from    int // of domains
	domains []*Domain
	boxes   bool // as attempt has it

	eights []int // images that certifyLanes has, eight a task
	tried  bool  // by it, all of the list

	leaves      []*Leaf
	leafOptions LeafOptions
	parts       []int // the first leaf of each, and the end of the last
	// What the pool runs.
	chunk           func(c *call, w *intervalWorker, from, to int)
	chunks          int
	task            func(c *call, w *linearWorker, i int)
	todo            []int
	onChunk, onTask func(worker, task int)
}

// begin returns the call to be filled in, with valid options. end gives it back.
func (v *Verifier) begin(ctx context.Context, o *Options) (*call, error) {
	if err := o.Validate(v.outputs); err != nil {
		return nil, err
	}
	c := v.spare
	if c == nil {
		c = &call{v: v}
		c.onChunk, c.onTask = c.runChunk, c.runTask
	}
	v.spare = nil
	c.ctx, c.o = ctx, *o
	return c, nil
}

// beginImages is begin for the images of b.
func (v *Verifier) beginImages(ctx context.Context, o *Options, b Batch) (*call, error) {
	c, err := v.begin(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := c.images(b); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

func (c *call) end() {
	*c = call{v: c.v, todo: c.todo[:0], parts: c.parts[:0], eights: c.eights[:0], onChunk: c.onChunk, onTask: c.onTask}
	c.v.spare = c
}

// images asks for images and, without a property, their labels.
func (c *call) images(b Batch) error {
	n := c.v.net
	c.x, c.n = b.X, len(b.Y)
	if c.o.Property != nil {
		c.n = len(b.X) / max(1, n.Input().Size())
		return n.CheckImages(b.X, c.n)
	}
	c.y = b.Y
	if err := n.CheckImages(b.X, c.n); err != nil {
		return err
	}
	return n.CheckLabels(b.Y, c.n)
}

// areas asks for regions and, without a property, their labels.
func (c *call) areas(regions []Region, y []int) error {
	c.regions, c.n = regions, len(regions)
	for i := range regions {
		if err := regions[i].validate(c.v.net); err != nil {
			if c.n > 1 {
				err = fmt.Errorf("region %d: %w", i, err)
			}
			return err
		}
	}
	if c.o.Property != nil {
		return nil
	}
	c.y = y
	return c.v.net.CheckLabels(y, c.n)
}

func (c *call) centre(i int) []float32 {
	size := c.v.net.Input().Size()
	return c.x[i*size : (i+1)*size]
}

// area returns what is verified as number i.
func (c *call) area(i int) area {
	if c.regions != nil {
		return c.regions[i].area()
	}
	a := c.ball
	if c.ballOf != nil {
		ball, _ := c.ballOf(i)
		a = area{norm: ball.Norm, box: ball.Box()}
	}
	a.centre = c.centre(i)
	return a
}

// norm returns that of region i.
func (c *call) norm(i int) net.Norm {
	if c.regions != nil {
		return c.regions[i].norm()
	}
	return c.ball.norm
}

// goal returns what is to be proved of region i.
func (c *call) goal(i int) goal {
	if c.o.Property != nil {
		return goal{property: c.o.Property}
	}
	return goal{y: c.y[i]}
}

// all puts everything on the list.
func (c *call) all() {
	for i := range c.n {
		c.todo = append(c.todo, i)
	}
}

// runTogether is run for tasks that divide their own work, if they are so few that otherwise
// half of the workers or more would have none. (What audit.Guard calls does without: programs
// for devices have no room for it.)
func (c *call) runTogether(task func(c *call, w *linearWorker, i int)) error {
	workers := c.v.pool.Workers()
	if n := len(c.todo); n == 0 || 2*n > workers {
		return c.run(task)
	}
	if err := c.v.linear(); err != nil {
		return err
	}
	c.task = task
	if c.v.together == nil {
		c.v.together = newTeam(c.v.pool, c.v.workers)
	}
	c.v.together.begin()
	defer c.v.together.end()
	for i := range c.todo {
		c.runTask(0, i)
	}
	return c.ctx.Err()
}

// run does a task for all on the list, spread over the workers.
func (c *call) run(task func(c *call, w *linearWorker, i int)) error {
	if len(c.todo) > 0 {
		if err := c.v.linear(); err != nil {
			return err
		}
		c.task = task
		c.v.pool.Run(len(c.todo), c.onTask)
	}
	return c.ctx.Err()
}

// runTask is a task of run.
func (c *call) runTask(worker, task int) {
	if c.ctx.Err() == nil {
		c.task(c, c.v.workers[worker], c.todo[task])
	}
}

// first is the method that the ladder begins with; that of labels by intervals has been
// tried, as has what certifyLanes did.
func (c *call) first() Method {
	switch {
	case !c.o.Ladder:
		return c.o.Method
	case c.tried:
		return MethodCROWN
	case c.o.Property != nil:
		return MethodIBP
	}
	return min(c.o.Method, MethodCROWNIBP)
}

// certifyOne certifies region i by linear bounds, whose margin by intervals is known.
func certifyOne(c *call, w *linearWorker, i int) {
	margin, a := c.res.Margin[i], c.area(i)
	for m := c.first(); ; m++ {
		t := newAttempt(c.ctx, &c.o, m, c.goal(i))
		margin = max(margin, w.try(&t, &a))
		switch {
		case t.gaveUp:
			return
		case margin > 0 || m == c.o.Method:
			c.res.set(i, margin, m)
			return
		case c.ctx.Err() != nil:
			return
		}
	}
}

// certifyRung certifies region i by one method.
func certifyRung(c *call, w *linearWorker, i int) {
	a, t := c.area(i), newAttempt(c.ctx, &c.o, c.o.Method, c.goal(i))
	if margin := w.try(&t, &a); !t.gaveUp {
		c.res.set(i, margin, c.o.Method)
	}
}
