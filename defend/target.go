package defend

import (
	"fmt"
	"slices"
	"strings"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Gradient says how the gradient passes back through a defence.
type Gradient int

const (
	// BPDA passes through a Differentiable defence by its derivative, and through others
	// as if they were not there: backward pass differentiable approximation (Athalye,
	// Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018,
	// section 4.1, with the identity as approximation).
	BPDA Gradient = iota

	// Exact passes by the derivative alone. It stops at defences that round, whose
	// derivative is zero almost everywhere, and an attack then stays where it began.
	Exact
)

var gradientNames = []string{"bpda", "exact"}

func (g Gradient) String() string {
	if g < 0 || int(g) >= len(gradientNames) {
		return fmt.Sprintf("gradient %d", int(g))
	}
	return gradientNames[g]
}

// Gradients lists the names of gradients, for ParseGradient.
func Gradients() []string { return slices.Clone(gradientNames) }

// ParseGradient returns the gradient of that name.
func ParseGradient(name string) (Gradient, error) {
	if g := slices.Index(gradientNames, name); g >= 0 {
		return Gradient(g), nil
	}
	return 0, fmt.Errorf("gradient %q: want one of %s", name, strings.Join(gradientNames, ", "))
}

// Target is a network behind defences: what it says of an image is what the network says
// of the image that the defences make of it. It is immutable and safe for concurrent use.
// If a defence is random, its passes are attack.Randomised.
type Target struct {
	attack.Target // the network

	chain    Chain
	gradient Gradient
}

// New puts defences in front of a network. For an attack that does not know of them
// (transfer), attack the network itself, and have attack.Judge say what a Target makes of
// the result.
func New(network attack.Target, c Chain, g Gradient) (*Target, error) {
	if err := c.Validate(network.Input()); err != nil {
		return nil, err
	}
	if g != BPDA && g != Exact {
		return nil, fmt.Errorf("%v: want one of %s", g, strings.Join(gradientNames, ", "))
	}
	return &Target{network, slices.Clone(c), g}, nil
}

// Chain returns the defences.
func (t *Target) Chain() Chain { return slices.Clone(t.chain) }

// Random reports whether what it says of an image depends on random numbers.
func (t *Target) Random() bool { return t.chain.Random() }

// Passes implements attack.Target.
func (t *Target) Passes(images int, pool *kernels.Pool) attack.Passes {
	p := &passes{Passes: t.Target.Passes(images, pool), in: t.Input()}
	slots := t.ISA().TileGroups() * kernels.Lanes
	workers := 1
	if p.Layout() == net.Singles {
		slots, workers, p.pool = net.MaxSmall, pool.Workers(), pool
	}
	size := p.in.Size()
	tensor := func() []float32 {
		return kernels.Alloc(p.Layout().Len(p.Layout().Blocks(slots), size))
	}
	p.out = tensor()
	for range workers {
		p.hands = append(p.hands, newHand(t.chain, p.in))
	}
	for _, f := range p.hands[0].filters {
		s := stage{in: tensor()}
		switch _, ok := f.(Differentiable); {
		case ok:
			s.back = derivative
			p.busy = true
		case t.gradient == Exact:
			p.stopped = true
		default:
			s.back = identity
		}
		p.stages = append(p.stages, s)
	}
	p.forward, p.backward = p.forwardSlot, p.backwardSlot
	if t.Random() {
		p.streams = make([]kernels.Stream, slots*len(p.stages))
		return &randomPasses{p}
	}
	return p
}

// passes are those of a network with filters before them, slot by slot.
type passes struct {
	attack.Passes
	in     model.Shape
	stages []stage
	out    []float32     // what the network sees
	grad   []float32     // of the network, which goes back through the stages
	hands  []*hand       // one a worker
	pool   *kernels.Pool // nil: the caller alone
	slots  []attack.Slot // of the blocks at hand

	// streams are those of the last Forward, by slot and stage; nil without random
	// numbers. Before Backward, slots may have gone on to the next step.
	streams []kernels.Stream

	busy     bool // a stage has a derivative
	stopped  bool // no gradient gets through
	forward  func(worker, slot int)
	backward func(worker, slot int)
}

// stage is a filter in the chain.
type stage struct {
	in   []float32 // images before it
	back back
}

// back is how the gradient gets through a stage.
type back int

const (
	nothing back = iota
	identity
	derivative
)

// hand is what one worker needs.
type hand struct {
	filters []Filter
	x, y    []float32 // one image before and after a filter
	g       []float32 // a gradient
	r       kernels.Stream
}

func newHand(c Chain, in model.Shape) *hand {
	h := &hand{x: make([]float32, in.Size()), y: make([]float32, in.Size()), g: make([]float32, in.Size())}
	for _, d := range c {
		h.filters = append(h.filters, d.NewFilter(in))
	}
	return h
}

// each calls f for the slots of blocks.
func (p *passes) each(blocks int, f func(worker, slot int)) {
	n := blocks * int(p.Layout())
	if p.pool != nil {
		p.pool.Run(n, f)
		return
	}
	for s := range n {
		f(0, s)
	}
}

// Forward implements attack.Passes.
func (p *passes) Forward(x []float32, blocks int) []float32 {
	copy(p.stages[0].in, x[:p.Layout().Len(blocks, p.in.Size())])
	p.each(blocks, p.forward)
	return p.Passes.Forward(p.out, blocks)
}

func (p *passes) forwardSlot(worker, slot int) {
	h, l := p.hands[worker], p.Layout()
	l.Unpack(h.x, p.stages[0].in, p.in, slot)
	p.open(slot)
	for k, f := range h.filters {
		h.r = p.stream(slot, k)
		f.Forward(h.y, h.x, &h.r)
		to := p.out
		if k+1 < len(p.stages) {
			to = p.stages[k+1].in
		}
		l.Pack(to, h.y, p.in, slot)
		h.x, h.y = h.y, h.x
	}
}

// Backward implements attack.Passes.
func (p *passes) Backward(blocks int) []float32 {
	p.grad = p.Passes.Backward(blocks)
	switch {
	case p.stopped:
		clear(p.grad)
	case p.busy:
		p.each(blocks, p.backward)
	}
	return p.grad
}

func (p *passes) backwardSlot(worker, slot int) {
	h, l := p.hands[worker], p.Layout()
	l.Unpack(h.g, p.grad, p.in, slot)
	for k := len(p.stages) - 1; k >= 0; k-- {
		if p.stages[k].back == identity {
			continue
		}
		h.r = p.stream(slot, k)
		l.Unpack(h.x, p.stages[k].in, p.in, slot)
		h.filters[k].(Differentiable).Backward(h.y, h.g, h.x, &h.r)
		h.g, h.y = h.y, h.g
	}
	l.Pack(p.grad, h.g, p.in, slot)
}

// open opens the random numbers of all stages for the image in the slot.
func (p *passes) open(slot int) {
	if p.streams == nil {
		return
	}
	s := &p.slots[slot]
	for k := range p.stages {
		p.streams[slot*len(p.stages)+k] = kernels.NewStream(s.Seed^point(s), s.Image, firstStream+uint32(k))
	}
}

// stream returns the random numbers of stage k for the image in the slot.
func (p *passes) stream(slot, k int) kernels.Stream {
	if p.streams == nil {
		return kernels.Stream{}
	}
	return p.streams[slot*len(p.stages)+k]
}

// firstStream is the first of the sub-streams of defences. Those of attacks are numbered
// from 0, and have another seed.
const firstStream = 1 << 31

// point is a number of its own for each draw at each step of each run, and for run −1
// (attack.Judge).
func point(s *attack.Slot) uint64 {
	v := uint64(s.Run+1)<<42 | uint64(s.Step)<<21 | uint64(s.Draw)
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9 // the finalizer of SplitMix64, a bijection
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// randomPasses are passes that draw random numbers.
type randomPasses struct{ *passes }

// Seat implements attack.Randomised.
func (p *randomPasses) Seat(slots []attack.Slot) { p.slots = slots }
