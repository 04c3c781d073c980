package net

import (
	"fmt"

	"github.com/epsball/epsball/kernels"
)

// SmallWorkspace is a Workspace for a few images: blocks are single images, [H]
// [W][C], and the work of each layer is split over the workers of a pool. Its
// tensors end in whole lane vectors (Layout.Len). It must be used by one
// goroutine at a time, and not on a worker of the pool.
type SmallWorkspace struct {
	net    *Network
	pool   *kernels.Pool
	images int
	acts   [][]float32 // [0] the input after normalize, [i+1] layer i's output after ReLU
	grads  [][]float32 // as in Workspace; they share buffers
	sum    []float32   // as in Workspace
	input  []float32   // activation 0: acts[0] or, not normalized, the pixels themselves

	out, dout []float32 // as in Workspace
	sc        []kernels.Scratch
	f         func(worker, part int)

	// The map being applied.
	layer    *kernels.Small
	dst, src []float32
	gate     []float32
	n, parts int
	epilogue kernels.Epilogue
}

// NewSmallWorkspace returns a workspace for up to images images.
func (n *Network) NewSmallWorkspace(images int, pool *kernels.Pool) *SmallWorkspace {
	if !n.HasSmall() {
		panic("net: the network was compiled for large batches")
	}
	w := &SmallWorkspace{net: n, pool: pool, images: images, sc: make([]kernels.Scratch, pool.Workers())}
	length := func(size int) int { return Singles.Len(images, size) }
	w.acts = n.tensors(n.apart(), length)
	if n.mapped() {
		w.out = kernels.Alloc(length(n.output.Size()))
	}
	if n.HasBackward() {
		w.grads = n.tensors(n.grads, length)
		w.sum, w.dout = kernels.Alloc(length(n.sums)), kernels.Alloc(len(w.out))
	}
	w.f = func(worker, part int) {
		w.layer.Apply(&w.sc[worker], w.dst, w.src, w.n, w.epilogue, w.gate, part, w.parts)
	}
	return w
}

// Layout returns Singles.
func (w *SmallWorkspace) Layout() Layout { return Singles }

// Scratch returns kernel arguments for passes that other packages build on the
// same buffers.
func (w *SmallWorkspace) Scratch() *kernels.Scratch { return &w.sc[0] }

// Logits returns the outputs of the last forward pass, [image][class], those of a
// map in channels-first order.
func (w *SmallWorkspace) Logits() []float32 {
	if w.net.mapped() {
		return w.out
	}
	return w.acts[len(w.acts)-1]
}

// LogitGradient returns the buffer that Backward starts from, laid out as the
// logits.
func (w *SmallWorkspace) LogitGradient() []float32 {
	if w.net.mapped() {
		return w.dout
	}
	return w.grads[len(w.grads)-1]
}

// Forward runs the network on the first n images of x and returns the logits.
func (w *SmallWorkspace) Forward(x []float32, n int) []float32 {
	w.mustHold(n)
	w.input = w.normalize(x, n)
	for i := range w.net.layers {
		l := &w.net.layers[i]
		if l.Skip < 0 {
			w.apply(l, l.small, w.acts[i+1], w.act(l.Src), n, l.epilogue(), nil)
			continue
		}
		w.apply(l, l.small, w.acts[i+1], w.act(l.Src), n, kernels.None, nil)
		size := Singles.Len(n, l.Shape.Out())
		w.net.isa.Add(w.acts[i+1][:size], w.act(l.Skip)[:size], l.epilogue(), nil)
	}
	if w.net.mapped() {
		Singles.orderOutputs(w.out, w.acts[len(w.acts)-1], w.net.output, n)
	}
	return w.Logits()
}

// act returns an activation.
func (w *SmallWorkspace) act(i int) []float32 {
	if i == 0 {
		return w.input
	}
	return w.acts[i]
}

// Backward carries the gradient in LogitGradient back through the pass that
// Forward has just run, and returns the gradient to the pixels.
func (w *SmallWorkspace) Backward(n int) []float32 {
	w.mustHold(n)
	if w.grads == nil {
		panic("net: the network was compiled without backward passes")
	}
	last := len(w.net.layers)
	if w.net.mapped() {
		Singles.disorderOutputs(w.grads[last], w.dout, w.net.output, n)
	}
	if l := &w.net.layers[last-1]; l.ReLU {
		gateCopy(w.grads[last][:n*l.Shape.Out()], w.grads[last], w.acts[last])
	}
	for i := last - 1; i >= 0; i-- {
		l, s := &w.net.layers[i], w.net.steps[i]
		e := kernels.None
		if s.srcGate {
			e = kernels.Gate
		}
		if s.srcAdd {
			size := Singles.Len(n, l.Shape.In())
			w.apply(l, l.smallBack, w.sum, w.grads[i+1], n, kernels.None, nil)
			w.net.isa.Add(w.grads[l.Src][:size], w.sum[:size], e, w.act(l.Src)[:size])
		} else {
			w.apply(l, l.smallBack, w.grads[l.Src], w.grads[i+1], n, e, w.act(l.Src))
		}
		if l.Skip >= 0 {
			size := Singles.Len(n, l.Shape.Out())
			w.net.handOn(s, w.grads[l.Skip][:size], w.grads[i+1][:size], w.act(l.Skip)[:size])
		}
	}
	d := w.grads[0]
	if _, std := w.net.Normalization(); std != nil {
		for i := range d[:n*w.net.input.Size()] {
			d[i] /= std[i%len(std)]
		}
	}
	return d
}

// apply computes a map of layer a.
func (w *SmallWorkspace) apply(a *Affine, l *kernels.Small, dst, src []float32, n int, e kernels.Epilogue, gate []float32) {
	w.layer, w.dst, w.src, w.gate, w.n, w.epilogue = l, dst, src, gate, n, e
	w.parts = a.split(l, n, len(w.sc))
	w.pool.Run(w.parts, w.f)
}

// normalize gives the input of the first layer: x, or (x − mean)/std, each
// operation rounded once.
func (w *SmallWorkspace) normalize(x []float32, n int) []float32 {
	mean, std := w.net.Normalization()
	if mean == nil {
		return x
	}
	in := w.acts[0]
	for i, v := range x[:n*w.net.input.Size()] {
		in[i] = (v - mean[i%len(mean)]) / std[i%len(std)]
	}
	return in
}

func (w *SmallWorkspace) mustHold(n int) {
	if n < 0 || n > w.images {
		panic(fmt.Sprintf("net: %d images in a workspace for %d", n, w.images))
	}
}
