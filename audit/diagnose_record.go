package audit

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// recording is the attack run again on a sample, watched from behind the target.
type recording struct {
	places []int // in the batch
	traces map[uint64]*trace
	res    *attack.Result
	err    error
}

// trace is what was seen of one image.
type trace struct {
	place  int
	x      []float32
	fooled bool // by a point in the ball

	longest     int  // run, in steps
	asked, zero int  // moves by gradient, of which without one to follow
	blind       bool // the first of a run was

	run   int
	step  int
	curve []float32 // largest loss so far, forward pass by forward pass of the last run
}

// record runs the attack again on images that it left and some that it fooled, once.
func (c *Case) record(ctx context.Context) (*recording, error) {
	if c.trace == nil {
		left := c.left()
		places := slices.Concat(left, c.first(c.fooled, max(8, len(left)/2)))
		r := &recording{places: places, traces: map[uint64]*trace{}}
		for _, i := range places {
			r.traces[uint64(c.index(i))] = &trace{place: i, x: c.image(c.Batch.X, i), run: -1}
		}
		if len(places) == 0 {
			r.err = &refused{errors.New("no image was classified correctly")}
		} else {
			t := &watched{Target: c.Target, c: c, traces: r.traces, random: c.randomised()}
			_, r.res, r.err = c.run(ctx, t, c.config(c.Config.Method), places, c.again(places))
		}
		c.trace = r
	}
	return c.trace, c.trace.err
}

// watched is a target that records what an attack does to it.
type watched struct {
	attack.Target
	c      *Case
	traces map[uint64]*trace // by Slot.Image; each is in one worker at a time
	random bool              // the target is
}

func (w *watched) Passes(images int, pool *kernels.Pool) attack.Passes {
	p := &watchedPasses{Passes: w.Target.Passes(images, pool), w: w}
	p.img, p.z = make([]float32, w.Input().Size()), make([]float32, w.Classes())
	return seated(p, p.Passes)
}

// seated returns p, which hides that the passes within draw random numbers, as passes that
// say so where they do.
func seated(p attack.Passes, within ...attack.Passes) attack.Passes {
	var random []attack.Randomised
	for _, w := range within {
		if r, ok := w.(attack.Randomised); ok {
			random = append(random, r)
		}
	}
	if random == nil {
		return p
	}
	return &seatedPasses{p, p.(attack.Observer), random}
}

type seatedPasses struct {
	attack.Passes
	attack.Observer
	random []attack.Randomised
}

func (p *seatedPasses) Seat(slots []attack.Slot) {
	for _, r := range p.random {
		r.Seat(slots)
	}
}

// watchedPasses are told which image is in which slot.
type watchedPasses struct {
	attack.Passes
	w      *watched
	told   bool // since the last forward pass
	slots  []attack.Slot
	blind  []bool // slots without a gradient at this point so far
	asked  bool   // there was a backward pass at this point
	img, z []float32
}

func (p *watchedPasses) Observe(slots []attack.Slot) { p.slots, p.told, p.asked = slots, true, false }

func (p *watchedPasses) Forward(x []float32, blocks int) []float32 {
	z := p.Passes.Forward(x, blocks)
	if !p.told {
		p.slots = nil
	}
	p.told = false
	for k := range p.slots {
		s := &p.slots[k]
		t := p.w.traces[s.Image]
		if t == nil || s.Empty() {
			continue
		}
		t.longest = max(t.longest, s.Step)
		if !p.w.random {
			p.see(t, s, x)
		}
	}
	return z
}

// see looks at the point of one image and its logits.
func (p *watchedPasses) see(t *trace, s *attack.Slot, x []float32) {
	c := p.w.c
	p.Layout().Gather(p.z, p.Logits(), s.Place)
	loss := -net.MarginOf(p.z, s.Y)
	if s.Target != net.Untargeted {
		loss = net.MarginOf(p.z, s.Target)
	}
	if s.Run != t.run || s.Step < t.step { // another run, or stage of a cascade
		t.curve = t.curve[:0]
	}
	t.run, t.step = s.Run, s.Step
	if n := len(t.curve); n > 0 && !(loss > t.curve[n-1]) {
		loss = t.curve[n-1]
	}
	t.curve = append(t.curve, loss)
	if !t.fooled && c.fools(t.place, net.Argmax(p.z)) {
		p.Layout().Unpack(p.img, x, c.Target.Input(), s.Place)
		t.fooled = c.anywhere() || c.Config.Ball.Contains(t.x, p.img)
	}
}

func (p *watchedPasses) Backward(blocks int) []float32 {
	grad := p.Passes.Backward(blocks)
	if p.asked = len(p.blind) == len(p.slots) && p.asked; !p.asked {
		p.blind = append(p.blind[:0], make([]bool, len(p.slots))...)
	}
	for k := range p.slots {
		s := &p.slots[k]
		t := p.w.traces[s.Image]
		if t == nil || s.Empty() || !s.Climbs {
			continue
		}
		zero := p.useless(grad, s.Place)
		switch {
		case !p.asked:
			t.asked++
			if p.blind[k] = zero; zero {
				t.zero++
				t.blind = t.blind || s.Step <= 1
			}
		case p.blind[k] && !zero: // a rule that asks for several gradients at a point
			t.zero--
			p.blind[k] = false
		}
	}
	p.asked = true
	return grad
}

// useless reports whether the gradient of a slot is zero, or not finite.
func (p *watchedPasses) useless(grad []float32, place int) bool {
	size, w := p.w.Input().Size(), int(p.Layout())
	g := p.Layout().Slot(grad, size, place)
	zero := true
	for k := 0; k < size*w; k += w {
		if v := float64(g[k]); math.IsNaN(v) || math.IsInf(v, 0) {
			return true
		}
		zero = zero && g[k] == 0
	}
	return zero
}
