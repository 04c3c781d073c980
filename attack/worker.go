package attack

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// action is what a slot does after the logits of its point are judged.
type action int

const (
	rest  action = iota // empty
	climb               // take a gradient step
	start               // go to the start point of the next restart
	leave               // the image is finished
)

// slot is the place of one image in a worker, and the image in it.
type slot struct {
	image   int  // −1: empty
	judged  bool // the image itself has been evaluated
	restart int
	step    int // gradient steps taken in this restart
	steps   int // in all restarts
	next    action
	y       int
	target  int
	best    float32 // lowest margin so far
	label   int     // predicted at the best point
	clean   bool    // the image itself is classified correctly
	order   []int   // wrong classes, most likely first (targeted without targets)
}

// worker attacks images slot by slot. All its tensors are in the layout of its
// passes.
type worker struct {
	a                     *Attacker
	asc                   *Ascent
	ws                    Passes
	layout                net.Layout
	slots                 []slot
	x, lo, hi, orig, best []float32
	img, lo1, hi1         []float32 // one image, channels first
	improved              []bool    // slots whose best point judge has just found
	steps                 int64
	drained               bool // no image is left to take
}

// newWorker returns a worker with slots slots, whole blocks of ws.
func newWorker(a *Attacker, ws Passes, slots int) *worker {
	size := a.net.Input().Size()
	w := &worker{a: a, ws: ws, layout: ws.Layout(), slots: make([]slot, slots), improved: make([]bool, slots)}
	w.asc = NewAscent(a.net, ws, a.cfg.Ball, a.cfg.Loss, a.cfg.alpha())
	for _, t := range w.tensors() {
		*t = kernels.Alloc(w.layout.Len(w.layout.Blocks(slots), size))
	}
	for _, t := range []*[]float32{&w.img, &w.lo1, &w.hi1} {
		*t = make([]float32, size)
	}
	if a.cfg.Targeted {
		for i := range w.slots {
			w.slots[i].order = make([]int, 0, a.net.Classes())
		}
	}
	return w
}

func (w *worker) tensors() [5]*[]float32 {
	return [...]*[]float32{&w.x, &w.lo, &w.hi, &w.orig, &w.best}
}

// run takes images until none are left or the context ends.
func (w *worker) run() {
	for i := range w.slots {
		w.slots[i].image = -1
	}
	w.drained, w.steps = false, 0
	for w.a.ctx.Err() == nil {
		blocks := w.fill()
		if blocks == 0 {
			break
		}
		w.ws.Forward(w.x, blocks)
		climbing := false
		for i := range blocks * int(w.layout) {
			w.judge(i)
			climbing = climbing || w.slots[i].next == climb
		}
		w.keepBest(blocks)
		if climbing {
			w.asc.climb(w.x, w.lo, w.hi, w.orig, blocks)
		}
		for i := range blocks * int(w.layout) {
			switch w.slots[i].next {
			case start:
				w.begin(i)
			case leave:
				w.leave(i)
			}
		}
	}
	for i := range w.slots {
		if w.slots[i].image >= 0 {
			w.abandon(i)
		}
	}
	w.a.steps.Add(w.steps)
}

// fill puts new images into empty slots; with none left, it moves the
// remaining ones together. It returns the number of blocks to compute.
func (w *worker) fill() int {
	slots := w.slots[:w.a.capacity]
	active := 0
	for s := range slots {
		if slots[s].image < 0 && !w.drained {
			if i := w.a.take(); i >= 0 {
				w.load(s, i)
			} else {
				w.drained = true
			}
		}
		if slots[s].image >= 0 {
			active++
		}
	}
	blocks := w.layout.Blocks(active)
	hole := 0
	for s := blocks * int(w.layout); s < len(slots); s++ {
		if slots[s].image < 0 {
			continue
		}
		for slots[hole].image >= 0 {
			hole++
		}
		w.move(hole, s)
	}
	return blocks
}

// load puts image i, as it is, into slot s.
func (w *worker) load(s, i int) {
	size := w.asc.size
	img := w.a.b.X[i*size : (i+1)*size]
	w.a.box.Inner(w.lo1, w.hi1, img)
	w.put(w.x, s, img)
	w.put(w.best, s, img)
	w.put(w.orig, s, img)
	w.put(w.lo, s, w.lo1)
	w.put(w.hi, s, w.hi1)
	sl := &w.slots[s]
	*sl = slot{image: i, y: w.a.b.Y[i], target: net.Untargeted, order: sl.order[:0]}
}

// put writes a channels-first image into slot s.
func (w *worker) put(t []float32, s int, img []float32) {
	w.layout.Pack(t, img, w.a.net.Input(), s)
}

// move takes the image of slot from to the empty slot to.
func (w *worker) move(to, from int) {
	for _, t := range w.tensors() {
		w.layout.Move(*t, w.asc.size, to, from)
	}
	w.slots[to], w.slots[from] = w.slots[from], w.slots[to]
}

// judge evaluates the point in slot i, notes whether it is the best so far,
// decides what the slot does next and seeds its gradient accordingly.
func (w *worker) judge(i int) {
	sl := &w.slots[i]
	w.improved[i] = false
	sl.next = rest
	if sl.image >= 0 {
		z := w.asc.z
		w.layout.Gather(z, w.ws.Logits(), i)
		label, margin := net.Argmax(z), net.MarginOf(z, sl.y)
		switch {
		case !sl.judged:
			sl.best, sl.label = margin, label
		case w.fools(sl, label) || margin < sl.best:
			sl.best, sl.label = margin, label
			w.improved[i] = true
		}
		sl.next = w.decide(sl, z)
	}
	if sl.next == climb {
		sl.step++
		sl.steps++
		w.steps++
		w.asc.seed(i, sl.y, sl.target)
	} else {
		w.asc.seed(i, -1, 0)
	}
}

func (w *worker) decide(sl *slot, z []float32) action {
	c := &w.a.cfg
	if !sl.judged {
		sl.judged = true
		if sl.label != sl.y {
			return leave
		}
		sl.clean = true
		w.choose(sl, z)
		if c.RandomStart || w.a.b.Start != nil {
			return start
		}
	}
	switch {
	case w.fools(sl, sl.label):
		return leave
	case sl.step < c.Steps:
		return climb
	}
	if sl.restart++; sl.restart >= c.restarts() {
		return leave
	}
	w.choose(sl, z)
	sl.step = 0
	return start
}

// fools tells whether predicting label ends the attack on the image.
func (w *worker) fools(sl *slot, label int) bool {
	if w.a.b.Targets != nil {
		return label == sl.target
	}
	return label != sl.y
}

// choose sets the target of the restart.
func (w *worker) choose(sl *slot, z []float32) {
	if !w.a.cfg.Targeted {
		return
	}
	if w.a.b.Targets != nil {
		sl.target = w.a.b.Targets[sl.image]
		return
	}
	if sl.restart == 0 { // wrong classes, most likely first; the clean logits order them
		for j := range z {
			if j == sl.y {
				continue
			}
			k := len(sl.order)
			sl.order = append(sl.order, j)
			for ; k > 0 && z[sl.order[k-1]] < z[j]; k-- {
				sl.order[k] = sl.order[k-1]
			}
			sl.order[k] = j
		}
	}
	sl.target = sl.order[sl.restart%len(sl.order)]
}

// keepBest copies the points that judge found better.
func (w *worker) keepBest(blocks int) {
	for b := range blocks {
		take := w.improved[b*int(w.layout) : (b+1)*int(w.layout)]
		switch best, x := w.asc.block(w.best, b), w.asc.block(w.x, b); {
		case !slices.Contains(take, true):
		case w.layout == net.LaneGroups:
			w.a.net.ISA().SelectLanes(w.ws.Scratch(), best, x, (*[kernels.Lanes]bool)(take))
		default:
			copy(best, x)
		}
	}
}

// begin puts the start point of the restart into slot i.
func (w *worker) begin(i int) {
	sl := &w.slots[i]
	x := w.img
	orig := w.a.b.X[sl.image*w.asc.size : (sl.image+1)*w.asc.size]
	copy(x, orig)
	switch {
	case w.a.b.Start != nil && sl.restart == 0:
		copy(x, w.a.b.Start[sl.image*w.asc.size:])
	case w.a.cfg.RandomStart:
		s := kernels.NewStream(w.a.cfg.Seed, w.a.b.index(sl.image), uint32(sl.restart))
		randomPoint(x, &s, w.a.cfg.Ball)
	}
	w.put(w.x, i, x)
	block := func(t []float32) []float32 { return w.asc.block(t, i/int(w.layout)) }
	if w.a.cfg.Ball.Norm == net.L2 {
		w.asc.projectL2(block(w.x), block(w.lo), block(w.hi), block(w.orig))
		return
	}
	xs, lo, hi := block(w.x), block(w.lo), block(w.hi)
	for k := i % int(w.layout); k < len(xs); k += int(w.layout) {
		xs[k] = min(max(xs[k], lo[k]), hi[k])
	}
}

// randomPoint moves x to a random point of the ball, up to rounding and the
// pixel box, to which the caller projects. The L2 direction is a vector of
// sums of four uniform numbers, close to normal.
func randomPoint(x []float32, s *kernels.Stream, b net.Ball) {
	eps := b.Eps.Float64()
	if b.Norm == net.Linf {
		e := float32(eps)
		for k := range x {
			x[k] += float32(e * (2*s.Float32() - 1))
		}
		return
	}
	// 1 − u is never zero; u^(1/d) = exp(log(u)/d).
	radius := eps * float64(kernels.Exp(kernels.Log(1-s.Float32())/float32(len(x))))
	norm2 := 0.0
	first := *s
	for range x {
		d := float64(direction(s))
		norm2 += float64(d * d)
	}
	if norm2 == 0 {
		return
	}
	scale := radius / math.Sqrt(norm2)
	*s = first
	for k := range x {
		x[k] += float32(scale * float64(direction(s)))
	}
}

func direction(s *kernels.Stream) float32 {
	return s.Float32() + s.Float32() + s.Float32() + s.Float32() - 2
}

// leave records the image of slot i and empties the slot.
func (w *worker) leave(i int) {
	sl := &w.slots[i]
	w.unpackBest(i)
	w.a.finish(sl.image, sl.steps, sl.clean, sl.clean && w.fools(sl, sl.label), sl.label, sl.best)
	sl.image = -1
}

// abandon records how far the image of slot i has got when the context ends. It
// has been judged, and has not been fooled: else it would have left.
func (w *worker) abandon(i int) {
	sl := &w.slots[i]
	w.unpackBest(i)
	w.a.record(sl.image, sl.clean, false, sl.label, sl.best)
	sl.image = -1
}

// unpackBest writes the best point of slot i to the result.
func (w *worker) unpackBest(i int) {
	size, image := w.asc.size, w.slots[i].image
	w.layout.Unpack(w.a.res.Adv[image*size:(image+1)*size], w.best, w.a.net.Input(), i)
}
