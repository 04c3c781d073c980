package net

import (
	"slices"
	"sort"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
)

// The compiled network is a list of affine layers, each of which reads one
// activation and may add another one. Activation 0 is the input after normalize,
// activation i+1 the output of layer i; a plain list reads activation i in layer i.

// build turns the architecture's layers into affine ones. An add becomes part of
// its branch, which is computed where the add stands.
func (n *Network) build(a *model.Architecture, shapes []model.Shape, add func(i int) Affine) {
	branches := map[int]bool{}
	for i := range a.Layers {
		if a.Layers[i].Kind == model.Add {
			b, _, _ := a.Residual(i)
			branches[b] = true
		}
	}
	act := make([]int, len(a.Layers)+1) // the activation that holds each output
	for i, l := range a.Layers {
		put := func(layer, sum, skip int) {
			f := add(layer)
			f.Src, f.Add, f.Skip = act[a.InputsOf(layer)[0]+1], sum, skip
			n.layers = append(n.layers, f)
			act[i+1] = len(n.layers)
		}
		switch {
		case l.Kind == model.Normalize:
			n.norm = []model.Layer{l}
		case l.Kind == model.ReLU:
			n.layers[act[i]-1].ReLU = true
			act[i+1] = act[i]
		case l.Kind == model.Add:
			b, skip, _ := a.Residual(i)
			put(b, i, act[skip+1])
		case !branches[i]:
			put(i, -1, -1)
		}
	}
	n.output = shapes[len(shapes)-1]
	n.schedule()
}

// step says how a layer hands its gradient on to what it reads: to the first of
// several readers on the way back the activation's gradient is new, later ones
// add to it, and the last one takes it through the activation's ReLU.
type step struct{ srcAdd, srcGate, skipAdd, skipGate bool }

func (n *Network) schedule() {
	last := len(n.layers)
	n.steps = make([]step, last)
	born, died := make([]int, last+1), make([]int, last+1) // on the way there
	backBorn, backDied := make([]int, last+1), make([]int, last+1)
	left := make([]int, last+1) // readers not passed yet
	read := func(k, i int) {
		if k >= 0 {
			left[k]++
			died[k] = i
		}
	}
	for i := range n.layers {
		born[i+1] = i
		read(n.layers[i].Src, i)
		read(n.layers[i].Skip, i)
	}
	born[0], died[last] = -1, last
	for k := range died {
		backBorn[k], backDied[k] = -died[k], 1-k // in steps −i, so that time goes up
	}
	n.acts, n.grads = share(born, died), share(backBorn, backDied)
	n.sums = 0
	seen := make([]bool, last+1)
	pass := func(k int) (add, gate bool) {
		add, seen[k] = seen[k], true
		left[k]--
		return add, left[k] == 0 && k > 0 && n.layers[k-1].ReLU
	}
	for i := last - 1; i >= 0; i-- {
		l, s := &n.layers[i], &n.steps[i]
		s.srcAdd, s.srcGate = pass(l.Src)
		if s.srcAdd {
			n.sums = max(n.sums, l.Shape.In())
		}
		if l.Skip >= 0 {
			s.skipAdd, s.skipGate = pass(l.Skip)
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

// Buffers deals the activations of a forward pass to buffers, 0 and up, such that
// two that are needed at the same time do not share one, nor what a layer reads and
// writes. It is not to be changed.
func (n *Network) Buffers() []int { return n.acts }

// activationSizes returns the elements of each activation of one image.
func (n *Network) activationSizes() []int {
	s := []int{n.input.Size()}
	for i := range n.layers {
		s = append(s, n.layers[i].Shape.Out())
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
	b := make([]int, len(n.layers)+1)
	for k := range b {
		b[k] = k
	}
	return b
}

// mapped tells whether the outputs lie in memory otherwise than their order,
// channels first, says.
func (n *Network) mapped() bool { return n.output.C > 1 && n.output.H*n.output.W > 1 }

// orderOutputs copies blocks of the last activation, [H][W][C], to outputs,
// channels first; disorderOutputs copies them back.
func (l Layout) orderOutputs(dst, src []float32, s model.Shape, blocks int) {
	l.transpose(dst, src, s.H*s.W, s.C, blocks)
}

func (l Layout) disorderOutputs(dst, src []float32, s model.Shape, blocks int) {
	l.transpose(dst, src, s.C, s.H*s.W, blocks)
}

// transpose turns blocks of [rows][cols] vectors into [cols][rows].
func (l Layout) transpose(dst, src []float32, rows, cols, blocks int) {
	for b := range blocks {
		d, s := l.Block(dst, rows*cols, b), l.Block(src, rows*cols, b)
		for r := range rows {
			for c := range cols {
				copy(d[(c*rows+r)*int(l):][:l], s[(r*cols+c)*int(l):])
			}
		}
	}
}

// gateCopy copies a gradient through a ReLU whose output was gate.
func gateCopy(dst, src, gate []float32) {
	src, gate = src[:len(dst)], gate[:len(dst)]
	for i, g := range gate {
		v := float32(0)
		if g > 0 {
			v = src[i]
		}
		dst[i] = v
	}
}

// handOn gives src, the gradient of a layer that adds activation k, to that
// activation.
func (n *Network) handOn(s step, dst, src, act []float32) {
	switch {
	case s.skipAdd && s.skipGate:
		n.isa.Add(dst, src, kernels.Gate, act)
	case s.skipAdd:
		n.isa.Add(dst, src, kernels.None, nil)
	case s.skipGate:
		gateCopy(dst, src, act)
	default:
		copy(dst, src)
	}
}
