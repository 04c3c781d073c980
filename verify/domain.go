package verify

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Phase is what is known of the sign of what a ReLU or LeakyReLU reads.
type Phase int8

const (
	Undecided Phase = iota
	Active          // ≥ 0
	Inactive        // ≤ 0
)

// Domain is a part of a region: those evaluations of the network, exact or executed, on
// inputs of the region in which chosen neurons have given phases. It holds the bounds of
// all nodes and of a property's rows over that part, and the slopes that gave the latter.
//
// Every evaluation without NaN belongs to one of the two domains that Fix makes of a
// neuron, Active and Inactive, or to both. So what is proved of both is proved of the
// domain that they were made of: branch and bound. Bounds hold for exact and for executed
// values, each in the domain that its own sign puts it into.
//
// A domain is cheap to copy: what a copy does not change is shared. One domain must be
// used by one goroutine at a time; copies may be used by different ones.
type Domain struct {
	net      *net.Network
	region   Region
	property *Property
	nodes    []nodeDomain
	low      []float32 // of the property's rows; nil: not bounded yet
	empty    bool
}

// nodeDomain is what a domain knows of a node's output before its ReLU. Slices that are
// shared are not written to.
type nodeDomain struct {
	lo, hi []float32 // [H][W][C]; nil: not bounded yet
	shared bool      // lo and hi are

	phases       []Phase // [H][W][C]; nil: none is fixed
	sharedPhases bool

	slopes [][]float32 // of lower lines of its output, for each row; replaced as a whole
	found  [][]float32 // those of the bounds that are being computed
}

// Root returns the domain that is all of a region, to be bounded for a property. It keeps
// both, which must not change.
func (v *Verifier) Root(r Region, p *Property) (*Domain, error) {
	if err := r.validate(v.net); err != nil {
		return nil, err
	}
	if p == nil {
		return nil, fmt.Errorf("property: none, want one (LabelProperty makes that of a label)")
	}
	if err := p.Validate(v.outputs); err != nil {
		return nil, err
	}
	return &Domain{net: v.net, region: r, property: p, nodes: make([]nodeDomain, len(v.net.Nodes()))}, nil
}

// Clone returns a copy.
func (d *Domain) Clone() *Domain {
	for i := range d.nodes {
		d.nodes[i].shared, d.nodes[i].sharedPhases = true, true
	}
	c := *d
	c.nodes, c.low = slices.Clone(d.nodes), slices.Clone(d.low)
	return &c
}

// Fix narrows the domain to the evaluations in which a neuron has a phase; neuron is an
// element, channels first, of the output of a node that ends in a ReLU or is a ReLU or
// LeakyReLU. The bounds follow with the next Bound, best from the returned node on: the
// first whose bounds the phase changes.
func (d *Domain) Fix(node, neuron int, p Phase) (from int, err error) {
	if node < 0 || node >= len(d.nodes) {
		return 0, fmt.Errorf("node %d: want 0 … %d", node, len(d.nodes)-1)
	}
	if p != Active && p != Inactive {
		return 0, fmt.Errorf("phase %d: want Active or Inactive", p)
	}
	n := &d.net.Nodes()[node]
	if size := n.Shape.Size(); neuron < 0 || neuron >= size {
		return 0, fmt.Errorf("neuron %d: node %d has 0 … %d", neuron, node, size-1)
	}
	at := node
	if !n.ReLU {
		e, ok := n.Op.(*net.Elementwise)
		if !ok || e.Kind != model.ReLU && e.Kind != model.LeakyReLU {
			return 0, fmt.Errorf("node %d: it has no phases, want one that ends in a ReLU, or is a ReLU or LeakyReLU", node)
		}
		if at = n.In[0] - 1; at < 0 {
			return 0, fmt.Errorf("node %d: it reads the input, whose box is to be divided instead", node)
		}
		if d.net.Nodes()[at].ReLU && p == Active { // what it reads is never negative
			return node, nil
		}
	}
	w := &d.nodes[at]
	switch {
	case w.phases == nil:
		w.phases = make([]Phase, n.Shape.Size())
	case w.sharedPhases:
		w.phases = slices.Clone(w.phases)
	}
	w.sharedPhases = false
	k := atShape(neuron, n.Shape)
	if w.phases[k] != Undecided && w.phases[k] != p {
		p = both
	}
	w.phases[k] = p
	return at, nil
}

// both is the phase of a neuron that is fixed to either: 0.
const both Phase = 3

func atShape(o int, m model.Shape) int { return at(o, extent{m.H, m.W, m.C}) }

// Bound bounds domains of the verifier by o.Method, spread over the workers: the nodes
// from the given one on, and the rows of their properties, which take the place of
// o.Property. Nodes before it keep their bounds, but for what phases say; those without
// bounds get them. With slopes to be optimised, those of the rows start from the domain's.
// Bounds never get worse. When ctx ends it returns the context's error; domains that it did
// not get to, or not to the end of, are as they were.
func (v *Verifier) Bound(ctx context.Context, o Options, from int, domains ...*Domain) error {
	for i, d := range domains {
		if d.net != v.net {
			return fmt.Errorf("domain %d: it is of another network", i)
		}
		o.Property = d.property
	}
	if from < 0 || from >= len(v.net.Nodes()) {
		return fmt.Errorf("node %d: want 0 … %d", from, len(v.net.Nodes())-1)
	}
	if len(domains) == 0 {
		return nil
	}
	c, err := v.begin(ctx, &o)
	if err != nil {
		return err
	}
	defer c.end()
	c.bound, c.from, c.n = domains, from, len(domains)
	c.all()
	return c.run(boundOne)
}

func boundOne(c *call, w *linearWorker, i int) {
	d := c.bound[i]
	if d.empty {
		return
	}
	a := d.region.area()
	t := newAttempt(c.ctx, &c.o, c.o.Method, goal{property: d.property})
	t.domain, t.from = d, c.from
	if d.low == nil {
		t.from = 0
	}
	for k := range d.nodes {
		d.nodes[k].found = nil
	}
	if w.try(&t, &a); !t.gaveUp {
		d.store(w, t.empty)
	}
}

// store takes over what a worker has found.
func (d *Domain) store(w *linearWorker, empty bool) {
	if d.low == nil {
		d.low = slices.Clone(w.proved)
	}
	for k, l := range w.proved {
		d.low[k] = max(d.low[k], l)
	}
	if d.empty = empty; empty { // the worker has stopped somewhere
		return
	}
	for i := range d.nodes {
		n, lo, hi := &d.nodes[i], w.lo[i], w.hi[i]
		if n.found != nil {
			n.slopes, n.found = n.found, nil
		}
		switch {
		case n.lo == nil || n.shared && !(slices.Equal(n.lo, lo) && slices.Equal(n.hi, hi)):
			n.lo, n.hi, n.shared = slices.Clone(lo), slices.Clone(hi), false
		case !n.shared:
			copy(n.lo, lo)
			copy(n.hi, hi)
		}
	}
}

// narrow takes the bounds of node i, just computed, to what they have in common with the
// domain's and with its phases. It reports whether anything may be left: bounds that hold
// for all evaluations of the domain and cross leave none.
func (d *Domain) narrow(w *linearWorker, i int) bool {
	n, lo, hi := &d.nodes[i], w.lo[i], w.hi[i]
	for k, l := range n.lo {
		if l > lo[k] {
			lo[k] = l
		}
		if h := n.hi[k]; h < hi[k] {
			hi[k] = h
		}
	}
	for k, p := range n.phases {
		if p&Active != 0 && lo[k] < 0 {
			lo[k] = 0
		}
		if p&Inactive != 0 && hi[k] > 0 {
			hi[k] = 0
		}
	}
	if w.g.nodes[i].bent { // others are settled later
		copy(w.actLo[i+1], lo)
		copy(w.actHi[i+1], hi)
	}
	return !crossed(lo, hi)
}

// crossed reports whether some lower bound is above the upper one. Infinite ones say that
// something overflowed, and nothing else.
func crossed(lo, hi []float32) bool {
	for k, l := range lo {
		if h := hi[k]; l > h && l <= math.MaxFloat32 && h >= -math.MaxFloat32 {
			return true
		}
	}
	return false
}

// keepSlopes keeps those of the best bounds of some of n rows, from the given one on.
func (d *Domain) keepSlopes(w *linearWorker, from, some, n int) {
	for i := range d.nodes {
		act := i + 1
		if !w.ascent.used[act] || !w.g.nodes[i].sloped() {
			continue
		}
		if from == 0 {
			d.nodes[i].found = make([][]float32, n)
		}
		for j := range some {
			row := make([]float32, w.g.maps[act].size())
			g, l := j/kernels.Lanes, j%kernels.Lanes
			kept := w.group(w.ascent.kept[act], act, g)
			w.each(g, act, func(at, k int) { row[k] = kept[at*kernels.Lanes+l] })
			d.nodes[i].found[from+j] = row
		}
	}
}

// startSlopes sets the slopes of node i for the goal's rows from the given one on to the
// domain's, if it has any: of neurons that are open still.
func (d *Domain) startSlopes(w *linearWorker, i, groups, row int) {
	s := d.nodes[i].slopes
	if s == nil {
		return
	}
	act := i + 1
	for g := range groups {
		alpha := w.group(w.ascent.alpha[act], act, g)
		w.each(g, act, func(at, k int) {
			if w.params[i][k*kernels.RelaxParams+kernels.RelaxIntercept] == 0 {
				return
			}
			for l := range kernels.Lanes {
				alpha[at*kernels.Lanes+l] = s[min(row+g*kernels.Lanes+l, len(s)-1)][k]
			}
		})
	}
}

// Empty reports whether it is proved that no evaluation belongs to the domain: anything
// holds for all of them.
func (d *Domain) Empty() bool { return d.empty }

// Rows returns lower bounds of the property's rows, +Inf of an empty domain; nil before
// Bound. They must not be changed.
func (d *Domain) Rows() []float32 { return d.low }

// Margin returns that of the property (Property.Margin): positive, it is proved for all
// of the domain.
func (d *Domain) Margin() float32 {
	if d.low == nil {
		return float32(math.Inf(-1))
	}
	return d.property.Margin(d.low)
}

// Interval returns the bounds of a node's output, before the ReLU that it ends in, of a
// domain that is bounded and not empty. It allocates its result.
func (d *Domain) Interval(node int) Interval {
	m := d.net.Nodes()[node].Shape
	return channelsFirst(extent{m.H, m.W, m.C}, d.nodes[node].lo, d.nodes[node].hi)
}

// Slopes returns those of the lower lines of a node that ends in a ReLU, or is a ReLU or
// LeakyReLU, for each row of the property, channels first; nil where none were optimised.
// It allocates its result.
func (d *Domain) Slopes(node int) [][]float32 {
	m := d.net.Nodes()[node].Shape
	var out [][]float32
	for _, row := range d.nodes[node].slopes {
		s := make([]float32, len(row))
		for o := range s {
			s[o] = row[atShape(o, m)]
		}
		out = append(out, s)
	}
	return out
}
