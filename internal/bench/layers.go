package bench

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// layerOp is one kernel of an affine layer. Each takes 2·MACs operations.
type layerOp struct {
	name    string
	prepare func(w *layerWork)
	traffic layerTraffic
}

var layerOps = []layerOp{
	{"forward", (*layerWork).forward, forwardTraffic},
	{"backward-input", (*layerWork).backwardInput, backwardTraffic},
	{"backward-weights", (*layerWork).backwardWeights, forwardTraffic},
}

// layerTraffic returns the bytes that an operation of layer i cannot but move:
// the weights once, the activations of the batch in and out.
type layerTraffic func(n *net.Network, i, images int) float64

func forwardTraffic(n *net.Network, i, images int) float64 {
	s := n.Layers()[i].Shape
	return 4 * float64(s.Weights()+images*(s.In()+s.Out()))
}

func backwardTraffic(n *net.Network, i, images int) float64 {
	t := forwardTraffic(n, i, images)
	if gated(n, i) {
		t += 4 * float64(images*n.Layers()[i].Shape.In())
	}
	return t
}

// intervalTraffic is that of centres and radii, with W and |W|.
func intervalTraffic(n *net.Network, i, images int) float64 { return 2 * forwardTraffic(n, i, images) }

// gated reports whether the gradient at the input of layer i passes a ReLU.
func gated(n *net.Network, i int) bool {
	src := n.Layers()[i].Src
	return src > 0 && n.Layers()[src-1].ReLU
}

// traffic is that of a pass: the sum over its layers.
func (p *pass) traffic(n *net.Network, images int) float64 {
	sum := 0.0
	for i := range n.Layers() {
		for _, t := range p.layers {
			sum += t(n, i, images)
		}
	}
	return sum
}

func (b *bench) layerCases() ([]benchCase, error) {
	var list []benchCase
	for m := range b.subjects.list {
		name := b.subjects.list[m].Name
		n, err := b.subjects.net(m, b.ISAs[0], direct)
		if err != nil {
			return nil, err
		}
		for _, op := range layerOps {
			for _, batch := range b.Batches {
				for i, l := range n.Layers() {
					group := fmt.Sprintf("layer/%s/%s/%s/b%d", op.name, name, l.Name, batch)
					list = b.expand(list, group, []string{direct}, func(threads int, isa *kernels.ISA, _ string) benchCase {
						return benchCase{
							kind: KindLayer, batch: batch,
							flop:  2 * float64(l.Shape.MACs()) * float64(batch),
							bytes: op.traffic(n, i, batch),
							prepare: func(ctx context.Context) (*task, error) {
								w := newLayerWork(ctx, n, isa, i, batch, threads)
								op.prepare(w)
								return &task{w.run, w.pool}, nil
							},
						}
					})
				}
			}
		}
	}
	return list, nil
}

// layerWork is a batch for one layer. As in a pass, each worker takes a chunk
// at a time through buffers of its own; a gradient of weights alone reads the
// whole batch.
type layerWork struct {
	ctx     context.Context
	net     *net.Network
	isa     *kernels.ISA
	index   int
	layer   *net.Affine
	images  int
	groups  int
	pool    *kernels.Pool
	scratch []kernels.Scratch
	random  *kernels.Stream
	run     func()
}

func newLayerWork(ctx context.Context, n *net.Network, isa *kernels.ISA, index, images, threads int) *layerWork {
	random := kernels.NewStream(1, 0, 0)
	return &layerWork{
		ctx: ctx, net: n, isa: isa, index: index, layer: &n.Layers()[index],
		images: images, groups: kernels.Groups(images),
		pool: kernels.NewPool(threads), scratch: make([]kernels.Scratch, threads), random: &random,
	}
}

// tensor returns random values in [−½, ½) with size elements an image.
func (w *layerWork) tensor(groups, size int) []float32 {
	t := kernels.Alloc(groups * size * kernels.Lanes)
	for i := range t {
		t[i] = w.random.Float32() - 0.5
	}
	return t
}

// singles returns random values for single images with size elements each.
func (w *layerWork) singles(size int) []float32 {
	t := kernels.Alloc(w.images * size)
	for i := range t {
		t[i] = w.random.Float32() - 0.5
	}
	return t
}

func (w *layerWork) forward() {
	if w.net.Few(w.images) {
		l, parts := w.layer.Small(w.images, len(w.scratch))
		w.small(l, parts, w.epilogue())
		return
	}
	l := kernels.NewForward(w.isa, w.layer.Shape)
	l.Pack(w.layer.Weights(), false)
	l.SetBias(w.layer.B)
	w.chunks(l, w.epilogue())
}

// small sets run to apply l to single images.
func (w *layerWork) small(l *kernels.Small, parts int, e kernels.Epilogue) {
	dst, src, gate := w.singles(l.Out()), w.singles(l.In()), w.singles(l.Out())
	w.setRun(parts, func(worker, part int) {
		l.Apply(&w.scratch[worker], dst, src, w.images, e, gate, part, parts)
	})
}

func (w *layerWork) epilogue() kernels.Epilogue {
	if w.layer.ReLU {
		return kernels.ReLU
	}
	return kernels.None
}

func (w *layerWork) backwardInput() {
	e := kernels.None
	if gated(w.net, w.index) {
		e = kernels.Gate
	}
	if w.net.Few(w.images) {
		l, parts := w.layer.SmallAdjoint(w.images, len(w.scratch))
		w.small(l, parts, e)
		return
	}
	l := kernels.NewAdjoint(w.isa, w.layer.Shape)
	l.Pack(w.layer.Weights(), false)
	w.chunks(l, e)
}

// chunks sets run to apply l to the batch.
func (w *layerWork) chunks(l *kernels.Linear, e kernels.Epilogue) {
	type buffers struct{ dst, src, gate []float32 }
	bufs := make([]buffers, len(w.scratch))
	count := net.Chunks(w.groups, len(bufs))
	most := min(net.ChunkGroups, w.groups)
	for i := range bufs {
		bufs[i] = buffers{kernels.Alloc(most * l.Out() * kernels.Lanes), w.tensor(most, l.In()), nil}
		if e == kernels.Gate {
			bufs[i].gate = w.tensor(most, l.Out())
		}
	}
	w.setRun(count, func(worker, i int) {
		from, to := net.Chunk(w.groups, count, i)
		b := &bufs[worker]
		l.Apply(&w.scratch[worker], b.dst, b.src, to-from, e, b.gate)
	})
}

func (w *layerWork) backwardWeights() {
	s := w.layer.Shape
	g := kernels.NewWeightGrad(w.isa, s)
	dw, db := make([]float32, s.Weights()), make([]float32, s.OutC)
	dy, x := w.tensor(w.groups, s.Out()), w.tensor(w.groups, s.In())
	w.setRun(g.Tasks(), func(worker, i int) {
		from, to := g.Channels(i)
		g.Apply(&w.scratch[worker], dw[from*s.FanIn():to*s.FanIn()], db[from:to], dy, x, w.groups, i)
	})
}

func (w *layerWork) setRun(tasks int, f func(worker, i int)) {
	one := func(worker, i int) {
		if w.ctx.Err() == nil {
			f(worker, i)
		}
	}
	w.run = func() { w.pool.Run(tasks, one) }
}
