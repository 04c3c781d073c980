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
	move                // as the rule says
	start               // go to the start point of the next run
	leave               // the image is finished
)

// worker attacks images slot by slot. All its tensors are in the layout of its
// passes.
type worker struct {
	a             *Attacker
	ws            Passes
	random        Randomised // ws, if it draws random numbers
	observer      Observer   // ws, if it is one
	draws         int        // a point gets; 1 if it draws none
	mean          []float32  // of the draws: logits; nil if there is one
	space         *Space
	rule          Rule
	multi         Multi                       // rule, if it is one
	ranker        Ranker                      // rule, if it is one
	seed          func(s *Slot, dz []float32) // seedSlot
	lattice       *lattice                    // nil: the points as the rule moved them
	points        []float32
	layout        net.Layout
	slots         []Slot
	best          []float32
	img, lo1, hi1 []float32 // one image, channels first
	z, dz         []float32 // logits of one image, their gradient
	wanted        []float32 // gradient to the logits that a Multi asks for next
	seeds, sum    []float32 // gradient to the logits, sum of those to the pixels, with several draws
	improved      []bool    // slots whose best point judge has just found
	steps         int64
	drained       bool // no image is left to take
}

// newWorker returns a worker with slots slots, whole blocks of ws.
func newWorker(a *Attacker, ws Passes, slots int) *worker {
	w := &worker{a: a, ws: ws, draws: 1, space: newSpace(a.target, ws, a.cfg.Ball), layout: ws.Layout(), slots: make([]Slot, slots), improved: make([]bool, slots)}
	w.space.fill(slots)
	w.best = w.space.Tensor()
	for _, t := range []*[]float32{&w.img, &w.lo1, &w.hi1} {
		*t = make([]float32, w.space.Size)
	}
	w.z, w.dz = make([]float32, w.space.Classes), make([]float32, w.space.Classes)
	for i := range w.slots {
		w.slots[i].Seat, w.slots[i].Place, w.slots[i].Seed = i, i, a.plan.Seed
		if a.plan.Targeted {
			w.slots[i].order = make([]int, 0, w.space.Classes)
		}
	}
	w.observer, _ = ws.(Observer)
	if w.random, _ = ws.(Randomised); w.random != nil {
		w.draws = max(1, a.cfg.EOT, a.plan.EOT)
	}
	if w.draws > 1 {
		w.mean, w.sum = make([]float32, len(ws.Logits())), make([]float32, len(w.space.X))
		if !a.plan.NoGradient {
			w.seeds = make([]float32, len(ws.LogitGradient()))
		}
	}
	w.points = w.space.X
	if a.cfg.Lattice > 0 {
		w.lattice = newLattice(a.cfg.Lattice, w.space)
		w.points = w.space.Tensor()
	}
	w.rule = a.cfg.Method.NewRule(w.space)
	if w.multi, _ = w.rule.(Multi); w.multi != nil {
		w.wanted = make([]float32, len(ws.LogitGradient()))
	}
	w.ranker, _ = w.rule.(Ranker)
	w.seed = w.seedSlot
	return w
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
		slots := w.slots[:blocks*int(w.layout)]
		w.forward(slots, blocks)
		climbing, moving := false, false
		for i := range slots {
			climbing = w.judge(i) || climbing
			moving = moving || slots[i].Moves
		}
		w.keepBest(blocks)
		if moving {
			var grad []float32
			if climbing {
				grad = w.climb(slots, blocks)
			}
			w.rule.Move(slots, grad)
		}
		for i := range slots {
			switch slots[i].next {
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
	size := w.space.Size
	img := w.a.b.X[i*size : (i+1)*size]
	w.a.box.Inner(w.lo1, w.hi1, img)
	w.put(w.space.X, s, img)
	w.put(w.best, s, img)
	w.put(w.space.Centre, s, img)
	w.put(w.space.Lo, s, w.lo1)
	w.put(w.space.Hi, s, w.hi1)
	sl := &w.slots[s]
	*sl = Slot{
		Place: s, Seat: sl.Seat, Seed: sl.Seed, Image: w.a.b.index(i), Y: w.a.b.Y[i], Target: net.Untargeted,
		image: i, distance: math.Inf(1), Nearest: math.Inf(1), order: sl.order[:0],
	}
	w.draw(sl)
}

// draw opens the random numbers of the slot's run.
func (w *worker) draw(sl *Slot) { sl.Stream = kernels.NewStream(sl.Seed, sl.Image, uint32(sl.Run)) }

// put writes a channels-first image into slot s.
func (w *worker) put(t []float32, s int, img []float32) {
	w.layout.Pack(t, img, w.a.target.Input(), s)
}

// move takes the image of slot from to the empty slot to.
func (w *worker) move(to, from int) {
	w.space.move(to, from)
	w.slots[to], w.slots[from] = w.slots[from], w.slots[to]
	w.slots[to].Place, w.slots[from].Place = to, from
}

// keepBest copies the points that judge found better.
func (w *worker) keepBest(blocks int) {
	for b := range blocks {
		take := w.improved[b*int(w.layout) : (b+1)*int(w.layout)]
		switch best, x := w.space.Block(w.best, b), w.space.Block(w.points, b); {
		case !slices.Contains(take, true):
		case w.layout == net.LaneGroups:
			w.space.ISA.SelectLanes(w.ws.Scratch(), best, x, (*[kernels.Lanes]bool)(take))
		default:
			copy(best, x)
		}
	}
}

// begin puts the start point of the run into slot i.
func (w *worker) begin(i int) {
	sl, size := &w.slots[i], w.space.Size
	x := w.img
	copy(x, w.a.b.X[sl.image*size:])
	switch {
	case w.a.b.Start != nil && sl.Run == 0:
		copy(x, w.a.b.Start[sl.image*size:])
	case w.a.plan.RandomStart:
		w.rule.Start(sl, x)
	}
	if w.a.plan.roams() {
		for k, v := range x {
			x[k] = min(max(v, 0), 1)
		}
		w.put(w.space.X, i, x)
		return
	}
	w.put(w.space.X, i, x)
	block := func(t []float32) []float32 { return w.space.Block(t, i/int(w.layout)) }
	w.space.Project(block(w.space.X), block(w.space.Lo), block(w.space.Hi), block(w.space.Centre))
}

// leave records the image of slot i and empties the slot.
func (w *worker) leave(i int) {
	image, steps := w.slots[i].image, w.slots[i].steps
	w.abandon(i)
	w.a.finish(image, steps)
}

// abandon records how far the image of slot i, which has been judged, has got, and
// empties the slot.
func (w *worker) abandon(i int) {
	sl := &w.slots[i]
	size := w.space.Size
	success := sl.clean && w.fools(sl, sl.label)
	if !w.inside(sl, w.best) {
		w.a.astray.Store(int64(sl.image) + 1)
	}
	if !w.a.later || success || sl.best < w.a.res.Margin[sl.image] {
		w.layout.Unpack(w.a.res.Adv[sl.image*size:(sl.image+1)*size], w.best, w.a.target.Input(), i)
		w.a.record(sl.image, sl.clean, success, sl.label, sl.best)
	}
	sl.image = -1
}
