package train

import (
	"context"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// stepper computes one update of the weights from one batch, spread over a pool.
// Its buffers are made once: a step allocates nothing.
type stepper struct {
	c     *Config
	net   *net.Network
	data  *data
	pool  *kernels.Pool
	sc    []kernels.Scratch // one a worker
	iv    *intervals        // ibp alone
	grad  *net.WeightGradient
	adam  *adam
	ws    *net.Workspace // of the whole batch
	parts []part

	// The phases of a step, each a set of independent tasks for the pool.
	pass, gradWeights, gradBounds, optimise, reloadNet, reloadBounds func(worker, task int)

	// The step being done.
	ctx    context.Context
	step   int // from 0
	at     point
	rate   kernels.AdamConstants
	images []int32 // of the batch, indices into the data
	labels []int

	// Its results, one an image.
	loss          []float32
	clean, robust []bool
}

// data is the training set, with pixels channels first.
type data struct {
	x []float32
	y []int
}

// part is a share of a batch: some lane groups and what one goroutine needs for
// them.
type part struct {
	from, to      int // lane groups
	ws            *net.Workspace
	x, lo, hi     []float32 // pixels in the batch-lane layout; box (pgd)
	ascent        *attack.Ascent
	z, dz, margin []float32 // scratch: classes, classes, two inputs of the last layer
}

func newStepper(c *Config, n *net.Network, d *data, pool *kernels.Pool) *stepper {
	groups := kernels.Groups(c.BatchSize)
	s := &stepper{c: c, net: n, data: d, pool: pool, sc: make([]kernels.Scratch, pool.Workers())}
	s.grad = n.NewWeightGradient()
	s.adam = newAdam(n.Model().Params, s.grad.Params)
	s.ws = n.NewWorkspace(c.BatchSize, true)
	s.labels = make([]int, c.BatchSize)
	s.loss = make([]float32, c.BatchSize)
	s.clean, s.robust = make([]bool, c.BatchSize), make([]bool, c.BatchSize)
	if c.Method == IBP {
		s.iv = newIntervals(n, groups)
	}
	chunks := net.Chunks(groups, pool.Workers())
	for i := range chunks {
		from, to := net.Chunk(groups, chunks, i)
		p := part{from: from, to: to, ws: s.ws.View(from, to)}
		size := (to - from) * kernels.Lanes * n.Input().Size()
		p.x = kernels.Alloc(size)
		p.z, p.dz = make([]float32, n.Classes()), make([]float32, n.Classes())
		if s.iv != nil {
			p.margin = make([]float32, 2*s.iv.last.k)
		}
		if c.Method == PGD {
			p.lo, p.hi = kernels.Alloc(size), kernels.Alloc(size)
			ball := net.Ball{Norm: net.Linf, Eps: c.TrainEps}
			alpha := float32(c.PGDStepSize * c.TrainEps.Float64())
			p.ascent = attack.NewAscent(n, p.ws, ball, net.CrossEntropy, alpha)
		}
		s.parts = append(s.parts, p)
	}
	s.pass = func(_, task int) { s.passPart(&s.parts[task]) }
	s.gradWeights = func(worker, task int) {
		if s.ctx.Err() == nil {
			s.grad.Apply(&s.sc[worker], s.ws, groups, task)
		}
	}
	s.gradBounds = func(worker, task int) {
		if s.ctx.Err() == nil {
			s.iv.addGradient(&s.sc[worker], s.grad.Params, s.labels, groups, task)
		}
	}
	s.optimise = func(worker, task int) { s.adam.update(n.ISA(), &s.sc[worker], task, s.rate) }
	s.reloadNet = func(_, task int) { s.net.Reload(task) }
	s.reloadBounds = func(_, task int) { s.iv.reload(task) }
	return s
}

// losses computes the losses of step number step (from 0) at the schedules'
// point on a batch of BatchSize images, and their gradients at all layers. When
// ctx ends it returns early with the context's error and no results.
func (s *stepper) losses(ctx context.Context, step int, at point, images []int32) error {
	s.ctx, s.step, s.at, s.images = ctx, step, at, images
	s.rate = rate(at.lr, step+1)
	for i, n := range images {
		s.labels[i] = s.data.y[n]
	}
	s.pool.Run(len(s.parts), s.pass)
	return ctx.Err()
}

// update changes the weights by the gradients that losses has left: entirely, or
// not at all if ctx ends.
func (s *stepper) update(ctx context.Context) error {
	s.pool.Run(s.grad.Tasks(), s.gradWeights)
	if s.bounds() {
		s.pool.Run(len(s.iv.tasks), s.gradBounds)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.pool.Run(len(s.adam.blocks), s.optimise)
	s.reload()
	return nil
}

// bounds tells whether the step has a loss on interval bounds.
func (s *stepper) bounds() bool { return s.iv != nil && s.at.kappa < 1 }

// reload packs the changed weights for the passes.
func (s *stepper) reload() {
	s.pool.Run(s.net.ReloadTasks(), s.reloadNet)
	if s.iv != nil {
		s.pool.Run(s.iv.reloadTasks(), s.reloadBounds)
	}
}
