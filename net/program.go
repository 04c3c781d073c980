package net

import (
	"fmt"
	"slices"
	"sort"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// Node is an operation of a compiled network. Activation 0 is the network's input after
// normalize, and activation i+1 the output of Nodes()[i]. In a plain list, node i reads
// activation i.
type Node struct {
	Index int         // of its layer in the architecture; of the conv or fc, if an add or a ReLU is fused with it
	Name  string      // the layer's kind and index: "maxpool3"
	In    []int       // the activations that it reads
	Shape model.Shape // of its output
	ReLU  bool        // it ends in a ReLU
	Op    Operation
}

// Operation is what a node computes. There is one file for each; CONTRIBUTING.md says
// what else an operation needs.
type Operation interface {
	// forward writes the node's value, through its ReLU if it has one, to dst.
	forward(w *Workspace, n *Node, dst []float32)

	// backward hands dout, the gradient at node i's output before its ReLU, on to
	// those inputs that are activation least or later.
	backward(w *Workspace, i int, dout []float32, least int)
}

// newOperation compiles layer i, which is none that build treats itself.
func (n *Network) newOperation(i int, shapes []model.Shape) (Operation, error) {
	a := &n.model.Arch
	l, in := &a.Layers[i], a.InputShape(i, shapes)
	switch l.Kind {
	case model.Conv:
		if l.Groups == in.C && l.Out == in.C {
			return n.newDepthwise(i, in), nil
		}
		return n.newGrouped(i, in), nil
	case model.BatchNorm:
		return n.newDepthwise(i, in), nil
	case model.MaxPool, model.AvgPool:
		return n.newPool(l, in), nil
	case model.Concat:
		return &Concat{}, nil
	case model.ReLU, model.LeakyReLU, model.Clip, model.Sigmoid, model.Tanh:
		return n.newElementwise(l, in), nil
	}
	return nil, fmt.Errorf("%q is a layer that passes do not compute", l.Kind)
}

// weighted is an operation with parameters, which it packs for its kernels.
type weighted interface {
	Operation
	parts() int // independent parts of pack, at least 1
	pack(part int)
	bytes() int // of packed weights
}

// Only returns an error that names the first node whose operation ok does not accept,
// for passes that do not compute all operations. It is nil if ok accepts all.
func (n *Network) Only(pass string, ok func(Operation) bool) error {
	for i := range n.nodes {
		if !ok(n.nodes[i].Op) {
			return fmt.Errorf("layer %s: no %s for a layer of this kind", n.nodes[i].Name, pass)
		}
	}
	return nil
}

// fuses reports whether the operation takes a ReLU after it into its node.
func fuses(op Operation) bool {
	switch op.(type) {
	case *Affine, *Sum, *Depthwise, *Grouped:
		return true
	}
	return false
}

// build turns the architecture's layers into nodes. An add becomes part of its
// branch, if that is dense, which is then computed where the add stands; a ReLU
// becomes part of what it alone reads.
func (n *Network) build(a *model.Architecture, shapes []model.Shape) error {
	branches, matrices := map[int]bool{}, 0
	for i := range a.Layers {
		if a.Layers[i].HasMatrix() {
			matrices++
		}
		if a.Layers[i].Kind == model.Add {
			if b, _, ok := a.Residual(i); ok && dense(a, b) {
				branches[b] = true
			}
		}
	}
	n.layers = make([]Affine, 0, matrices) // nodes point into it
	readers := a.Readers()
	act := make([]int, len(a.Layers)+1) // the activation that holds each output
	for i := range a.Layers {
		l := &a.Layers[i]
		put := func(layer int, op Operation, in ...int) {
			n.nodes = append(n.nodes, Node{Index: layer, Name: nodeName(a.Layers[layer].Kind, layer), In: in, Shape: shapes[i+1], Op: op})
			act[i+1] = len(n.nodes)
		}
		affine := func(layer, add int, skip ...int) {
			f := n.newAffine(layer, a.InputShape(layer, shapes))
			f.Node, f.Src, f.Add, f.Skip = len(n.nodes), act[a.InputsOf(layer)[0]+1], add, -1
			if len(skip) > 0 {
				f.Skip = skip[0]
			}
			n.layers = append(n.layers, f)
			put(layer, &n.layers[len(n.layers)-1], append([]int{f.Src}, skip...)...)
		}
		in := make([]int, 0, 2)
		for _, k := range a.InputsOf(i) {
			in = append(in, act[k+1])
		}
		src := a.InputsOf(i)[0]
		switch {
		case l.Kind == model.Normalize:
			n.norm = []model.Layer{*l}
		case branches[i]:
		case l.Kind == model.ReLU && in[0] > 0 && readers[src+1] == 1 && !n.nodes[in[0]-1].ReLU && fuses(n.nodes[in[0]-1].Op):
			n.nodes[in[0]-1].ReLU = true
			if f, ok := n.nodes[in[0]-1].Op.(*Affine); ok {
				f.ReLU = true
			}
			act[i+1] = in[0]
		case l.Kind == model.Add:
			if b, skip, ok := a.Residual(i); ok && branches[b] {
				affine(b, i, act[skip+1])
			} else {
				put(i, &Sum{}, in...)
			}
		case dense(a, i):
			affine(i, -1)
		default:
			op, err := n.newOperation(i, shapes)
			if err != nil {
				return fmt.Errorf("layers[%d]: %w", i, err)
			}
			put(i, op, in...)
		}
	}
	n.output = shapes[len(shapes)-1]
	n.schedule()
	return nil
}

// dense reports whether layer i is a conv or fc that reads all its channels at once.
func dense(a *model.Architecture, i int) bool {
	return a.Layers[i].HasMatrix() && a.Layers[i].Groups == 0 && a.Layers[i].Dilation == [2]int{}
}

func nodeName(k model.Kind, i int) string { return fmt.Sprintf("%s%d", k, i) }

// hand says how a node hands its gradient on to an activation that it reads: to the
// first of several readers on the way back the activation's gradient is new, later
// ones add to it, and the last one takes it through the activation's ReLU.
type hand struct{ add, gate bool }

func (n *Network) schedule() {
	last := len(n.nodes)
	n.hands = make([][]hand, last)
	born, died := make([]int, last+1), make([]int, last+1) // on the way there
	backBorn, backDied := make([]int, last+1), make([]int, last+1)
	left := make([]int, last+1) // readers not passed yet
	for i := range n.nodes {
		born[i+1] = i
		for _, k := range n.nodes[i].In {
			left[k]++
			died[k] = i
		}
	}
	born[0], died[last] = -1, last
	for k := range died {
		backBorn[k], backDied[k] = -died[k], 1-k // in steps −i, so that time goes up
	}
	n.acts, n.grads = share(born, died), share(backBorn, backDied)
	n.sums, n.spares = 0, 0
	for i := range n.nodes {
		if g, ok := n.nodes[i].Op.(*Grouped); ok {
			n.spares = max(n.spares, g.spare())
		}
	}
	seen := make([]bool, last+1)
	sizes := n.activationSizes()
	for i := last - 1; i >= 0; i-- {
		for _, k := range n.nodes[i].In {
			left[k]--
			h := hand{seen[k], left[k] == 0 && k > 0 && n.nodes[k-1].ReLU}
			seen[k] = true
			if h.add {
				n.sums = max(n.sums, sizes[k])
			}
			n.hands[i] = append(n.hands[i], h)
		}
	}
}

// share deals tensors, alive from step born to step died, to buffers, so that no
// two that are alive at the same step share one. It returns the buffer of each.
func share(born, died []int) []int {
	order := make([]int, len(born))
	for k := range order {
		order[k] = k
	}
	sort.SliceStable(order, func(a, b int) bool { return born[order[a]] < born[order[b]] }) // slices would compile a sort of its own
	var busy []int                                                                          // until when
	buffer := make([]int, len(born))
	for _, k := range order {
		b := slices.IndexFunc(busy, func(until int) bool { return until < born[k] })
		if b < 0 {
			b = len(busy)
			busy = append(busy, 0)
		}
		buffer[k], busy[b] = b, died[k]
	}
	return buffer
}

// Buffers assigns each activation of a forward pass to a buffer, numbered from 0. Two
// activations that are needed at the same time never share one, nor do the input and
// the output of a layer. The result must not be changed.
func (n *Network) Buffers() []int { return n.acts }

// activationSizes returns the elements of each activation of one image.
func (n *Network) activationSizes() []int {
	s := []int{n.input.Size()}
	for i := range n.nodes {
		s = append(s, n.nodes[i].Shape.Size())
	}
	return s
}

// tensors allocates one tensor an activation, of length(elements an image); those
// with the same buffer share memory. The tensors' capacity is the buffer's.
func (n *Network) tensors(buffer []int, length func(size int) int) [][]float32 {
	sizes := n.activationSizes()
	bufs := make([][]float32, slices.Max(buffer)+1)
	for b := range bufs {
		most := 0
		for k, s := range sizes {
			if buffer[k] == b {
				most = max(most, length(s))
			}
		}
		bufs[b] = kernels.Alloc(most)
	}
	out := make([][]float32, len(sizes))
	for k, s := range sizes {
		out[k] = bufs[buffer[k]][:length(s)]
	}
	return out
}

// apart gives each activation a buffer of its own.
func (n *Network) apart() []int {
	b := make([]int, len(n.nodes)+1)
	for k := range b {
		b[k] = k
	}
	return b
}
