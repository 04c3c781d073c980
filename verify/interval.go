package verify

import (
	"fmt"
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// interval bounds what an operation computes by bounds of what it reads. There is one
// file for each operation, with the proof of what is particular to it.
type interval interface {
	// form says how forward bounds the node's output.
	form() form

	// forward bounds the output of node n, before its ReLU, for the blocks of p.
	forward(p *pass, n *net.Node, c, r []float32)

	// backward hands the gradients to the centre and radius that forward gave, without
	// rounding, on to those of the activations that node i reads.
	backward(v *IntervalView, i int, dc, dr []float32)

	// room returns how many tensors of how many elements an image forward and backward
	// use in passing.
	room() (tensors, size int)

	// bytes returns the memory that is held besides the network's own weights.
	bytes() int
}

// form is what two tensors say of the values of an activation.
type form int

const (
	centred form = iota // C and R of step 2 or 6: rounding is still to be covered
	ends                // a lower and an upper end
	ready               // centre and r′ as readers take them
)

// program is a network as interval bounds see it. It is read-only.
type program struct {
	net     *net.Network
	scaling normalizer
	steps   []step     // of each node, but for a last one that others merge with the margins
	feeds   []rounding // of each activation: the largest of the nodes that add it up

	// plain leaves rounding out: bounds to be trained on, which prove nothing.
	plain bool
}

// step is a node with its interval.
type step struct {
	node     *net.Node
	rounding rounding // zero for operations that round nothing, and in a plain program
	interval
}

// newProgram prepares the given nodes, the first ones of n.
func newProgram(n *net.Network, nodes []net.Node, plain bool) (*program, error) {
	p := &program{net: n, scaling: newNormalizer(n), feeds: make([]rounding, len(n.Nodes())+1), plain: plain}
	terms := sumTerms(n.Nodes())
	for i := range nodes {
		s := step{node: &nodes[i]}
		var err error
		if k, adds := fanInOf(s.node.Op); adds && !plain {
			s.rounding, err = newRounding(k, terms[i], extra(s.node, extraLayer))
		}
		if err == nil {
			s.interval, err = p.newInterval(s.node, s.rounding)
		}
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", s.node.Name, err)
		}
		p.steps = append(p.steps, s)
	}
	return p, nil
}

func (p *program) newInterval(n *net.Node, b rounding) (interval, error) {
	switch op := n.Op.(type) {
	case *net.Affine:
		return p.newAffine(op, b), nil
	case *net.Depthwise:
		return p.newDepthwise(n, op, b), nil
	case *net.Grouped:
		return p.newGrouped(n, op, b), nil
	case *net.Pool:
		if op.Mean {
			return &meanInterval{op}, nil
		}
		return &maxInterval{op}, nil
	case *net.Elementwise:
		return &elementwiseInterval{op}, nil
	case *net.Sum:
		return sumInterval{}, nil
	case *net.Concat:
		return concatInterval{}, nil
	}
	return nil, fmt.Errorf("intervals cannot do with this layer")
}

// feed makes the r′ of all activations large enough for those that read them, last a
// merged layer that reads src with the bound b.
func (p *program) feed(src int, b rounding) {
	p.larger(src, b)
	for i := len(p.steps) - 1; i >= 0; i-- {
		s := &p.steps[i]
		b := s.rounding
		if s.form() == ready {
			b = p.feeds[i+1]
		}
		for _, k := range s.node.In {
			p.larger(k, b)
		}
	}
}

func (p *program) larger(k int, b rounding) {
	if b.delta > p.feeds[k].delta {
		p.feeds[k] = b
	}
}

// extra is the number of roundings that a node's δ covers beyond its fan-in.
func extra(n *net.Node, other int) int {
	switch n.Op.(type) {
	case *net.Affine, *net.Depthwise, *net.Grouped:
		if n.In[0] == 0 {
			return extraFirst
		}
	}
	return other
}

// size returns the elements of activation k of one image.
func (p *program) size(k int) int {
	if k == 0 {
		return p.net.Input().Size()
	}
	return p.net.Nodes()[k-1].Shape.Size()
}

// noRounding makes the kernels' interval passes plain: nothing is widened.
var noRounding = kernels.IntervalConstants{MulR: 1}

// constants are those of the pass that turns bounds of activation k into what its readers
// take.
func (p *program) constants(k int, relu bool) kernels.IntervalConstants {
	if !p.plain {
		return p.feeds[k].interval(relu)
	}
	c := noRounding
	c.ReLU = relu
	return c
}

// adding are the constants of an add.
func (p *program) adding() kernels.IntervalConstants {
	if p.plain {
		return noRounding
	}
	return sumConstants
}

// pass carries intervals of some images through a program. Tensors are in its layout.
type pass struct {
	*program
	layout net.Layout
	pool   *kernels.Pool // of single images; nil on lanes
	sc     []kernels.Scratch
	blocks int         // of the images that it carries
	c, r   [][]float32 // of each activation
	spare  [][]float32
	norm   net.Norm   // of the ball
	dual   *dualInput // of L1 and L2 balls; nil until the first
	eps    [kernels.MostTileGroups * kernels.Lanes]float64

	product product // being computed
	part    func(worker, part int)
}

// init makes room for slots images.
func (p *pass) init(slots int) {
	p.part = p.applyPart
	tensors, most := 0, 0
	for i := range p.steps {
		n, size := p.steps[i].room()
		tensors, most = max(tensors, n), max(most, size)
	}
	for range tensors {
		p.spare = append(p.spare, kernels.Alloc(p.layout.Len(p.layout.Blocks(slots), most)))
	}
}

// length returns the length of a tensor with size elements an image.
func (p *pass) length(size int) int { return p.layout.Len(p.blocks, size) }

// used is length without what fills the last lane vector.
func (p *pass) used(size int) int { return p.blocks * size * int(p.layout) }

// temp returns tensor i in passing.
func (p *pass) temp(i, size int) []float32 { return p.spare[i][:p.length(size)] }

// run bounds the outputs of all nodes by the bounds of the input; trace, if not nil, sees
// what each forward gives.
func (p *pass) run(trace func(node int, c, r []float32)) {
	isa, sc := p.net.ISA(), &p.sc[0]
	last := len(p.net.Nodes()) - 1
	for i := range p.steps {
		s := &p.steps[i]
		n := p.length(s.node.Shape.Size())
		c, r := p.c[i+1][:n], p.r[i+1][:n]
		s.forward(p, s.node, c, r)
		if trace != nil {
			trace(i, c, r)
		}
		switch form := s.form(); {
		case form == ends:
			isa.IntervalBox(sc, c, r, p.constants(i+1, false))
		case form == centred && (s.node.ReLU || i < last && !p.plain):
			isa.IntervalAffine(sc, c, r, p.constants(i+1, s.node.ReLU))
		}
	}
}

// ends writes the ends of activation k (7a).
func (p *pass) ends(lo, hi []float32, k int) {
	c, r := p.c[k][:len(lo)], p.r[k][:len(lo)]
	hi = hi[:len(lo)]
	if p.plain {
		for i, m := range c {
			lo[i], hi[i] = m-r[i], m+r[i]
		}
		return
	}
	for i, m := range c {
		l, h := endsOf(m, r[i])
		wide := h - l
		wide -= wide // NaN for what is not finite
		lo[i], hi[i] = l+wide, h+wide
	}
}

// endsOf returns the ends of what lies within r of c (3).
func endsOf(c, r float32) (lo, hi float32) {
	lo, hi = c-r, c+r
	lo -= float32(float32(math.Abs(float64(lo)))*relStep) + float32(tiny)
	hi += float32(float32(math.Abs(float64(hi)))*relStep) + float32(tiny)
	return lo, hi
}
