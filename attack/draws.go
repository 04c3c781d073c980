package attack

// forward evaluates the points of the slots: the mean of as many draws as the worker
// makes, on the lattice if it has one.
func (w *worker) forward(slots []Slot, blocks int) {
	w.round(slots, blocks)
	if w.random == nil {
		if w.observer != nil {
			w.observer.Observe(slots)
		}
		w.ws.Forward(w.points, blocks)
		return
	}
	for d := range w.draws {
		w.forwardOne(slots, blocks, d)
		if w.draws == 1 {
			return
		}
		z := w.ws.Logits()
		for k := range w.mean {
			if d == 0 {
				w.mean[k] = z[k]
			} else {
				w.mean[k] += z[k]
			}
		}
	}
	share := 1 / float32(w.draws)
	for k := range w.mean {
		w.mean[k] *= share
	}
}

// forwardOne is the forward pass of one draw.
func (w *worker) forwardOne(slots []Slot, blocks, draw int) {
	for i := range slots {
		slots[i].Draw = draw
	}
	if w.observer != nil {
		w.observer.Observe(slots)
	}
	w.random.Seat(slots)
	w.ws.Forward(w.points, blocks)
}

func (w *worker) logits() []float32 {
	if w.draws > 1 {
		return w.mean
	}
	return w.ws.Logits()
}

// round puts the points on the lattice. Images as they are stay.
func (w *worker) round(slots []Slot, blocks int) {
	if w.lattice == nil {
		return
	}
	s := w.space
	for b := range blocks {
		w.lattice.round(s.Block(w.points, b), s.Block(s.X, b), s.Block(s.Lo, b), s.Block(s.Hi, b), s.Block(s.Centre, b))
	}
	for i := range slots {
		if slots[i].image >= 0 && !slots[i].judged {
			to, from := w.layout.Slot(w.points, s.Size, i), w.layout.Slot(s.X, s.Size, i)
			for k := 0; k < s.Size*int(w.layout); k += int(w.layout) {
				to[k] = from[k]
			}
		}
	}
}

// climb returns the gradients to the pixels, once the rule has all it wants.
func (w *worker) climb(slots []Slot, blocks int) []float32 {
	grad := w.backward(slots, blocks)
	for w.multi != nil {
		clear(w.wanted) // the passes may keep grad where their LogitGradient is
		if !w.multi.Next(slots, grad, w.seed) {
			break
		}
		copy(w.ws.LogitGradient(), w.wanted)
		grad = w.backward(slots, blocks)
	}
	return grad
}

// seedSlot is the gradient to the logits of one slot, for Multi.
func (w *worker) seedSlot(s *Slot, dz []float32) {
	w.layout.Scatter(w.wanted, dz, s.Place)
}

// backward carries the gradient to the logits back through the draws of the point.
func (w *worker) backward(slots []Slot, blocks int) []float32 {
	if w.draws == 1 {
		return w.ws.Backward(blocks)
	}
	copy(w.seeds, w.ws.LogitGradient())
	back := func(steps int) { // judge has counted the step already
		for i := range slots {
			if slots[i].Moves {
				slots[i].Step += steps
			}
		}
	}
	back(-1)
	defer back(1)
	n := w.layout.Len(blocks, w.space.Size)
	share := 1 / float32(w.draws)
	for d := range w.draws {
		w.forwardOne(slots, blocks, d)
		copy(w.ws.LogitGradient(), w.seeds)
		for k, v := range w.ws.Backward(blocks)[:n] {
			if d == 0 {
				w.sum[k] = float32(v * share)
			} else {
				w.sum[k] += float32(v * share)
			}
		}
	}
	return w.sum[:n]
}
