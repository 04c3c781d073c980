package attack

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// universal is the run of Universal.
type universal struct {
	u         Universal
	t         Target
	c         Config
	pool      *kernels.Pool
	size      int
	eps       float64 // rounded down
	task, add func(worker, task int)

	many, single []*crew // for many images, one a worker; for a few

	delta, best []float32 // perturbations, channels first
	sum         []float64 // of the gradients

	// The batch at hand.
	ctx    context.Context
	b      Batch
	crews  []*crew
	few    bool
	slots  int       // images of a crew
	use    []int     // images to fool
	order  []int     // the same, shuffled
	pick   []int     // images to evaluate
	climb  bool      // and their gradients
	grads  []float32 // of pick, channels first
	label  []int     // of each image of the batch, when last evaluated
	margin []float32
}

// crew evaluates images on passes of its own.
type crew struct {
	ws      Passes
	x       []float32
	img     []float32 // of one image, channels first
	z, dz   []float32
	clipped []bool // pixels of all slots, channels first
}

// Run is Attacker.Run.
func (r *universal) Run(ctx context.Context, b Batch, res *Result) error {
	if b.Start != nil || b.Index != nil {
		return errors.New("universal: one perturbation is found for all images at once: a run cannot go on where it stopped, nor has each image a radius of its own")
	}
	r.ctx, r.b = ctx, b
	defer func() { r.ctx, r.b = nil, Batch{} }()
	n := len(b.Y)
	if err := r.prepare(n); err != nil {
		return err
	}
	clear(r.delta)
	r.use = r.use[:0]
	for i := range n {
		r.use = append(r.use, i)
	}
	if !r.evaluate(r.use, false) {
		return ctx.Err()
	}
	r.use = r.use[:0]
	for i, y := range b.Y {
		res.Clean[i], res.Begun[i] = r.label[i] == y, true
		res.Label[i], res.Margin[i] = r.label[i], r.margin[i]
		if res.Clean[i] && (b.Robust == nil || !b.Robust[i]) {
			r.use = append(r.use, i)
		}
	}
	steps := r.search(res)
	res.ImageSteps = int64(steps) * int64(len(r.use))
	res.Universal = append(res.Universal[:0], r.best...)
	copy(r.delta, r.best)
	for _, i := range r.use {
		x := r.image(b.X, i)
		r.point(r.image(res.Adv, i), nil, x)
		res.Success[i] = res.Label[i] != b.Y[i]
		res.Measure(i, x)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := r.recheck(res); err != nil {
		return err
	}
	used := r.use
	for i := range b.Y {
		res.Done[i] = true
		taken := 0
		if len(used) > 0 && used[0] == i {
			taken, used = steps, used[1:]
		}
		if b.Finished != nil {
			b.Finished(i, taken)
		}
		if r.c.Progress != nil {
			r.c.Progress(i + 1)
		}
	}
	return ctx.Err()
}

// prepare makes room for n images.
func (r *universal) prepare(n int) error {
	list, workers := &r.many, r.pool.Workers()
	r.slots = r.t.ISA().TileGroups() * kernels.Lanes
	if r.few = r.t.Few(n); r.few {
		list, workers, r.slots = &r.single, 1, net.MaxSmall
	}
	for len(*list) < workers {
		ws := r.t.Passes(n, r.pool)
		if _, ok := ws.(Randomised); ok {
			return errors.New("universal: the target draws random numbers, want one that does not")
		}
		l := ws.Layout()
		*list = append(*list, &crew{
			ws: ws, x: kernels.Alloc(l.Len(l.Blocks(r.slots), r.size)), img: make([]float32, r.size),
			z: make([]float32, r.t.Classes()), dz: make([]float32, r.t.Classes()), clipped: make([]bool, r.slots*r.size),
		})
	}
	r.crews = *list
	if len(r.label) < n {
		r.label, r.margin = make([]int, n), make([]float32, n)
	}
	return nil
}

func (r *universal) image(t []float32, i int) []float32 { return t[i*r.size : (i+1)*r.size] }

// search leaves the best perturbation in best, and what it does to each image in res. It
// returns the number of gradients that an image has had.
func (r *universal) search(res *Result) (steps int) {
	clear(r.best)
	r.order = append(r.order[:0], r.use...)
	order, most := r.order, 0
	batches := (len(order) + r.u.Batch - 1) / r.u.Batch
	if need := min(r.u.Batch, len(order)) * r.size; len(r.grads) < need {
		r.grads = make([]float32, need)
	}
	for epoch := range r.u.Epochs {
		s := kernels.NewStream(r.u.Seed, 0, uint32(epoch))
		for k := range order {
			j := k + s.Intn(len(order)-k)
			order[k], order[j] = order[j], order[k]
		}
		for k := range batches {
			if !r.evaluate(order[k*r.u.Batch:min((k+1)*r.u.Batch, len(order))], true) {
				return steps
			}
			r.pool.Run(r.parts(), r.add)
			left := 1 - float64(epoch*batches+k)/float64(r.u.Epochs*batches)
			r.step(float64(r.u.StepSize * left))
		}
		steps++
		if !r.evaluate(r.use, false) {
			return steps
		}
		fooled := 0
		for _, i := range r.use {
			if r.label[i] != r.b.Y[i] {
				fooled++
			}
		}
		if fooled <= most {
			continue
		}
		most = fooled
		copy(r.best, r.delta)
		for _, i := range r.use {
			res.Label[i], res.Margin[i] = r.label[i], r.margin[i]
		}
		if fooled == len(r.use) {
			break
		}
	}
	return steps
}

// evaluate finds label and margin of the images of pick, with the perturbation added,
// and their gradients if wanted. It reports whether it got to the end.
func (r *universal) evaluate(pick []int, climb bool) bool {
	r.pick, r.climb = pick, climb
	tasks := (len(pick) + r.slots - 1) / r.slots
	if r.few { // its passes use all workers
		for task := range tasks {
			r.crews[0].run(r, task)
		}
	} else {
		r.pool.Run(tasks, r.task)
	}
	return r.ctx.Err() == nil
}

// point writes x with the perturbation added to adv: in the ball, because it rounds
// towards x. It notes where the pixel box cuts that off.
func (r *universal) point(adv []float32, clipped []bool, x []float32) {
	for k, d := range r.delta {
		v := towards(x[k], float64(d))
		adv[k] = min(max(v, 0), 1)
		if clipped != nil {
			clipped[k] = adv[k] != v
		}
	}
}

// run evaluates the images of one task.
func (c *crew) run(r *universal, task int) {
	if r.ctx.Err() != nil {
		return
	}
	l, in := c.ws.Layout(), r.t.Input()
	from := task * r.slots
	images := r.pick[from:min(from+r.slots, len(r.pick))]
	for s, i := range images {
		r.point(c.img, r.spot(c.clipped, s), r.image(r.b.X, i))
		l.Pack(c.x, c.img, in, s)
	}
	blocks := l.Blocks(len(images))
	c.ws.Forward(c.x, blocks)
	for s := range blocks * int(l) {
		clear(c.dz)
		if s < len(images) {
			i := images[s]
			l.Gather(c.z, c.ws.Logits(), s)
			r.label[i], r.margin[i] = net.Argmax(c.z), net.MarginOf(c.z, r.b.Y[i])
			if r.climb && !(r.u.Loss.Gradient(c.dz, c.z, r.b.Y[i], net.Untargeted) < float32(r.u.Height)) {
				clear(c.dz)
			}
		}
		if r.climb {
			l.Scatter(c.ws.LogitGradient(), c.dz, s)
		}
	}
	if !r.climb {
		return
	}
	grad := c.ws.Backward(blocks)
	for s := range images {
		g := r.image(r.grads, from+s)
		l.Unpack(g, grad, in, s)
		for k, cut := range r.spot(c.clipped, s) {
			if cut {
				g[k] = 0
			}
		}
	}
}

func (r *universal) spot(t []bool, s int) []bool { return t[s*r.size : (s+1)*r.size] }

// parts is the number of tasks that add up the gradients, each some of the pixels.
func (r *universal) parts() int { return min(r.pool.Workers(), r.size) }

// addUp adds up the gradients of one part of the pixels, image by image, whoever has
// computed them.
func (r *universal) addUp(part int) {
	lo, hi := part*r.size/r.parts(), (part+1)*r.size/r.parts()
	sum := r.sum[lo:hi]
	clear(sum)
	for i := range r.pick {
		for k, v := range r.image(r.grads, i)[lo:hi] {
			if v-v == 0 { // finite
				sum[k] += float64(v)
			}
		}
	}
}

// step moves the perturbation by alpha along the sum of the gradients, in the ball.
func (r *universal) step(alpha float64) {
	if r.c.Ball.Norm == net.Linf {
		e := towards(0, r.eps)
		for k, v := range r.sum {
			d := float32(min(alpha, 2))
			if v < 0 {
				d = -d
			} else if v == 0 {
				d = 0
			}
			r.delta[k] = min(max(r.delta[k]+d, -e), e)
		}
		return
	}
	length := 0.0
	for _, v := range r.sum {
		length += float64(v * v)
	}
	if length = math.Sqrt(length); !(length > 0) || math.IsInf(length, 0) {
		return
	}
	scale, norm := min(alpha, 1e15)/length, 0.0
	for k, v := range r.sum {
		r.delta[k] += float32(scale * v)
		norm += float64(float64(r.delta[k]) * float64(r.delta[k]))
	}
	limit := r.eps * (1 - max(1e-9, float64(r.size+8)*0x1p-53)) // as projectL2
	if norm = math.Sqrt(norm); norm > limit {
		for k, v := range r.delta {
			r.delta[k] = towards(0, float64(float64(v)*(limit/norm)))
		}
	}
}

// recheck is that of Config.Recheck.
func (r *universal) recheck(res *Result) error {
	if !r.c.Recheck || !r.evaluate(r.use, false) {
		return nil
	}
	for _, i := range r.use {
		if !r.c.Ball.Contains(r.image(r.b.X, i), r.image(res.Adv, i)) {
			return fmt.Errorf("recheck: the point found for image %d lies outside the ball %v", i, r.c.Ball)
		}
		if r.label[i] != res.Label[i] || math.Float32bits(r.margin[i]) != math.Float32bits(res.Margin[i]) {
			return fmt.Errorf("recheck: the point found for image %d has label %d and margin %v, the attack saw %d and %v",
				i, r.label[i], r.margin[i], res.Label[i], res.Margin[i])
		}
	}
	return nil
}
