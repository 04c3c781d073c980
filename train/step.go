package train

import (
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
	chunk func(worker, task int)
	gradW func(worker, task int)
	gradI func(worker, task int)
	adams func(worker, task int)
	loads func(worker, task int)
	loadI func(worker, task int)

	// The step being done.
	step   int // from 0
	at     point
	rate   adamRate
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
	layers := n.Layers()
	k := layers[len(layers)-1].Shape.In()
	chunks := net.Chunks(groups, pool.Workers())
	for i := range chunks {
		from, to := net.Chunk(groups, chunks, i)
		p := part{from: from, to: to, ws: s.ws.View(from, to)}
		size := (to - from) * kernels.Lanes * n.Input().Size()
		p.x = kernels.Alloc(size)
		p.z, p.dz, p.margin = make([]float32, n.Classes()), make([]float32, n.Classes()), make([]float32, 2*k)
		if c.Method == PGD {
			p.lo, p.hi = kernels.Alloc(size), kernels.Alloc(size)
			ball := net.Ball{Norm: net.Linf, Eps: c.TrainEps}
			alpha := float32(c.PGDStepSize * c.TrainEps.Float64())
			p.ascent = attack.NewAscent(n, p.ws, ball, net.CrossEntropy, alpha)
		}
		s.parts = append(s.parts, p)
	}
	s.chunk = func(_, task int) { s.pass(&s.parts[task]) }
	s.gradW = func(worker, task int) { s.grad.Apply(&s.sc[worker], s.ws, groups, task) }
	s.gradI = func(worker, task int) {
		s.iv.addGradient(&s.sc[worker], s.grad.Params, s.labels, groups, task)
	}
	s.adams = func(_, task int) { s.adam.update(task, s.rate) }
	s.loads = func(_, task int) { s.net.Reload(task) }
	s.loadI = func(_, task int) { s.iv.reload(task) }
	return s
}

// losses computes the losses of step number step (from 0) at the schedules'
// point on a batch of BatchSize images, and their gradients at all layers.
func (s *stepper) losses(step int, at point, images []int32) {
	s.step, s.at, s.images = step, at, images
	s.rate = rate(at.lr, step+1)
	for i, n := range images {
		s.labels[i] = s.data.y[n]
	}
	s.pool.Run(len(s.parts), s.chunk)
}

// update changes the weights by the gradients that losses has left.
func (s *stepper) update() {
	s.pool.Run(s.grad.Tasks(), s.gradW)
	if s.bounds() {
		s.pool.Run(len(s.iv.tasks), s.gradI)
	}
	s.pool.Run(len(s.adam.blocks), s.adams)
	s.reload()
}

// bounds tells whether the step has a loss on interval bounds.
func (s *stepper) bounds() bool { return s.iv != nil && s.at.kappa < 1 }

// reload packs the changed weights for the passes.
func (s *stepper) reload() {
	s.pool.Run(len(s.net.Layers()), s.loads)
	if s.iv != nil {
		s.pool.Run(s.iv.reloadTasks(), s.loadI)
	}
}

// pass computes the losses of a part and their gradients at all layers.
func (s *stepper) pass(p *part) {
	first := p.from * kernels.Lanes
	end := min(p.to*kernels.Lanes, len(s.images))
	images, labels := s.images[first:end], s.labels[first:end]
	groups := p.to - p.from
	s.pack(p, images)
	scale := float32(1 / float64(len(s.images)))
	if s.c.Method == PGD {
		s.perturb(p, first, labels)
	}
	z := p.ws.Forward(p.x, groups)
	right := s.clean
	if s.c.Method == PGD {
		right = s.robust
	}
	dz := p.ws.LogitGradient()
	clear(dz[:groups*kernels.Lanes*len(p.z)]) // lanes without an image stay zero
	for i, y := range labels {
		n := len(p.z)
		net.GatherLane(p.z, net.Group(z, n, i/kernels.Lanes), i%kernels.Lanes)
		loss := net.CrossEntropy.Gradient(p.dz, p.z, y, net.Untargeted)
		s.loss[first+i] = loss * float32(s.at.kappa)
		right[first+i] = net.Argmax(p.z) == y
		a := scale * float32(s.at.kappa)
		for j := range p.dz {
			p.dz[j] *= a
		}
		net.ScatterLane(net.Group(dz, n, i/kernels.Lanes), p.dz, i%kernels.Lanes)
	}
	p.ws.BackwardToWeights(groups)
	if s.bounds() {
		s.passBounds(p, first, images, labels, scale)
	}
}

// perturb replaces p's images by adversarial examples: projected gradient ascent
// from a random start in the ball. It records which clean images are classified
// right.
func (s *stepper) perturb(p *part, first int, labels []int) {
	groups := p.to - p.from
	z := p.ws.Forward(p.x, groups)
	for i, y := range labels {
		net.GatherLane(p.z, net.Group(z, len(p.z), i/kernels.Lanes), i%kernels.Lanes)
		s.clean[first+i] = net.Argmax(p.z) == y
	}
	box(p.lo, p.hi, p.x, s.at.eps)
	size := s.net.Input().Size()
	for i := range labels {
		id := uint64(s.step)*uint64(len(s.images)) + uint64(first+i)
		stream := kernels.NewStream(s.c.Seed, id, streamStart)
		at := (i/kernels.Lanes)*size*kernels.Lanes + i%kernels.Lanes
		for range size {
			p.x[at] = p.lo[at] + float32(stream.Float32()*(p.hi[at]-p.lo[at]))
			at += kernels.Lanes
		}
	}
	for range s.c.PGDSteps {
		p.ascent.Step(p.x, p.lo, p.hi, nil, labels, groups)
	}
}

// passBounds adds the loss on the interval bounds of p's images.
func (s *stepper) passBounds(p *part, first int, images []int32, labels []int, scale float32) {
	size := s.net.Input().Size()
	sc := p.ws.Scratch()
	box(cut(s.iv.c[0], size, p.from, p.to), cut(s.iv.r[0], size, p.from, p.to), p.x, s.at.eps)
	s.iv.forward(sc, s.net, p.from, p.to, labels)
	weight := float32(1 - s.at.kappa)
	a := scale * weight
	n := len(p.z)
	for i, y := range labels {
		v, dv := s.iv.v[(first+i)*n:][:n], s.iv.dv[(first+i)*n:][:n]
		loss := net.CrossEntropy.Gradient(dv, v, y, net.Untargeted)
		s.loss[first+i] += float32(loss * weight)
		certified := true
		for j := range dv {
			dv[j] *= a
			certified = certified && (j == y || v[j] < 0)
		}
		s.robust[first+i] = certified
	}
	s.iv.backward(sc, p.from, p.to, labels, p.margin)
}

// pack copies images into p's lanes; lanes after the last get zeros.
func (s *stepper) pack(p *part, images []int32) {
	in := s.net.Input()
	size, hw := in.Size(), in.H*in.W
	for l := range (p.to - p.from) * kernels.Lanes {
		d := p.x[l/kernels.Lanes*size*kernels.Lanes+l%kernels.Lanes:]
		if l >= len(images) {
			for i := range size {
				d[i*kernels.Lanes] = 0
			}
			continue
		}
		img := s.data.x[int(images[l])*size:][:size]
		for c := range in.C {
			for q, v := range img[c*hw : (c+1)*hw] {
				d[(q*in.C+c)*kernels.Lanes] = v
			}
		}
	}
}

// box writes the bounds of [0, 1] ∩ [x − ε, x + ε], rounded to nearest: training
// has no use for the last bit.
func box(lo, hi, x []float32, eps float64) {
	e := float32(eps)
	lo, hi = lo[:len(x)], hi[:len(x)]
	for i, v := range x {
		lo[i], hi[i] = max(0, v-e), min(1, v+e)
	}
}
