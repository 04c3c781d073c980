package train

import (
	"math"

	"github.com/epsball/epsball/model"
)

// ascent is adversarial weight perturbation (Wu, Xia & Wang 2020): before an update the
// weights w of each convolution and fully connected layer move by γ·‖w‖/‖g‖·g, g being the
// gradient of the losses to them. The gradient of the update is taken there, on the same
// points, and applied to the weights as they were (algorithm 1 with K₁ = K₂ = 1). Biases
// and batch norms stay.
type ascent struct {
	runs   []weightRun
	layers [][]weightRun // those of one layer each
	rounds []round       // of the losses once more
	moved  bool          // weights are where the ascent has taken them

	measure, climb, restore func(worker, task int)
}

// weightRun is a run of a layer's weights, one task of the pool.
type weightRun struct {
	w, g, old          []float32
	wSquares, gSquares float64 // their sums
	rate               float64
}

// newAscent returns nil if the method or its settings have no use for it.
func (s *stepper) newAscent() *ascent {
	if !s.o.uses(&awp) || s.c.AWP == 0 {
		return nil
	}
	a := &ascent{}
	m := s.net.Model()
	var ends []int
	for i, l := range m.Arch.Layers {
		if l.Kind != model.Conv && l.Kind != model.FC {
			continue
		}
		w, g := m.Params[i].W, s.grad.Params[i].W
		for len(w) > 0 {
			n := min(blockSize, len(w))
			a.runs = append(a.runs, weightRun{w: w[:n], g: g[:n], old: make([]float32, n)})
			w, g = w[n:], g[n:]
		}
		ends = append(ends, len(a.runs))
	}
	from := 0
	for _, end := range ends {
		a.layers = append(a.layers, a.runs[from:end])
		from = end
	}
	a.rounds = s.inRounds(s.phases(s.beginAgain))
	a.measure = func(_, task int) {
		r := &a.runs[task]
		r.wSquares, r.gSquares = squares(r.w), squares(r.g)
	}
	a.climb = func(_, task int) {
		r := &a.runs[task]
		copy(r.old, r.w)
		for i, g := range r.g {
			r.w[i] = float32(float64(r.w[i]) + float64(r.rate*float64(g)))
		}
	}
	a.restore = func(_, task int) { copy(a.runs[task].w, a.runs[task].old) }
	return a
}

// ascendWeights replaces the gradients that losses has left at all layers by those at the
// perturbed weights, and restores the weights. The passes keep the perturbed ones until
// the next reload.
func (s *stepper) ascendWeights() {
	a := s.ascent
	s.pool.Run(s.grad.Tasks(), s.gradWeights)
	if s.ctx.Err() != nil {
		return
	}
	s.pool.Run(len(a.runs), a.measure)
	for _, runs := range a.layers {
		var w, g float64
		for i := range runs {
			w += runs[i].wSquares
			g += runs[i].gSquares
		}
		rate := 0.0
		if g > 0 {
			rate = s.at.awp * math.Sqrt(w/g)
		}
		for i := range runs {
			runs[i].rate = rate
		}
	}
	s.pool.Run(len(a.runs), a.climb)
	s.reload()
	a.moved = true
	s.run(a.rounds)
	a.moved = false
	s.pool.Run(len(a.runs), a.restore)
}

// ascended reports whether the losses being taken are those of perturbed weights.
func (s *stepper) ascended() bool { return s.ascent != nil && s.ascent.moved }

// beginAgain is begin at other weights, for the same images and points. Clean logits that
// have no gradient stay those of before.
func (s *stepper) beginAgain(p *part) {
	if s.o.needs.clean == gradient && p.batch.clean == nil {
		p.cleanLogits = p.clean.Forward(p.x, p.to-p.from)
	}
}

// squares is the sum of v_i²; the products are exact.
func squares(v []float32) (sum float64) {
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return sum
}
