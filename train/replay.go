package train

import "github.com/epsball/epsball/net"

// replays returns how many steps in a row are done on a batch.
func (s *stepper) replays() int {
	if s.carries() {
		return s.c.Replays
	}
	return 1
}

// carries reports whether perturbations are kept from step to step.
func (s *stepper) carries() bool {
	a := s.attack()
	return a != nil && a.carried
}

// batch returns the images of a step. An order of the images serves as many epochs as there
// are replays.
func (t *Trainer) batch(step int) []int32 {
	n := step / t.s.replays()
	if pass := n / t.perEpoch; pass != t.pass {
		t.shuffle(pass)
		t.pass = pass
	}
	return t.order[n%t.perEpoch*t.c.BatchSize:][:t.c.BatchSize]
}

// replayed puts right what a replay has not looked at.
func (t *Trainer) replayed(sum *sums) {
	switch {
	case t.s.replays() == 1:
	case t.s.fresh:
		sum.BatchClean = sum.Clean - t.sum.Clean
	default:
		sum.Clean = t.sum.Clean + sum.BatchClean
	}
}

// each calls f for every array of perturbations, in the order of the batch.
func (s *stepper) each(f func([]float32)) {
	for i := range s.parts {
		f(s.parts[i].delta)
	}
}

// startCarried goes on from the perturbation of the step before.
func (s *stepper) startCarried(p *part) {
	for k, d := range p.delta {
		p.adv[k] = min(max(p.x[k]+d, p.lo[k]), p.hi[k])
	}
}

// carry moves the perturbations of p by the gradient at the points, which came with that of
// the weights. They stay in the ball, but may lead out of the pixel range: the next image may
// be another one.
func (s *stepper) carry(p *part) {
	a := s.attack()
	length, radius := a.stride(s.c, s.at), a.reach(s.c, s.at)
	grad := p.points.Gradient(0)[:len(p.delta)]
	for k := range p.lo {
		p.lo[k], p.hi[k] = -float32(radius), float32(radius)
	}
	if s.c.NormTrained() == net.Linf {
		s.net.ISA().PGDStep(p.delta, grad, p.lo, p.hi, float32(length))
		return
	}
	clear(p.adv) // the ball's centre
	s.moveL2(p, p.delta, grad, p.adv, length, radius)
}
