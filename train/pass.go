package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// share returns where the images of a part lie in the batch.
func (s *stepper) share(p *part) (first, end int) {
	return p.from * kernels.Lanes, min(p.to*kernels.Lanes, len(s.images))
}

// begin takes a part's images up and finds their adversarial points.
func (s *stepper) begin(p *part) {
	first, end := s.share(p)
	groups, need := p.to-p.from, &s.o.needs
	s.pack(p, first, s.images[first:end])
	p.cleanLogits, p.pointLogits = nil, nil
	if s.fresh && need.clean != untraced && (p.batch.clean == nil || need.attack != nil) {
		p.cleanLogits = p.clean.Forward(p.x, groups)
		if p.copied != nil {
			copy(p.copied, p.cleanLogits)
			p.cleanLogits = p.copied
		}
	}
	if need.attack != nil {
		s.perturb(p, first, s.labels[first:end])
	}
}

// bounding is the phase of bound, and of what the bounds of all parts are wanted for.
func (s *stepper) bounding() phase {
	if s.regular == nil && s.linear == nil {
		return phase{work: s.bound}
	}
	return phase{s.bound, func() {
		if s.regular != nil {
			s.regular.reduce(len(s.images), s.o.regularity(s.c, s.at))
		}
		if s.o.linearAt(s.c, s.at) > 0 {
			s.pool.Run(s.linear.ranges, s.judgeRange)
		}
	}}
}

// bound bounds the margins of a part's images, at steps that do so.
func (s *stepper) bound(p *part) {
	p.clearGradients()
	if !s.o.boxesAt(s.c, s.at) {
		return
	}
	lo, hi := p.boxed.Box()
	s.o.needs.boxes(s.c, lo, hi, p.x, p.adv, s.at)
	first, end := s.share(p)
	regular := s.o.regularity(s.c, s.at) > 0
	p.boxed.forward(s.labels[first:end], regular || s.o.linearAt(s.c, s.at) > 0)
	if regular {
		s.regular.observe(p.boxed, end-first)
	}
}

// boundBack carries the gradients back through the bounds.
func (s *stepper) boundBack(p *part) {
	if !s.o.boxesAt(s.c, s.at) {
		return
	}
	first, end := s.share(p)
	if s.o.regularity(s.c, s.at) > 0 {
		s.regular.gradient(p.boxed, end-first)
		for i := first; i < end; i++ {
			s.loss[i] += s.regular.loss
		}
	}
	p.boxed.backward(s.labels[first:end])
}

// judge takes the loss of each image of p and hands its gradients to the traces and
// the bounds. Where there are linear bounds, judgeRange does so.
func (s *stepper) judge(p *part) {
	if s.o.linearAt(s.c, s.at) > 0 {
		return
	}
	if s.iv == nil {
		p.clearGradients()
	}
	first, end := s.share(p)
	for i := range end - first {
		s.judgeImage(p, &p.e, i)
	}
}

// judgeImage is judge of image i of p, with e as room.
func (s *stepper) judgeImage(p *part, e *example, i int) {
	n := p.from*kernels.Lanes + i // in the batch
	e.at, e.scale, e.y = s.at, float32(1/float64(len(s.images))), s.labels[n]
	e.worst, e.dWorst = nil, nil
	if p.cleanLogits != nil {
		net.LaneGroups.Gather(e.clean, p.cleanLogits, i)
	}
	if p.pointLogits != nil {
		s.gatherCopies(e.points, p.pointLogits, i)
	}
	if s.o.boxesAt(s.c, s.at) {
		classes := s.net.Classes()
		e.worst, e.dWorst = s.iv.v[n*classes:][:classes], s.iv.dv[n*classes:][:classes]
	}
	if p.drawn != nil {
		e.drawn = p.drawn[i*len(p.dz):][:len(p.dz)]
	}
	s.o.loss(s.c, e)
	if e.dClean != nil {
		net.LaneGroups.Scatter(p.clean.LogitGradient(), e.dClean, i)
	}
	if e.dPoints != nil {
		s.scatterCopies(p.points.LogitGradient(), e.dPoints, i)
	}
	if s.ascended() { // that was of other weights than the network's
		return
	}
	s.loss[n], s.clean[n], s.robust[n] = e.loss, e.cleanRight, e.robustRight
	if s.watched {
		s.compare(e, n)
	}
}

// clearGradients sets the gradients to the logits of traces to zero: lanes without an image
// keep that.
func (p *part) clearGradients() {
	if p.e.dClean != nil {
		zeroed(p.clean, p.to-p.from, len(p.e.dClean))
	}
	if p.e.dPoints != nil {
		zeroed(p.points, p.to-p.from, len(p.e.dPoints))
	}
}

// zeroed returns the gradient to the logits of groups groups, set to zero.
func zeroed(ws *net.Workspace, groups, classes int) []float32 {
	d := ws.LogitGradient()
	clear(d[:groups*kernels.Lanes*classes])
	return d
}

// perturb finds the adversarial points of p's images.
func (s *stepper) perturb(p *part, first int, labels []int) {
	attack := s.attack()
	reach := attack.reach(s.c, s.at)
	box(p.lo, p.hi, p.x, reach)
	copy(p.adv, p.x) // lanes without an image stay where they are
	s.start(p, first, len(labels))
	s.see(p)
	if reach == 0 && attack.move == nil {
		return // there is nowhere to go
	}
	for range attack.count(s.c) {
		if s.ctx.Err() != nil {
			return
		}
		s.ascend(p, first, labels)
		s.see(p)
	}
}

// start puts the first points.
func (s *stepper) start(p *part, first, images int) {
	attack, l2, size := s.attack(), s.c.NormTrained() == net.L2, s.net.Input().Size()
	if attack.carried {
		s.startCarried(p)
		return
	}
	for i := range images {
		p.stream = kernels.NewStream(s.c.Seed, s.place(first+i), s.draws)
		at := (i/kernels.Lanes)*size*kernels.Lanes + i%kernels.Lanes
		if l2 && attack.noise != nil {
			s.startInBall(p, at, attack.noise(s.c)*s.at.eps)
			continue
		}
		for range size {
			p.adv[at] = attack.start(s.c, s.at, &p.stream, p.x[at], p.lo[at], p.hi[at])
			at += kernels.Lanes
		}
		if attack.draw != nil {
			attack.draw(p.drawn[i*len(p.dz):][:len(p.dz)], &p.stream)
		}
		s.drawNoise(p, i)
	}
	if l2 {
		s.intoBall(p, p.adv, p.x, attack.ball(s.c, s.at))
	}
}

// ascend does one step of the attack.
func (s *stepper) ascend(p *part, first int, labels []int) {
	attack, groups := s.attack(), p.to-p.from
	z, dz := p.points.Forward(p.seen, groups*s.copies), zeroed(p.points, groups, len(p.dz))
	for i, y := range labels {
		s.gatherCopies(p.z, z, i)
		if p.cleanLogits != nil {
			net.LaneGroups.Gather(p.e.clean, p.cleanLogits, i)
		}
		if attack.draw != nil {
			copy(p.dz, p.drawn[i*len(p.dz):])
		} else {
			attack.ascend(p.dz, p.z, p.e.clean, y)
		}
		if s.watched {
			s.before[first+i] = net.CrossEntropy.Gradient(p.e.spare, p.z, y, net.Untargeted)
		}
		s.scatterCopies(dz, p.dz, i)
	}
	grad := s.sumCopies(p.points.Backward(groups * s.copies)[:len(p.seen)])
	switch length := attack.stride(s.c, s.at); {
	case attack.move != nil:
		attack.move(s, p, grad, groups)
	case s.c.NormTrained() == net.L2:
		s.moveL2(p, p.adv, grad, p.x, length, attack.ball(s.c, s.at))
	default:
		s.net.ISA().PGDStep(p.adv, grad, p.lo, p.hi, float32(length))
	}
}

// attack is the one that finds the points of this step: the objective's, or what has
// taken its place.
func (s *stepper) attack() *inner {
	if s.instead != nil {
		return s.instead
	}
	return s.o.needs.attack
}

// reach is the radius of the box where points must stay: 1 is the pixel range alone.
func (a *inner) reach(c *Config, at point) float64 {
	switch {
	case a.unclipped:
		return 1
	case a.radius != nil:
		return a.radius(c, at)
	}
	return at.eps
}

// ball is the radius of the ball where points must stay, less than 0 if there is none.
func (a *inner) ball(c *Config, at point) float64 {
	if a.unclipped {
		return -1
	}
	return a.reach(c, at)
}

func (a *inner) count(c *Config) int {
	if a.steps != nil {
		return a.steps(c)
	}
	return c.PGDSteps
}

func (a *inner) stride(c *Config, at point) float64 {
	if a.length != nil {
		return a.length(c, at)
	}
	return c.PGDStepSize * c.TrainEps.Float64()
}

// place is that of an image of the batch in all of training, the same in its replays.
func (s *stepper) place(i int) uint64 {
	return uint64(s.step/s.replays())*uint64(len(s.images)) + uint64(i)
}

// pack copies images into p's lanes, augmented; lanes after the last get zeros. The first
// one is number first of the batch.
func (s *stepper) pack(p *part, first int, images []int32) {
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
		if a := s.c.changeOf(s.place(first + l)); a != (change{}) {
			packChanged(d, img, in.C, in.H, in.W, a)
			continue
		}
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
