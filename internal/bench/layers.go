package bench

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/internal/machine"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/report"
)

// layerOp is one operation of a layer. Each takes 2·MACs operations.
type layerOp struct {
	name    string
	weights bool // of the weights: a layer without has none
	traffic nodeTraffic
	dense   func(w *layerWork)
	other   func(w *nodeWork)
}

var layerOps = []layerOp{
	{"forward", false, forwardTraffic, (*layerWork).forward, (*nodeWork).forward},
	{"backward-input", false, backwardTraffic, (*layerWork).backwardInput, (*nodeWork).backwardInput},
	{"backward-weights", true, forwardTraffic, (*layerWork).backwardWeights, (*nodeWork).backwardWeights},
}

// task makes a batch for node i.
func (op *layerOp) task(ctx context.Context, n *net.Network, isa *kernels.ISA, i, images, threads int) *task {
	if a, ok := n.Nodes()[i].Op.(*net.Affine); ok {
		w := newLayerWork(ctx, n, isa, a, images, threads)
		op.dense(w)
		return &task{w.run, w.pool}
	}
	w := newNodeWork(ctx, n, isa, i, images, threads)
	op.other(w)
	return &task{w.run, w.pool}
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
				for i := range n.Nodes() {
					if op.weights && weightsOf(n, i) == 0 {
						continue
					}
					group := fmt.Sprintf("layer/%s/%s/%s/b%d", op.name, name, n.Nodes()[i].Name, batch)
					list = b.expand(list, group, []string{direct}, func(threads int, isa *kernels.ISA, _ string) benchCase {
						return benchCase{
							kind: report.RowLayer, batch: batch, level: op.level(n, i, batch),
							flop:  2 * float64(n.Nodes()[i].MACs()) * float64(batch),
							bytes: op.traffic(n, i, batch),
							prepare: func(ctx context.Context) (*task, error) {
								n, err := b.subjects.net(m, isa, direct)
								if err != nil {
									return nil, err
								}
								return op.task(ctx, n, isa, i, batch, threads), nil
							},
						}
					})
				}
			}
		}
	}
	return list, nil
}

// level is the memory under a node that memory limits: the room of its activations, of a
// chunk of the batch, or of all of it for a gradient of weights. It is none for other
// nodes.
func (op *layerOp) level(n *net.Network, i, images int) machine.Level {
	if !memoryBound(n, i) {
		return machine.Level{}
	}
	elements := n.Nodes()[i].Shape.Size()
	for _, k := range n.Nodes()[i].In {
		elements += sizeOf(n, k)
	}
	switch groups := kernels.Groups(images); {
	case op.weights:
		images = groups * kernels.Lanes
	case !n.Few(images):
		images = min(n.ISA().TileGroups(), groups) * kernels.Lanes
	}
	return machine.Level{Name: "activations", Bytes: max(4*elements*images, leastLevel)}
}

// leastLevel is a size that is in the fastest cache, and long enough to be read fast.
const leastLevel = 8 << 10

// layerWork is a batch for one dense layer. As in a pass, each worker takes a chunk
// at a time through buffers of its own; a gradient of weights alone reads the
// whole batch.
type layerWork struct {
	ctx     context.Context
	net     *net.Network
	isa     *kernels.ISA
	layer   *net.Affine
	images  int
	groups  int
	pool    *kernels.Pool
	scratch []kernels.Scratch
	random  *kernels.Stream
	run     func()
}

func newLayerWork(ctx context.Context, n *net.Network, isa *kernels.ISA, layer *net.Affine, images, threads int) *layerWork {
	random := kernels.NewStream(1, 0, 0)
	return &layerWork{
		ctx: ctx, net: n, isa: isa, layer: layer,
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
	if gated(w.net, w.layer.Src) {
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
	count := net.Chunks(w.net.ISA(), w.groups, len(bufs))
	most := min(w.net.ISA().TileGroups(), w.groups)
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
