package net

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/kernels"
)

// Workspace owns the buffers of passes over a fixed number of blocks of images. In the
// layout LaneGroups the blocks are groups of eight lanes, and passes run on the
// caller's goroutine. In the layout Singles they are single images, [H][W][C], and the
// work of each node is split over the workers of a pool; such a workspace must not be
// used on a worker of that pool. A workspace must be used by one goroutine at a time.
// Its tensors end in whole lane vectors (Layout.Len).
type Workspace struct {
	net    *Network
	layout Layout
	room   int           // blocks
	blocks int           // of the pass being run
	pool   *kernels.Pool // nil on lanes
	acts   [][]float32   // [0] the input after normalize, [i+1] node i's output after its ReLU
	input  []float32     // activation 0: acts[0] or, single and not normalized, the pixels themselves
	grads  [][]float32   // [0] to the pixels, [i+1] to node i's output before its ReLU
	sum    []float32     // a gradient to be added to another; nil in a plain list
	spare  [2][]float32  // room for one group of channels, see Grouped
	sc     []kernels.Scratch

	// Outputs and their gradient, channels first, if that is not their order in acts.
	out, dout []float32

	normalizer normalizer // of batchnorms; nil: their own running statistics

	product product // being computed on the pool
	part    func(worker, part int)
}

// product is a map of single images, split over the workers.
type product struct {
	small          *kernels.Small
	dst, src, gate []float32
	parts          int
	epilogue       kernels.Epilogue
}

// NewWorkspace returns a workspace on lanes for up to images images, rounded up to
// whole lane groups. With keep, the gradients of all nodes stay alive for
// WeightGradient; otherwise they share buffers, two in a plain list.
func (n *Network) NewWorkspace(images int, keep bool) *Workspace {
	w := n.newForwardWorkspace(images)
	if n.HasBackward() {
		w.allocGradients(keep)
	}
	return w
}

// NewSmallWorkspace returns a workspace for up to images single images.
func (n *Network) NewSmallWorkspace(images int, pool *kernels.Pool) *Workspace {
	w := n.newSmallWorkspace(images, pool, n.apart())
	if n.HasBackward() {
		w.allocGradients(false)
	}
	return w
}

// newForwardWorkspace is NewWorkspace without the buffers of backward passes.
func (n *Network) newForwardWorkspace(images int) *Workspace {
	if !n.HasLanes() {
		panic("net: the network was compiled for small batches")
	}
	w := &Workspace{net: n, layout: LaneGroups, room: max(1, kernels.Groups(images)), sc: make([]kernels.Scratch, 1)}
	w.allocActivations(n.apart())
	return w
}

// newSmallWorkspace is NewSmallWorkspace without the buffers of backward passes, the
// activations in the given ones.
func (n *Network) newSmallWorkspace(images int, pool *kernels.Pool, buffers []int) *Workspace {
	if !n.HasSmall() {
		panic("net: the network was compiled for large batches")
	}
	w := &Workspace{net: n, layout: Singles, room: images, pool: pool, sc: make([]kernels.Scratch, pool.Workers())}
	w.allocActivations(buffers)
	w.part = func(worker, part int) {
		p := &w.product
		p.small.Apply(&w.sc[worker], p.dst, p.src, w.blocks, p.epilogue, p.gate, part, p.parts)
	}
	return w
}

func (w *Workspace) allocActivations(buffers []int) {
	w.acts = w.net.tensors(buffers, w.all)
	w.input = w.acts[0]
	if n := w.net.spares; n > 0 {
		w.spare = [2][]float32{kernels.Alloc(w.all(n)), kernels.Alloc(w.all(n))}
	}
	if w.net.mapped() {
		w.out = kernels.Alloc(w.all(w.net.output.Size()))
	}
}

func (w *Workspace) allocGradients(keep bool) {
	buffers := w.net.grads
	if keep {
		buffers = w.net.apart()
	}
	w.grads = w.net.tensors(buffers, w.all)
	w.sum = kernels.Alloc(w.all(w.net.sums))
	w.dout = kernels.Alloc(len(w.out))
}

// all and length return the length of a tensor with size elements an image: of the
// whole workspace, and of the blocks of the pass being run.
func (w *Workspace) all(size int) int    { return w.layout.Len(w.room, size) }
func (w *Workspace) length(size int) int { return w.layout.Len(w.blocks, size) }

// used is length without what fills the last lane vector.
func (w *Workspace) used(size int) int { return w.blocks * size * int(w.layout) }

// View returns a workspace over groups [from, to) of w, which must be on lanes. It
// shares the buffers of w and has its own scratch space: views of disjoint ranges may
// be used by different goroutines.
func (w *Workspace) View(from, to int) *Workspace {
	v := &Workspace{net: w.net, layout: w.layout, room: to - from, sc: make([]kernels.Scratch, 1)}
	one := func(b []float32) []float32 {
		per, room := len(b)/w.room, cap(b)/w.room // without keep, nodes of several sizes share b
		return b[from*room : to*room : to*room][:(to-from)*per]
	}
	all := func(bufs [][]float32) (out [][]float32) {
		for _, b := range bufs {
			out = append(out, one(b))
		}
		return out
	}
	v.acts, v.grads = all(w.acts), all(w.grads)
	v.input = v.acts[0]
	v.sum, v.out, v.dout = one(w.sum), one(w.out), one(w.dout)
	v.spare = [2][]float32{one(w.spare[0]), one(w.spare[1])}
	return v
}

// Images returns the number of images the workspace holds.
func (w *Workspace) Images() int { return w.room * int(w.layout) }

// Layout returns the layout of all its tensors.
func (w *Workspace) Layout() Layout { return w.layout }

// Scratch returns the workspace's kernel arguments, for passes that other
// packages build on the same buffers.
func (w *Workspace) Scratch() *kernels.Scratch { return &w.sc[0] }

// Logits returns the outputs of the last forward pass, [block][class][Layout]; those
// of a map are in channels-first order.
func (w *Workspace) Logits() []float32 {
	if w.net.mapped() {
		return w.out
	}
	return w.acts[len(w.acts)-1]
}

// LogitGradient returns the buffer that Backward starts from, in the layout of the
// logits. Lanes without an image must hold zeros before WeightGradient.
func (w *Workspace) LogitGradient() []float32 {
	if w.net.mapped() {
		return w.dout
	}
	return w.grads[len(w.grads)-1]
}

// Activation returns activation i of the last forward pass, [block][H][W][C][Layout]:
// the input after normalize, or the output of node i−1.
func (w *Workspace) Activation(i int) []float32 { return w.act(i) }

func (w *Workspace) act(i int) []float32 {
	if i == 0 {
		return w.input
	}
	return w.acts[i]
}

// Gradient returns a gradient of the last backward pass: for i > 0 that at the output
// of node i−1 before its ReLU, for i = 0 that at the pixels. In a workspace without
// keep only the last one computed is alive.
func (w *Workspace) Gradient(i int) []float32 { return w.grads[i] }

// Forward runs the network on the first blocks blocks of x, pixels in the workspace's
// layout, and returns the logits.
func (w *Workspace) Forward(x []float32, blocks int) []float32 {
	w.mustHold(blocks)
	w.blocks = blocks
	w.normalize(x)
	_ = w.run(context.Background()) // which does not end
	return w.Logits()
}

// Backward carries the gradient in LogitGradient back through the pass that
// Forward has just run, and returns the gradient to the pixels.
func (w *Workspace) Backward(blocks int) []float32 {
	w.mustHold(blocks)
	w.blocks = blocks
	w.back(0)
	w.scaleGradient()
	return w.grads[0]
}

// BackwardToWeights is Backward without the last step to the pixels: enough
// for WeightGradient.
func (w *Workspace) BackwardToWeights(blocks int) {
	w.mustHold(blocks)
	w.blocks = blocks
	w.back(1)
}

// normalize gives activation 0: x, or (x − mean)/std, each operation rounded once.
func (w *Workspace) normalize(x []float32) {
	n, lanes := w.net.input.Size()*int(w.layout)*w.blocks, int(w.layout)
	mean, std := w.net.Normalization()
	switch {
	case mean != nil:
	case w.layout == Singles:
		w.input = x
		return
	default:
		copy(w.acts[0][:n], x[:n])
		return
	}
	w.input = w.acts[0]
	in, c := w.acts[0][:n], w.net.input.C
	for i, ch := 0, 0; i < n; i += lanes {
		m, s := mean[ch], std[ch]
		for k := i; k < i+lanes; k++ {
			in[k] = (x[k] - m) / s
		}
		if ch++; ch == c {
			ch = 0
		}
	}
}

// scaleGradient takes the gradient through the normalize layer.
func (w *Workspace) scaleGradient() {
	_, std := w.net.Normalization()
	if std == nil {
		return
	}
	lanes := int(w.layout)
	d, ch := w.grads[0][:w.net.input.Size()*lanes*w.blocks], 0
	for i := 0; i < len(d); i += lanes {
		s := std[ch]
		for k := i; k < i+lanes; k++ {
			d[k] /= s
		}
		if ch++; ch == len(std) {
			ch = 0
		}
	}
}

// applySmall computes a map of layer a on single images.
func (w *Workspace) applySmall(a *Affine, l *kernels.Small, dst, src []float32, e kernels.Epilogue, gate []float32) {
	parts := a.split(l, w.blocks, len(w.sc))
	w.product = product{l, dst, src, gate, parts, e}
	w.pool.Run(parts, w.part)
}

func (w *Workspace) mustHold(blocks int) {
	if blocks < 0 || blocks > w.room {
		panic(fmt.Sprintf("net: %d blocks in a workspace for %d", blocks, w.room))
	}
}
