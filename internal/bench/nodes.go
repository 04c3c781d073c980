package bench

import (
	"context"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// nodeWork is a batch for one node that is no dense layer: the node's part of a pass, on
// what a pass over the network has left in the buffers. Each worker takes a chunk at a
// time through buffers of its own; a gradient of weights reads the whole batch.
type nodeWork struct {
	*layerWork
	node int
}

func newNodeWork(ctx context.Context, n *net.Network, isa *kernels.ISA, node, images, threads int) *nodeWork {
	return &nodeWork{newLayerWork(ctx, n, isa, nil, images, threads), node}
}

func (w *nodeWork) forward() {
	w.each(func(ws *net.Workspace, blocks int) { ws.ForwardNode(w.node, blocks) })
}

func (w *nodeWork) backwardInput() {
	w.each(func(ws *net.Workspace, blocks int) { ws.BackwardNode(w.node, blocks) })
}

// each sets run to call f for the blocks of the batch.
func (w *nodeWork) each(f func(ws *net.Workspace, blocks int)) {
	if w.net.Few(w.images) {
		ws := w.net.NewSmallWorkspace(w.images, w.pool)
		w.fill(ws, w.images)
		w.run = func() {
			if w.ctx.Err() == nil {
				f(ws, w.images)
			}
		}
		return
	}
	list := make([]*net.Workspace, len(w.scratch))
	most := min(w.net.ISA().TileGroups(), w.groups)
	for i := range list {
		list[i] = w.net.NewWorkspace(most*kernels.Lanes, false)
		w.fill(list[i], most)
	}
	count := net.Chunks(w.net.ISA(), w.groups, len(list))
	w.setRun(count, func(worker, i int) {
		from, to := net.Chunk(w.groups, count, i)
		f(list[worker], to-from)
	})
}

// fill runs a pass, and puts random values where the node's gradient is.
func (w *nodeWork) fill(ws *net.Workspace, blocks int) {
	x := kernels.Alloc(ws.Layout().Len(blocks, w.net.Input().Size()))
	for i := range x {
		x[i] = w.random.Float32()
	}
	ws.Forward(x, blocks)
	g := ws.Gradient(w.node + 1)
	for i := range g {
		g[i] = w.random.Float32() - 0.5
	}
}

func (w *nodeWork) backwardWeights() {
	ws := w.net.NewWorkspace(w.images, true)
	w.fill(ws, w.groups)
	g := w.net.NewWeightGradient()
	from, to := g.TasksOf(w.net.Nodes()[w.node].Index)
	w.setRun(to-from, func(worker, i int) { g.Apply(&w.scratch[worker], ws, w.groups, from+i) })
}
