package net

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/kernels"
)

// Chunks splits groups lane groups evenly for a number of workers and returns
// the number of chunks, each of at most ISA.TileGroups groups.
func Chunks(isa *kernels.ISA, groups, workers int) int {
	most := isa.TileGroups()
	n := (groups + most - 1) / most
	n = (n + workers - 1) / workers * workers
	return min(n, groups)
}

// Chunk returns the range of lane groups of chunk i of n.
func Chunk(groups, n, i int) (from, to int) { return groups * i / n, groups * (i + 1) / n }

// Runner computes logits of batches on the workers of a pool. It must be used
// by one goroutine at a time.
type Runner struct {
	net  *Network
	pool *kernels.Pool
	ws   []*Workspace
	x    [][]float32 // lane-layout pixels, one a worker
	few  *Workspace  // on single images; nil for LargeBatches

	// The batch being run.
	ctx    context.Context
	dst    []float32
	src    []float32
	n      int
	chunks int
	f      func(worker, task int)
}

// NewRunner returns a runner on the given pool.
func (n *Network) NewRunner(pool *kernels.Pool) *Runner {
	r := &Runner{net: n, pool: pool}
	if n.HasSmall() {
		r.few = n.newSmallWorkspace(MaxSmall, pool, n.acts)
	}
	r.f = r.chunk
	return r
}

// lanes makes the buffers for large batches, when the first one comes.
func (r *Runner) lanes() {
	if len(r.ws) > 0 {
		return
	}
	for range r.pool.Workers() {
		r.ws = append(r.ws, r.net.newForwardWorkspace(r.net.isa.TileGroups()*kernels.Lanes))
		r.x = append(r.x, kernels.Alloc(r.net.isa.TileGroups()*kernels.Lanes*r.net.input.Size()))
	}
}

// Logits writes the logits of the n images in x (channels first, pixels in [0, 1]) to
// dst, [n][classes]. It allocates its buffers once, and nothing else. When ctx ends, it
// stops at once and returns the context's error; dst is then incomplete.
func (r *Runner) Logits(ctx context.Context, dst, x []float32, n int) error {
	if err := r.net.CheckImages(x, n); err != nil {
		return err
	}
	if len(dst) != n*r.net.Classes() {
		return fmt.Errorf("logits: %d values, want %d images × %d classes", len(dst), n, r.net.Classes())
	}
	if r.net.Few(n) {
		size, c := r.net.input.Size(), r.net.Classes()
		for i := 0; i < n; i += MaxSmall {
			end := min(i+MaxSmall, n)
			if err := r.few.logits(ctx, dst[i*c:end*c], x[i*size:end*size]); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	r.lanes()
	groups := kernels.Groups(n)
	r.ctx, r.dst, r.src, r.n = ctx, dst, x, n
	r.chunks = Chunks(r.net.isa, groups, r.pool.Workers())
	r.pool.Run(r.chunks, r.f)
	r.ctx, r.dst, r.src = nil, nil, nil
	return ctx.Err()
}

// logits writes the logits of at most MaxSmall images, channels first, to dst.
func (w *Workspace) logits(ctx context.Context, dst, x []float32) error {
	in := w.net.input
	size := in.Size()
	w.blocks = len(x) / size
	for i := range w.blocks {
		Singles.Pack(w.acts[0], x[i*size:(i+1)*size], in, i)
	}
	w.normalize(w.acts[0])
	if err := w.run(ctx); err != nil {
		return err
	}
	copy(dst, w.Logits()[:len(dst)])
	return ctx.Err()
}

func (r *Runner) chunk(worker, task int) {
	if r.ctx.Err() != nil {
		return
	}
	from, to := Chunk(kernels.Groups(r.n), r.chunks, task)
	i, end := from*kernels.Lanes, min(to*kernels.Lanes, r.n)
	size := r.net.input.Size()
	x := r.x[worker]
	PackLanes(x, r.src[i*size:end*size], r.net.input, end-i)
	logits := r.ws[worker].Forward(x, to-from)
	c := r.net.Classes()
	for k := i; k < end; k++ {
		LaneGroups.Gather(r.dst[k*c:(k+1)*c], logits, k-i)
	}
}

// CheckImages refuses a batch of the wrong length, and a pixel that is NaN or outside
// [0, 1]; the error names the first one.
func (n *Network) CheckImages(x []float32, count int) error {
	size := n.input.Size()
	if count < 0 || len(x) != count*size {
		return fmt.Errorf("images: %d values, want %d images of %v (%d values each)", len(x), count, n.input, size)
	}
	for i, v := range x {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("images: pixel %d of image %d is %v, want a value in [0, 1]", i%size, i/size, v)
		}
	}
	return nil
}

// CheckLabels refuses a list of labels of the wrong length or out of range.
func (n *Network) CheckLabels(y []int, count int) error {
	if len(y) != count {
		return fmt.Errorf("labels: %d, want one for each of %d images", len(y), count)
	}
	classes := n.Classes()
	if count > 0 && classes < 2 {
		return fmt.Errorf("labels: the network has %d output, want at least 2 classes", classes)
	}
	for i, v := range y {
		if v < 0 || v >= classes {
			return fmt.Errorf("labels: label of image %d is %d, want 0 … %d", i, v, classes-1)
		}
	}
	return nil
}
