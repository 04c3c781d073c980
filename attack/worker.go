package attack

import (
	"math"

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

// slot is one lane of a worker and the image in it.
type slot struct {
	image   int  // −1: empty
	judged  bool // the image itself has been evaluated
	restart int
	step    int // gradient steps taken in this restart
	next    action
	y       int
	target  int
	best    float32 // lowest margin so far
	label   int     // predicted at the best point
	clean   bool    // the image itself is classified correctly
	order   []int   // wrong classes, most likely first (targeted without targets)
}

// worker attacks images lane by lane. All its tensors are in lane layout.
type worker struct {
	a                     *Attacker
	asc                   *Ascent
	ws                    *net.Workspace
	slots                 []slot
	x, lo, hi, orig, best []float32
	img, lo1, hi1         []float32 // one image, channels first
	improved              [][kernels.Lanes]bool
	steps                 int64
	drained               bool // no image is left to take
}

func newWorker(a *Attacker) *worker {
	const slots = net.ChunkGroups * kernels.Lanes
	size := a.net.Input().Size()
	w := &worker{a: a, ws: a.net.NewWorkspace(slots, false), slots: make([]slot, slots)}
	w.asc = NewAscent(a.net, w.ws, a.cfg.Ball, a.cfg.Loss, a.cfg.alpha())
	for _, t := range []*[]float32{&w.x, &w.lo, &w.hi, &w.orig, &w.best} {
		*t = kernels.Alloc(slots * size)
	}
	for _, t := range []*[]float32{&w.img, &w.lo1, &w.hi1} {
		*t = make([]float32, size)
	}
	w.improved = make([][kernels.Lanes]bool, net.ChunkGroups)
	for i := range w.slots {
		w.slots[i].order = make([]int, 0, a.net.Classes())
	}
	return w
}

// run takes images until none are left or the context ends.
func (w *worker) run() {
	for i := range w.slots {
		w.slots[i].image = -1
	}
	w.drained, w.steps = false, 0
	for w.a.ctx.Err() == nil {
		groups := w.fill()
		if groups == 0 {
			break
		}
		logits := w.ws.Forward(w.x, groups)
		climbing := false
		for i := range groups * kernels.Lanes {
			w.judge(i, logits)
			climbing = climbing || w.slots[i].next == climb
		}
		w.keepBest(groups)
		if climbing {
			w.asc.climb(w.x, w.lo, w.hi, w.orig, groups)
		}
		for i := range groups * kernels.Lanes {
			switch w.slots[i].next {
			case start:
				w.begin(i)
			case leave:
				w.leave(i)
			}
		}
	}
	w.a.steps.Add(w.steps)
}

// fill puts new images into empty slots; with none left, it moves the
// remaining ones together. It returns the number of lane groups to compute.
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
	groups := kernels.Groups(active)
	hole := 0
	for s := groups * kernels.Lanes; s < len(slots); s++ {
		if slots[s].image < 0 {
			continue
		}
		for slots[hole].image >= 0 {
			hole++
		}
		w.move(hole, s)
	}
	return groups
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

// put writes a channels-first image into the lane of slot s.
func (w *worker) put(t []float32, s int, img []float32) {
	net.PackLane(net.Group(t, w.asc.size, s/kernels.Lanes), img, w.a.net.Input(), s%kernels.Lanes)
}

// move takes the image of slot from to the empty slot to.
func (w *worker) move(to, from int) {
	for _, t := range [][]float32{w.x, w.lo, w.hi, w.orig, w.best} {
		d := net.Group(t, w.asc.size, to/kernels.Lanes)[to%kernels.Lanes:]
		s := net.Group(t, w.asc.size, from/kernels.Lanes)[from%kernels.Lanes:]
		for k := 0; k < len(s); k += kernels.Lanes {
			d[k] = s[k]
		}
	}
	w.slots[to], w.slots[from] = w.slots[from], w.slots[to]
}

// judge evaluates the point in slot i, notes whether it is the best so far,
// decides what the slot does next and seeds its gradient accordingly.
func (w *worker) judge(i int, logits []float32) {
	g, l := i/kernels.Lanes, i%kernels.Lanes
	sl := &w.slots[i]
	w.improved[g][l] = false
	sl.next = rest
	if sl.image >= 0 {
		z := w.asc.z
		net.GatherLane(z, net.Group(logits, len(z), g), l)
		label, margin := net.Argmax(z), net.MarginOf(z, sl.y)
		switch {
		case !sl.judged:
			sl.best, sl.label = margin, label
		case w.fools(sl, label) || margin < sl.best:
			sl.best, sl.label = margin, label
			w.improved[g][l] = true
		}
		sl.next = w.decide(sl, z)
	}
	if sl.next == climb {
		sl.step++
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
		if c.RandomStart {
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
func (w *worker) keepBest(groups int) {
	for g := range groups {
		if w.improved[g] != [kernels.Lanes]bool{} {
			w.a.net.ISA().SelectLanes(w.ws.Scratch(), net.Group(w.best, w.asc.size, g), net.Group(w.x, w.asc.size, g), &w.improved[g])
		}
	}
}

// begin puts the start point of the restart into slot i.
func (w *worker) begin(i int) {
	sl := &w.slots[i]
	x, g, l := w.img, i/kernels.Lanes, i%kernels.Lanes
	orig := w.a.b.X[sl.image*w.asc.size : (sl.image+1)*w.asc.size]
	copy(x, orig)
	if w.a.cfg.RandomStart {
		s := kernels.NewStream(w.a.cfg.Seed, uint64(w.a.b.First)+uint64(sl.image), uint32(sl.restart))
		randomPoint(x, &s, w.a.cfg.Ball)
	}
	w.put(w.x, i, x)
	group := func(t []float32) []float32 { return net.Group(t, w.asc.size, g) }
	if w.a.cfg.Ball.Norm == net.L2 {
		w.asc.projectL2(group(w.x), group(w.lo), group(w.hi), group(w.orig))
		return
	}
	xs, lo, hi := group(w.x), group(w.lo), group(w.hi)
	for k := l; k < len(xs); k += kernels.Lanes {
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
	size := w.asc.size
	net.UnpackLane(w.a.res.Adv[sl.image*size:(sl.image+1)*size], net.Group(w.best, size, i/kernels.Lanes), w.a.net.Input(), i%kernels.Lanes)
	w.a.finish(sl.image, sl.clean, sl.clean && w.fools(sl, sl.label), sl.label, sl.best)
	sl.image = -1
}
