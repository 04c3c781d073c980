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
	acts   [][]float32 // [0] the normalized pixels, [i+1] layer i's output after ReLU
	grads  [][]float32 // to the same; they share two buffers
	sc     []kernels.Scratch
	f      func(worker, part int)

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
	sizes := []int{n.input.Size()}
	largest := 0
	for _, l := range n.layers {
		sizes = append(sizes, l.Shape.Out())
	}
	for _, s := range sizes {
		largest = max(largest, s)
		w.acts = append(w.acts, kernels.Alloc(Singles.Len(images, s)))
	}
	if n.HasBackward() {
		pingPong := [2][]float32{kernels.Alloc(Singles.Len(images, largest)), kernels.Alloc(Singles.Len(images, largest))}
		for i, a := range w.acts {
			w.grads = append(w.grads, pingPong[i%2][:len(a)])
		}
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

// Logits returns the logits of the last forward pass, [image][class].
func (w *SmallWorkspace) Logits() []float32 { return w.acts[len(w.acts)-1] }

// LogitGradient returns the buffer that Backward starts from, laid out as the
// logits.
func (w *SmallWorkspace) LogitGradient() []float32 { return w.grads[len(w.grads)-1] }

// Forward runs the network on the first n images of x and returns the logits.
func (w *SmallWorkspace) Forward(x []float32, n int) []float32 {
	w.mustHold(n)
	in := w.normalize(x, n)
	for i := range w.net.layers {
		l := &w.net.layers[i]
		e := kernels.None
		if l.ReLU {
			e = kernels.ReLU
		}
		w.apply(l, l.small, w.acts[i+1], in, n, e, nil)
		in = w.acts[i+1]
	}
	return in
}

// Backward carries the gradient in LogitGradient back through the pass that
// Forward has just run, and returns the gradient to the pixels.
func (w *SmallWorkspace) Backward(n int) []float32 {
	w.mustHold(n)
	if w.grads == nil {
		panic("net: the network was compiled without backward passes")
	}
	for i := len(w.net.layers) - 1; i >= 0; i-- {
		l := &w.net.layers[i]
		e := kernels.None
		if i > 0 && w.net.layers[i-1].ReLU {
			e = kernels.Gate
		}
		w.apply(l, l.smallBack, w.grads[i], w.grads[i+1], n, e, w.acts[i])
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
