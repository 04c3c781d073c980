package verify

import (
	"fmt"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Split takes one of the two parts that a domain has by what a node which is not linear
// reads: at an element, channels first, of its output. Every evaluation, exact or executed,
// belongs to one of the parts, or to both, by what it reads there itself.
type Split struct {
	Node, Neuron int
	Phase        Phase // Active: z ≥ At, or z of First ≥ z of Second; Inactive: ≤

	// At is a finite number for a Sigmoid or Tanh, Min or Max for a Clip, and 0 for a ReLU or
	// LeakyReLU: they are split by the sign of z.
	At float32

	// First and Second are elements, channels first, of what a maximum reads, two different
	// ones of the neuron's window; 0 of others.
	First, Second int32
}

// Candidate is a split to make, without its phase; one with a higher Score is likely to raise
// the bound more.
type Candidate struct {
	Split
	Score float32
}

// SplitKind says how neurons of a node can be split.
type SplitKind uint8

const (
	NoSplits    SplitKind = iota
	SignSplits            // of a ReLU or LeakyReLU: once
	PointSplits           // of a Sigmoid or Tanh: at any number, and again
	KinkSplits            // of a Clip: at Min and at Max
	PairSplits            // of a maximum: by which of two elements is larger, and again by others
)

// SplitsOf returns how neurons of a node can be split: not at all if it is linear, or reads the
// input, whose box is to be divided instead.
func SplitsOf(p *net.Node) SplitKind {
	if p.ReLU {
		return SignSplits
	}
	if p.In[0] == 0 {
		return NoSplits
	}
	switch op := p.Op.(type) {
	case *net.Elementwise:
		switch op.Kind {
		case model.ReLU, model.LeakyReLU:
			return SignSplits
		case model.Sigmoid, model.Tanh:
			return PointSplits
		case model.Clip:
			return KinkSplits
		}
	case *net.Pool:
		if !op.Mean {
			return PairSplits
		}
	}
	return NoSplits
}

// Splits is SplitsOf a node of the domain's network; NoSplits of one that it does not have.
func (d *Domain) Splits(node int) SplitKind {
	if nodes := d.net.Nodes(); node >= 0 && node < len(nodes) {
		return SplitsOf(&nodes[node])
	}
	return NoSplits
}

// validate reports whether a network has what is split.
func (s Split) validate(n *net.Network) error {
	nodes := n.Nodes()
	if s.Node < 0 || s.Node >= len(nodes) || s.Neuron < 0 || s.Neuron >= nodes[s.Node].Shape.Size() || s.Phase != Active && s.Phase != Inactive {
		return fmt.Errorf("split %+v: want a neuron of the network, Active or Inactive", s)
	}
	p := &nodes[s.Node]
	kind := SplitsOf(p)
	if kind != PairSplits && (s.First != 0 || s.Second != 0) {
		return fmt.Errorf("split %+v: want First and Second of a maximum alone", s)
	}
	switch kind {
	case SignSplits:
		if s.At != 0 {
			return fmt.Errorf("split %+v: want it at 0", s)
		}
	case PointSplits:
		if s.At-s.At != 0 {
			return fmt.Errorf("split %+v: want it at a finite number", s)
		}
	case KinkSplits:
		if op := p.Op.(*net.Elementwise); s.At != op.Min && s.At != op.Max {
			return fmt.Errorf("split %+v: want it at %v or %v, where the clip bends", s, op.Min, op.Max)
		}
	case PairSplits:
		if !member(p, s.Neuron, int(s.First)) || !member(p, s.Neuron, int(s.Second)) || s.First == s.Second || s.At != 0 {
			return fmt.Errorf("split %+v: want two elements of the window, at 0", s)
		}
	default:
		return fmt.Errorf("split %+v: want a neuron of a ReLU, LeakyReLU, Clip, Sigmoid, Tanh or maximum behind another node", s)
	}
	return nil
}

// Validate reports whether a split is one of the verifier's network.
func (v *Verifier) Validate(s Split) error { return s.validate(v.net) }

// member reports whether element e of what a pool reads is in the window of an output; both are
// channels first.
func member(p *net.Node, output, e int) bool {
	s := p.Op.(*net.Pool).Sliding
	if e < 0 || e >= s.InH*s.InW*s.C || e/(s.InH*s.InW) != output/(p.Shape.H*p.Shape.W) {
		return false
	}
	for _, k := range windowOf(nil, s, atShape(output, p.Shape)) {
		if channelFirst(k, extent{s.InH, s.InW, s.C}) == e {
			return true
		}
	}
	return false
}
