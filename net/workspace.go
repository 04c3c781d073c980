package net

import (
	"fmt"

	"github.com/epsball/epsball/kernels"
)

// Workspace owns the buffers of passes over a fixed number of lane groups. It
// must be used by one goroutine at a time.
type Workspace struct {
	net    *Network
	groups int
	acts   [][]float32 // [0] the input after normalize, [i+1] layer i's output after ReLU
	grads  [][]float32 // [0] to the pixels, [i+1] to layer i's output before ReLU
	sum    []float32   // a gradient to be added to another; nil in a plain list
	sc     kernels.Scratch

	// Outputs and their gradient, channels first, if that is not their order in acts.
	out, dout []float32
}

// NewWorkspace returns a workspace for up to images images (rounded up to
// whole lane groups). With keep, the gradients of all layers stay alive for
// WeightGradient; else they share buffers, two in a plain list.
func (n *Network) NewWorkspace(images int, keep bool) *Workspace {
	w := n.newForwardWorkspace(images)
	if n.HasBackward() {
		w.allocGradients(keep)
	}
	return w
}

// newForwardWorkspace is NewWorkspace without the buffers of backward passes.
func (n *Network) newForwardWorkspace(images int) *Workspace {
	if !n.HasLanes() {
		panic("net: the network was compiled for small batches")
	}
	w := &Workspace{net: n, groups: max(1, kernels.Groups(images))}
	w.acts = n.tensors(n.apart(), w.length)
	if n.mapped() {
		w.out = kernels.Alloc(w.length(n.output.Size()))
	}
	return w
}

func (w *Workspace) length(size int) int { return w.groups * size * kernels.Lanes }

func (w *Workspace) allocGradients(keep bool) {
	buffers := w.net.grads
	if keep {
		buffers = w.net.apart()
	}
	w.grads = w.net.tensors(buffers, w.length)
	w.sum = kernels.Alloc(w.length(w.net.sums))
	w.dout = kernels.Alloc(len(w.out))
}

// View returns a workspace over groups [from, to) of w that shares its buffers
// and has scratch space of its own: views of disjoint ranges may be used by
// different goroutines.
func (w *Workspace) View(from, to int) *Workspace {
	v := &Workspace{net: w.net, groups: to - from}
	one := func(b []float32) []float32 {
		per, room := len(b)/w.groups, cap(b)/w.groups // without keep, layers of several sizes share b
		return b[from*room : to*room : to*room][:(to-from)*per]
	}
	all := func(bufs [][]float32) (out [][]float32) {
		for _, b := range bufs {
			out = append(out, one(b))
		}
		return out
	}
	v.acts, v.grads = all(w.acts), all(w.grads)
	v.sum, v.out, v.dout = one(w.sum), one(w.out), one(w.dout)
	return v
}

// Images returns the number of images the workspace holds.
func (w *Workspace) Images() int { return w.groups * kernels.Lanes }

// Layout returns LaneGroups.
func (w *Workspace) Layout() Layout { return LaneGroups }

// Scratch returns the workspace's kernel arguments, for passes that other
// packages build on the same buffers.
func (w *Workspace) Scratch() *kernels.Scratch { return &w.sc }

// Logits returns the outputs of the last forward pass, [group][class][8]; those
// of a map are in channels-first order.
func (w *Workspace) Logits() []float32 {
	if w.net.mapped() {
		return w.out
	}
	return w.acts[len(w.acts)-1]
}

// LogitGradient returns the buffer that Backward starts from, laid out as the
// logits. Lanes without an image must hold zeros before WeightGradient.
func (w *Workspace) LogitGradient() []float32 {
	if w.net.mapped() {
		return w.dout
	}
	return w.grads[len(w.grads)-1]
}

// Activation returns activation i of the last forward pass, [group][H][W][C][8]:
// the input after normalize, or the output of layer i−1.
func (w *Workspace) Activation(i int) []float32 { return w.acts[i] }

// Gradient returns the gradient at the output of layer i−1 before its ReLU
// (i > 0), or at the pixels (i = 0), of the last backward pass. In a workspace
// without keep only the last one computed is alive.
func (w *Workspace) Gradient(i int) []float32 { return w.grads[i] }

// Forward runs the network on the first groups lane groups of x (pixels in
// the batch-lane layout) and returns the logits, [group][class][8].
func (w *Workspace) Forward(x []float32, groups int) []float32 {
	w.mustHold(groups)
	w.normalize(x, groups)
	for i := range w.net.layers {
		l := &w.net.layers[i]
		l.run(&w.sc, w.acts[i+1], w.acts[l.Src], groups)
		if l.Skip >= 0 {
			size := l.Shape.Out() * groups * kernels.Lanes
			w.net.isa.Add(w.acts[i+1][:size], w.acts[l.Skip][:size], l.epilogue(), nil)
		}
	}
	if w.net.mapped() {
		LaneGroups.orderOutputs(w.out, w.acts[len(w.acts)-1], w.net.output, groups)
	}
	return w.Logits()
}

// Backward carries the gradient in LogitGradient back through the pass that
// Forward has just run, and returns the gradient to the pixels. The gradients of
// an activation that several layers read are added in the layers' order, the last
// layer first.
func (w *Workspace) Backward(groups int) []float32 {
	return w.backward(groups, 0)
}

// BackwardToWeights is Backward without the last step to the pixels: enough
// for WeightGradient.
func (w *Workspace) BackwardToWeights(groups int) { w.backward(groups, 1) }

// backward stops at activation least.
func (w *Workspace) backward(groups, least int) []float32 {
	w.mustHold(groups)
	if w.grads == nil {
		panic("net: the network was compiled without backward passes")
	}
	n, last := w.net, len(w.net.layers)
	size := n.layers[last-1].Shape.Out() * groups * kernels.Lanes
	if n.mapped() {
		LaneGroups.disorderOutputs(w.grads[last], w.dout, n.output, groups)
	}
	if n.layers[last-1].ReLU {
		gateCopy(w.grads[last][:size], w.grads[last], w.acts[last])
	}
	for i := last - 1; i >= 0; i-- {
		l, s := &n.layers[i], n.steps[i]
		e := kernels.None
		if s.srcGate {
			e = kernels.Gate
		}
		switch {
		case l.Src < least:
		case s.srcAdd:
			size := l.Shape.In() * groups * kernels.Lanes
			l.back(&w.sc, w.sum, w.grads[i+1], groups, kernels.None, nil)
			n.isa.Add(w.grads[l.Src][:size], w.sum[:size], e, w.acts[l.Src][:size])
		default:
			l.back(&w.sc, w.grads[l.Src], w.grads[i+1], groups, e, w.acts[l.Src])
		}
		if l.Skip >= least {
			size := l.Shape.Out() * groups * kernels.Lanes
			n.handOn(s, w.grads[l.Skip][:size], w.grads[i+1][:size], w.acts[l.Skip][:size])
		}
	}
	if least == 0 {
		w.scaleGradient(groups)
	}
	return w.grads[least]
}

// normalize gives activation 0: x copied as it is, or (x − mean)/std, each
// operation rounded once.
func (w *Workspace) normalize(x []float32, groups int) {
	n := w.net.input.Size() * kernels.Lanes * groups
	in := w.acts[0][:n]
	mean, std := w.net.Normalization()
	if mean == nil {
		copy(in, x[:n])
		return
	}
	c := w.net.input.C
	for i := 0; i < n; i += kernels.Lanes {
		m, s := mean[i/kernels.Lanes%c], std[i/kernels.Lanes%c]
		for k := i; k < i+kernels.Lanes; k++ {
			in[k] = (x[k] - m) / s
		}
	}
}

// scaleGradient takes the gradient through the normalize layer.
func (w *Workspace) scaleGradient(groups int) {
	_, std := w.net.Normalization()
	if std == nil {
		return
	}
	d := w.grads[0][:w.net.input.Size()*kernels.Lanes*groups]
	for i := 0; i < len(d); i += kernels.Lanes {
		s := std[i/kernels.Lanes%w.net.input.C]
		for k := i; k < i+kernels.Lanes; k++ {
			d[k] /= s
		}
	}
}

func (w *Workspace) mustHold(groups int) {
	if groups < 0 || groups > w.groups {
		panic(fmt.Sprintf("net: %d lane groups in a workspace for %d", groups, w.groups))
	}
}
