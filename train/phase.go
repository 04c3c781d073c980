package train

// phase is what is done to all parts of a batch, on the way to the losses and their
// gradients at all layers.
type phase struct {
	work func(p *part)
	then func() // serial, when all parts are through; nil: a part need not wait for others
}

// round is a run of phases between which no part waits, as tasks for the pool.
type round struct {
	work func(worker, task int)
	then func()
}

// phases lists those of a step, of which first is the first.
func (s *stepper) phases(first func(p *part)) []phase {
	list := []phase{{work: first}}
	if s.batch != nil {
		list = append(list, s.batch.forward()...)
	}
	list = append(list, phase{work: s.take})
	if s.iv != nil {
		list = append(list, s.bounding())
	}
	list = append(list, phase{work: s.judge})
	if s.iv != nil {
		list = append(list, phase{work: s.boundBack})
	}
	if s.batch != nil {
		return append(list, s.batch.back()...)
	}
	return append(list, phase{work: s.back})
}

// inRounds joins phases that need not wait for each other.
func (s *stepper) inRounds(phases []phase) []round {
	var list []round
	var run []func(p *part)
	for i, f := range phases {
		run = append(run, f.work)
		if f.then == nil && i < len(phases)-1 {
			continue
		}
		works := run
		list = append(list, round{func(_, task int) {
			for _, work := range works {
				if s.ctx.Err() != nil {
					return
				}
				work(&s.parts[task])
			}
		}, f.then})
		run = nil
	}
	return list
}

// take takes up the logits of the traces that judge looks at.
func (s *stepper) take(p *part) {
	if p.batch.clean != nil {
		p.cleanLogits = p.clean.Logits()
	}
	switch {
	case p.batch.points != nil:
		p.pointLogits = p.points.Logits()
	case s.o.needs.points != untraced:
		p.pointLogits = p.points.Forward(p.seen, (p.to-p.from)*s.copies)
	}
}

// back carries the gradients of the traces back to the weights.
func (s *stepper) back(p *part) {
	groups, need := p.to-p.from, &s.o.needs
	if need.clean == gradient {
		p.clean.BackwardToWeights(groups)
	}
	switch {
	case need.points != gradient:
	case s.carries():
		p.points.Backward(groups)
	default:
		p.points.BackwardToWeights(groups * s.copies)
	}
}
