package check

import (
	"fmt"
	"slices"

	"github.com/epsball/epsball/model"
)

// node is the input (node 0) or the output of layer i (node i+1). Activations
// lie channels last: the taps of a kernel row are then one run in memory.
type node struct {
	op
	kind  model.Kind // empty for the input
	in    []int      // nodes it reads
	shape model.Shape

	fanIn int  // products of a sum
	part  bool // of the sum of an add, which alone reads it
	terms int  // of its sum (rounding.go)

	bends  []int // nodes that read it and are not linear
	behind bool  // a bend, or is one
}

// network is a model as nodes in the order of its layers.
type network struct {
	nodes []node
	chain int64 // N of rounding.go
}

// channelsFirst turns an index of a tensor that lies channels last into that of
// the same element channels first.
func channelsFirst(i int, s model.Shape) int { return i%s.C*(s.H*s.W) + i/s.C }

// newNetwork lays out a valid model. A layer it does not know is an error.
func newNetwork(m *model.Model) (*network, error) {
	shapes, err := m.Arch.Shapes()
	if err != nil {
		return nil, err
	}
	n := &network{nodes: []node{{op: input{}, shape: m.Arch.Input}}, chain: 64 + int64(m.Arch.Input.Size())}
	for i := range m.Arch.Layers {
		l := &m.Arch.Layers[i]
		d := node{kind: l.Kind, shape: shapes[i+1]}
		for _, k := range m.Arch.InputsOf(i) {
			d.in = append(d.in, k+1)
		}
		d.behind = slices.ContainsFunc(d.in, func(k int) bool { return n.nodes[k].behind })
		fanOut := 0
		if d.op, d.fanIn, fanOut = newOp(l, &m.Params[i], n.nodes[d.in[0]].shape, d.shape); d.op == nil {
			return nil, fmt.Errorf("layer %d: got %q, which has no checker", i, l.Kind)
		}
		if _, ok := d.op.(bend); ok {
			p := &n.nodes[d.in[0]]
			p.bends, d.behind = append(p.bends, i+1), true
		}
		n.nodes = append(n.nodes, d)
		n.chain += int64(d.shape.Size()) + int64(d.fanIn) + 2*int64(fanOut) + 4 // twice: op_planes.go
	}
	n.sums()
	return n, nil
}

// newOp returns what a layer computes, or nil, the number of terms that one output
// adds up, and of those that one input gets back.
func newOp(l *model.Layer, p *model.Param, in, out model.Shape) (o op, fanIn, fanOut int) {
	switch l.Kind {
	case model.Normalize:
		return &normalize{wide(l.Mean), wide(l.Std)}, 0, 0
	case model.Conv, model.FC:
		c := newConv(l, p, in, out)
		return c, c.fanIn, l.Out * c.kernel[0] * c.kernel[1]
	case model.BatchNorm:
		return newBatchNorm(l, p), 1, 1
	case model.AvgPool:
		w := newWindow(l, in, out)
		return newAvgPool(w, l.CountPadding), w.size(), w.size()
	case model.MaxPool:
		w := newWindow(l, in, out)
		return &maxPool{w}, 0, w.size()
	case model.Add:
		return add{}, 0, 0
	case model.Concat:
		return concat{}, 0, 0
	case model.ReLU:
		return relu{}, 0, 0
	case model.LeakyReLU:
		return &leakyReLU{wide(l.Slope)}, 0, 0
	case model.Clip:
		return &clip{float64(l.Min), float64(l.Max)}, 0, 0
	case model.Sigmoid:
		return &curve{scale: 1, centre: 0.5, steepest: 0.25}, 0, 0
	case model.Tanh:
		return &curve{scale: 2, steepest: 1}, 0, 0
	}
	return nil, 0, 0
}

// sums finds the parts of the adds' sums and the number of terms of each sum.
func (n *network) sums() {
	readers := make([]int, len(n.nodes))
	for i := range n.nodes {
		for _, p := range n.nodes[i].in {
			readers[p]++
		}
	}
	for i := range n.nodes { // what i reads comes before it
		d := &n.nodes[i]
		d.terms = d.fanIn + 1
		if d.kind != model.Add {
			continue
		}
		d.terms = 0
		for _, k := range d.in {
			switch p := &n.nodes[k]; p.kind {
			case model.Conv, model.FC, model.Add:
				p.part = readers[k] == 1
			}
			if n.nodes[k].part {
				d.terms += n.nodes[k].terms
			} else {
				d.terms++
			}
		}
	}
	for i := len(n.nodes) - 1; i >= 0; i-- { // parts have the terms of the whole
		for _, k := range n.nodes[i].in {
			if n.nodes[k].part {
				n.nodes[k].terms += int(keep(wholeSum, float64(n.nodes[i].terms-n.nodes[k].terms)))
			}
		}
	}
}

func wide(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, x := range v {
		w[i] = float64(x)
	}
	return w
}

// source reports whether node i is the input, or that normalized.
func (n *network) source(i int) bool { return i == 0 || n.nodes[i].kind == model.Normalize }

// first reports whether node i is the first affine layer, seen from the input.
func (n *network) first(i int) bool {
	switch n.nodes[i].kind {
	case model.Conv, model.FC, model.BatchNorm, model.AvgPool:
		return n.source(n.nodes[i].in[0])
	}
	return false
}

// bounded reports whether a linear method bounds node i backward.
func (n *network) bounded(i int) bool { return len(n.nodes[i].bends) > 0 && !n.source(i) }

// bent reports whether node i is not linear in what it reads.
func (n *network) bent(i int) bool {
	_, ok := n.nodes[i].op.(bend)
	return ok
}
