package verify

import (
	"fmt"
	"math"
	"slices"

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
	plain    bool        // as attempt has it
	planes   [][]float32 // of the first layer, for each row: where they come from (9g); replaced as a whole
	found    [][]float32 // those of the bounds that are being computed
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
// LeakyReLU. The bounds follow with the next BoundDomains, best from the returned node on:
// the first whose bounds the phase changes.
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

// Empty reports whether it is proved that no evaluation belongs to the domain: anything
// holds for all of them.
func (d *Domain) Empty() bool { return d.empty }

// Rows returns lower bounds of the property's rows, +Inf of an empty domain; nil before
// BoundDomains. They must not be changed.
func (d *Domain) Rows() []float32 { return d.low }

// Margin returns that of the property (Property.Margin): positive, it is proved for all
// of the domain.
func (d *Domain) Margin() float32 {
	if d.low == nil {
		return float32(math.Inf(-1))
	}
	return d.property.Margin(d.low)
}

// Interval returns the bounds of a node's output, before the ReLU that it ends in: those
// found last, which mean nothing if the domain is empty; none before BoundDomains. It
// allocates its result.
func (d *Domain) Interval(node int) Interval {
	if d.nodes[node].lo == nil {
		return Interval{}
	}
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
