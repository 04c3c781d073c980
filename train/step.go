package train

import (
	"context"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// stepper computes one update of the weights from one batch, spread over a pool.
// It offers an objective what it needs. Its buffers are made once: a step
// allocates nothing.
type stepper struct {
	c      *Config
	o      *objective
	net    *net.Network
	data   *data
	pool   *kernels.Pool
	sc     []kernels.Scratch // one a worker
	iv     *intervals        // nil without boxes
	grad   *net.WeightGradient
	opt    *optimiser
	parts  []part
	copies int         // of each point, see inner
	batch  *batchNorms // nil without

	regular *regulariser  // of interval bounds, nil without
	linear  *linearBounds // nil without

	// ws holds the traces one after the other, a whole batch each, those with
	// gradient first: one sum over the lane groups of all of them gives the
	// gradient of the weights, in an order that threads do not change.
	ws     *net.Workspace
	traced int // lane groups of ws with gradient

	rounds     []round                // of the losses
	judgeRange func(worker, task int) // of steps with linear bounds
	ascent     *ascent                // of the weights; nil without

	instead *inner // the attack that has taken the place of the objective's; nil: none
	draws   uint32 // sub-stream of the attack's starts

	// What follows them, each a set of independent tasks for the pool.
	gradWeights, gradNone, gradBounds, gradLinear, measure, optimise, carryOn, reloadNet, reloadBounds func(worker, task int)

	// The step being done.
	ctx    context.Context
	step   int  // from 0
	fresh  bool // the batch is not a replay
	at     point
	images []int32 // of the batch, indices into the data
	labels []int

	// Its results, one an image.
	loss          []float32
	clean, robust []bool // clean is void in a replay

	// Of an attack of one step that is watched (overfitting.go).
	watched  bool
	before   []float32 // the loss where the step starts
	abnormal []bool
}

// data is the training set, with pixels channels first.
type data struct {
	x []float32
	y []int
}

// part is a share of a batch: some lane groups and what one goroutine needs for
// them. All pixels and logits lie in the batch-lane layout.
type part struct {
	from, to      int            // lane groups
	clean, points *net.Workspace // nil if not needed; the same one if clean images need no gradient
	x             []float32      // pixels
	adv, lo, hi   []float32      // points and their box, with an attack
	seen          []float32      // the points as the network sees them: adv, or copies of it with noise
	noise         []float32      // of the copies; nil without
	delta         []float32      // perturbations that are kept for the next step
	drawn         []float32      // by the attack, [image][class]; nil if it does not
	cleanLogits   []float32      // of the images; a copy, if points go through the same workspace
	copied        []float32      // room for it
	pointLogits   []float32      // nil if they are untraced

	batch batchPart // with batch norms

	e      example   // the rest is scratch
	z, dz  []float32 // of the attack
	stream kernels.Stream
	boxed  *boxed // nil without boxes
}

func newStepper(c *Config, n *net.Network, d *data, pool *kernels.Pool) *stepper {
	groups := kernels.Groups(c.BatchSize)
	s := &stepper{c: c, o: objectiveOf(c.Method), net: n, data: d, pool: pool, draws: streamStart, sc: make([]kernels.Scratch, pool.Workers())}
	s.grad = n.NewWeightGradient()
	s.opt = newOptimiser(c, n.Model(), s.grad.Params)
	s.copies = s.o.needs.attack.copiesOf(c)
	s.labels = make([]int, c.BatchSize)
	s.loss = make([]float32, c.BatchSize)
	s.clean, s.robust = make([]bool, c.BatchSize), make([]bool, c.BatchSize)
	s.before, s.abnormal = make([]float32, c.BatchSize), make([]bool, c.BatchSize)
	if s.o.needs.boxes != nil {
		s.iv = newIntervals(n, groups)
	}
	if s.o.uses(&tightness) && c.Tightness > 0 {
		s.regular = newRegulariser(s.iv, groups)
	}
	if s.o.needs.linear != nil {
		s.linear = newLinearBounds(n, s.iv, groups, pool.Workers())
		for _, w := range s.linear.workers {
			w.e = s.o.needs.example(n.Classes(), s.copies)
		}
	}
	s.makeParts(groups)
	if s.linear != nil {
		s.linear.useParts(s.parts)
	}
	s.batch = s.newBatchNorms()
	s.watched = s.watches()
	s.rounds = s.inRounds(s.phases(s.begin))
	s.ascent = s.newAscent()
	s.gradWeights = func(worker, task int) {
		if s.ctx.Err() == nil {
			s.grad.Apply(&s.sc[worker], s.ws, s.traced, task)
		}
	}
	s.gradNone = func(_, task int) { clear(s.opt.blocks[task].g) }
	s.gradBounds = func(worker, task int) {
		if s.ctx.Err() == nil {
			s.iv.addGradient(&s.sc[worker], s.grad.Params, s.labels, groups, task)
		}
	}
	s.judgeRange = func(worker, task int) { s.linear.judgeRange(s, worker, task, s.o.linearAt(s.c, s.at)) }
	s.gradLinear = func(_, task int) {
		if s.ctx.Err() == nil {
			s.linear.addGradient(s.grad.Params, task)
		}
	}
	s.measure = func(_, task int) { s.opt.measure(task) }
	s.optimise = func(worker, task int) { s.opt.update(n.ISA(), &s.sc[worker], task) }
	s.carryOn = func(_, task int) { s.carry(&s.parts[task]) }
	s.reloadNet = func(_, task int) { s.net.Reload(task) }
	s.reloadBounds = func(_, task int) { s.iv.Reload(task) }
	return s
}

// makeParts cuts a batch of lane groups into parts and gives them their views of
// the traces. Points and clean images share one, unless clean images, which
// passes of the attack would overwrite, need a gradient.
func (s *stepper) makeParts(groups int) {
	need := &s.o.needs
	room, pointsAt := groups, 0 // lane groups of ws
	if need.clean == gradient {
		s.traced += groups
		pointsAt = groups
	}
	if need.points == gradient {
		s.traced += groups * s.copies
	}
	if need.attack != nil {
		room = pointsAt + groups*s.copies
	}
	s.ws = s.net.NewWorkspace(room*kernels.Lanes, true)
	classes := s.net.Classes()
	chunks := net.Chunks(s.net.ISA(), groups, s.pool.Workers())
	for i := range chunks {
		from, to := net.Chunk(groups, chunks, i)
		size := (to - from) * kernels.Lanes * s.net.Input().Size()
		p := part{from: from, to: to, x: kernels.Alloc(size)}
		p.e = need.example(classes, s.copies)
		if need.attack != nil {
			p.points = s.ws.View(pointsAt+from*s.copies, pointsAt+to*s.copies)
		}
		switch {
		case need.clean == logits && need.attack != nil:
			p.clean = p.points
		case need.clean != untraced:
			p.clean = s.ws.View(from, to)
		}
		if need.attack != nil {
			p.adv, p.lo, p.hi = kernels.Alloc(size), kernels.Alloc(size), kernels.Alloc(size)
			p.z, p.dz = make([]float32, classes*s.copies), make([]float32, classes*s.copies)
			s.makeCopies(&p)
			if need.attack.carried {
				p.delta = kernels.Alloc(size)
			}
			if need.attack.draw != nil {
				p.drawn = make([]float32, (to-from)*kernels.Lanes*classes)
			}
			if need.clean == logits {
				p.copied = make([]float32, (to-from)*kernels.Lanes*classes)
			}
		}
		if s.iv != nil {
			p.boxed = s.iv.view(from, to)
		}
		s.parts = append(s.parts, p)
	}
}

// losses computes the losses of step number step (from 0) at the schedules'
// point on a batch of BatchSize images, and their gradients at all layers. When
// ctx ends it returns early with the context's error and no results.
func (s *stepper) losses(ctx context.Context, step int, at point, images []int32) error {
	s.ctx, s.step, s.at, s.images = ctx, step, at, images
	s.fresh = step%s.replays() == 0
	for i, n := range images {
		s.labels[i] = s.data.y[n]
	}
	s.run(s.rounds)
	return ctx.Err()
}

func (s *stepper) run(rounds []round) {
	for _, r := range rounds {
		s.pool.Run(len(s.parts), r.work)
		if r.then != nil && s.ctx.Err() == nil {
			r.then()
		}
	}
}

// update changes the weights by the gradients that losses has left: entirely, or
// not at all if ctx ends.
func (s *stepper) update(ctx context.Context) error {
	ascends := s.ascent != nil && s.at.awp > 0
	if ascends {
		s.ascendWeights()
	}
	if s.traced > 0 {
		s.pool.Run(s.grad.Tasks(), s.gradWeights)
	} else {
		s.pool.Run(len(s.opt.blocks), s.gradNone)
	}
	if s.o.boxesAt(s.c, s.at) {
		s.pool.Run(s.iv.tasks(), s.gradBounds)
	}
	if s.o.linearAt(s.c, s.at) > 0 {
		s.pool.Run(s.linear.tasks(), s.gradLinear)
	}
	if err := ctx.Err(); err != nil {
		if ascends {
			s.reload() // of the weights from before
		}
		return err
	}
	s.opt.prepare(s.at.lr, s.step+1)
	if s.opt.measures() {
		s.pool.Run(len(s.opt.blocks), s.measure)
		s.opt.limit()
	}
	s.pool.Run(len(s.opt.blocks), s.optimise)
	if s.carries() {
		s.pool.Run(len(s.parts), s.carryOn)
	}
	if s.batch != nil {
		s.batch.traces[0].UpdateRunning()
	}
	s.reload()
	return nil
}

// reload packs the changed weights for the passes.
func (s *stepper) reload() {
	s.pool.Run(s.net.ReloadTasks(), s.reloadNet)
	if s.iv != nil {
		s.pool.Run(s.iv.ReloadTasks(), s.reloadBounds)
	}
}
