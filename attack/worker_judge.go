package attack

import "github.com/epsball/epsball/net"

// judge evaluates the point in slot i, notes whether it is the best so far,
// decides what the slot does next and seeds its gradient accordingly. It reports
// whether there is one.
func (w *worker) judge(i int) (gradient bool) {
	sl := &w.slots[i]
	w.improved[i] = false
	sl.next = rest
	if sl.image >= 0 {
		w.layout.Gather(w.z, w.logits(), i)
		sl.Predicted, sl.Margin = net.Argmax(w.z), net.MarginOf(w.z, sl.Y)
		sl.Fools = sl.judged && w.fools(sl, sl.Predicted)
		w.improved[i] = sl.judged && w.better(sl)
		if !sl.judged || w.improved[i] {
			sl.best, sl.label = sl.Margin, sl.Predicted
		}
		clear(w.dz)
		sl.next, gradient = w.decide(sl)
	}
	if sl.Moves = sl.next == move; sl.Moves {
		sl.Step++
		sl.steps++
		w.steps++
	}
	if sl.Climbs = gradient; !gradient {
		clear(w.dz)
	}
	if !w.a.plan.NoGradient { // else there may be no room for one
		w.layout.Scatter(w.ws.LogitGradient(), w.dz, i)
	}
	return gradient
}

// better reports whether the point in the slot is the best so far.
func (w *worker) better(sl *Slot) bool {
	nearest := w.a.plan.Goal == SmallestDistance
	inside := true // a rule that cannot leave the ball is checked at the end
	if nearest || w.a.plan.Roams {
		sl.Distance = w.distance(sl)
		if sl.Fools {
			sl.Nearest = min(sl.Nearest, sl.Distance)
		}
		// Of a point that would not be the best, no more is asked.
		inside = (sl.Fools || !nearest) && w.inside(sl, w.points)
	}
	sl.counts = sl.Fools && inside
	if !nearest {
		return inside && (sl.Fools && !w.stubborn() || sl.Margin < sl.best)
	}
	if !sl.counts {
		return false
	}
	rank := sl.Distance
	if w.ranker != nil {
		rank = w.ranker.Rank(sl)
	}
	if rank >= sl.distance {
		return false
	}
	sl.distance = rank
	return true
}

func (w *worker) decide(sl *Slot) (next action, gradient bool) {
	if !sl.judged {
		sl.judged = true
		if w.a.margins != nil {
			w.a.margins[sl.image] = sl.Margin
		}
		if sl.label != sl.Y {
			return leave, false
		}
		sl.clean = true
		if w.a.b.Robust != nil && w.a.b.Robust[sl.image] {
			w.a.res.Proved[sl.image] = true
			return leave, false
		}
		if w.lattice != nil && !w.a.plan.Anywhere && !w.lattice.reaches(w.img, w.a.b.X[sl.image*w.space.Size:(sl.image+1)*w.space.Size]) {
			return leave, false
		}
		w.choose(sl)
		if w.a.plan.RandomStart || w.a.b.Start != nil {
			return start, false
		}
	}
	if sl.counts && w.a.plan.Goal == LowestMargin && !w.stubborn() {
		return leave, false
	}
	switch w.rule.Judge(sl, w.z, w.dz) {
	case Ascend:
		return move, true
	case Move:
		return move, false
	}
	if sl.Run++; sl.Run >= w.runs(sl) {
		return leave, false
	}
	w.choose(sl)
	sl.Step = 0
	w.draw(sl)
	return start, false
}

// stubborn reports whether runs go on from points that fool, to that of the lowest margin.
// Of a target that draws random numbers, other draws may classify such a point correctly.
func (w *worker) stubborn() bool { return w.random != nil && w.a.b.Targets == nil }

// fools reports whether predicting label is what the attack on the image is after.
func (w *worker) fools(sl *Slot, label int) bool {
	if w.a.b.Targets != nil {
		return label == sl.Target
	}
	return label != sl.Y
}

// choose sets the target of the run.
func (w *worker) choose(sl *Slot) {
	if !w.a.plan.Targeted {
		return
	}
	if w.a.b.Targets != nil {
		sl.Target = w.a.b.Targets[sl.image]
		return
	}
	if sl.Run == 0 { // the clean logits order them
		sl.order = wrongClasses(sl.order, w.z, sl.Y)
	}
	sl.Target = sl.order[sl.Run%w.targets(sl)]
}

// targets is the number of classes that the runs of an image climb towards in turn.
func (w *worker) targets(sl *Slot) int {
	if t := w.a.plan.Targets; t > 0 {
		return min(t, len(sl.order))
	}
	return len(sl.order)
}

func (w *worker) runs(sl *Slot) int {
	if w.a.plan.Targets > 0 && w.a.b.Targets == nil {
		return w.a.plan.Restarts * w.targets(sl)
	}
	return w.a.plan.Restarts
}
