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
	acts   [][]float32 // [0] the first layer's input, [i+1] layer i's output after ReLU
	grads  [][]float32 // [0] to the pixels, [i+1] to layer i's output before ReLU
	sc     kernels.Scratch
}

// NewWorkspace returns a workspace for up to images images (rounded up to
// whole lane groups). With keep, the gradients of all layers stay alive for
// WeightGradient; else they share two buffers.
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
	w.acts = append(w.acts, w.alloc(n.input.Size()))
	for _, l := range n.layers {
		w.acts = append(w.acts, w.alloc(l.Shape.Out()))
	}
	return w
}

func (w *Workspace) alloc(size int) []float32 {
	return kernels.Alloc(w.groups * size * kernels.Lanes)
}

func (w *Workspace) allocGradients(keep bool) {
	if keep {
		for _, a := range w.acts {
			w.grads = append(w.grads, kernels.Alloc(len(a)))
		}
		return
	}
	largest := 0
	for _, a := range w.acts {
		largest = max(largest, len(a))
	}
	pingPong := [2][]float32{kernels.Alloc(largest), kernels.Alloc(largest)}
	for i, a := range w.acts {
		w.grads = append(w.grads, pingPong[i%2][:len(a)])
	}
}

// View returns a workspace over groups [from, to) of w that shares its buffers
// and has scratch space of its own: views of disjoint ranges may be used by
// different goroutines.
func (w *Workspace) View(from, to int) *Workspace {
	v := &Workspace{net: w.net, groups: to - from}
	cut := func(bufs [][]float32) (out [][]float32) {
		for _, b := range bufs {
			per, room := len(b)/w.groups, cap(b)/w.groups // without keep, layers of several sizes share b
			out = append(out, b[from*room : to*room : to*room][:(to-from)*per])
		}
		return out
	}
	v.acts, v.grads = cut(w.acts), cut(w.grads)
	return v
}

// Images returns the number of images the workspace holds.
func (w *Workspace) Images() int { return w.groups * kernels.Lanes }

// Layout returns LaneGroups.
func (w *Workspace) Layout() Layout { return LaneGroups }

// Scratch returns the workspace's kernel arguments, for passes that other
// packages build on the same buffers.
func (w *Workspace) Scratch() *kernels.Scratch { return &w.sc }

// Logits returns the logits of the last forward pass, [group][class][8].
func (w *Workspace) Logits() []float32 { return w.acts[len(w.acts)-1] }

// LogitGradient returns the buffer that Backward starts from, laid out as the
// logits. Lanes without an image must hold zeros before WeightGradient.
func (w *Workspace) LogitGradient() []float32 { return w.grads[len(w.grads)-1] }

// Activation returns the input of layer i (or the logits, for i = number of
// layers) of the last forward pass.
func (w *Workspace) Activation(i int) []float32 { return w.acts[i] }

// Gradient returns the gradient at the output of layer i−1 before its ReLU
// (i > 0), or at the pixels (i = 0), of the last backward pass. In a workspace
// without keep only the last one computed is alive.
func (w *Workspace) Gradient(i int) []float32 { return w.grads[i] }

// Forward runs the network on the first groups lane groups of x (pixels in
// the batch-lane layout) and returns the logits, [group][class][8].
func (w *Workspace) Forward(x []float32, groups int) []float32 {
	w.mustHold(groups)
	in := w.normalize(x, groups)
	for i := range w.net.layers {
		l := &w.net.layers[i]
		l.run(&w.sc, w.acts[i+1], in, groups)
		in = w.acts[i+1]
	}
	return in
}

// Backward carries the gradient in LogitGradient back through the pass that
// Forward has just run, and returns the gradient to the pixels.
func (w *Workspace) Backward(groups int) []float32 {
	return w.backward(groups, 0)
}

// BackwardToWeights is Backward without the last step to the pixels: enough
// for WeightGradient.
func (w *Workspace) BackwardToWeights(groups int) { w.backward(groups, 1) }

func (w *Workspace) backward(groups, last int) []float32 {
	w.mustHold(groups)
	if w.grads == nil {
		panic("net: the network was compiled without backward passes")
	}
	for i := len(w.net.layers) - 1; i >= last; i-- {
		e := kernels.None
		if i > 0 && w.net.layers[i-1].ReLU {
			e = kernels.Gate
		}
		w.net.layers[i].back(&w.sc, w.grads[i], w.grads[i+1], groups, e, w.acts[i])
	}
	if last == 0 {
		w.scaleGradient(groups)
	}
	return w.grads[last]
}

// normalize gives the input of the first layer: x copied as it is, or
// (x − mean)/std, each operation rounded once.
func (w *Workspace) normalize(x []float32, groups int) []float32 {
	n := w.net.input.Size() * kernels.Lanes * groups
	in := w.acts[0][:n]
	mean, std := w.net.Normalization()
	if mean == nil {
		copy(in, x[:n])
		return in
	}
	c := w.net.input.C
	for i := 0; i < n; i += kernels.Lanes {
		m, s := mean[i/kernels.Lanes%c], std[i/kernels.Lanes%c]
		for k := i; k < i+kernels.Lanes; k++ {
			in[k] = (x[k] - m) / s
		}
	}
	return in
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
