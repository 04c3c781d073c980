package attack

import (
	"context"
	"errors"
	"fmt"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// deployed is the run of the slots on which a target is used, not attacked: what it draws
// there, no attack has seen.
const deployed = -1

// Logits writes what the target says of the images of b.X to dst, [images][classes]. A target that
// draws random numbers draws once for each image, and as often as it is asked the
// same; no attack meets these numbers. It makes buffers of its own. When ctx ends, dst is
// incomplete, and the error is the context's.
func Logits(ctx context.Context, t Target, pool *kernels.Pool, dst []float32, b Batch) error {
	c := t.Classes()
	n := len(dst) / c
	if network, ok := t.(*net.Network); ok {
		return network.NewRunner(pool).Logits(ctx, dst, b.X, n)
	}
	if err := t.CheckImages(b.X, n); err != nil {
		return err
	}
	if len(dst) != n*c {
		return fmt.Errorf("logits: %d values, want some for whole images of %d classes", len(dst), c)
	}
	if b.Index != nil && len(b.Index) != n {
		return fmt.Errorf("indices: %d, want one for each of %d images", len(b.Index), n)
	}
	workers, slots := pool.Workers(), t.ISA().TileGroups()*kernels.Lanes
	few := t.Few(n)
	if few {
		workers, slots = 1, net.MaxSmall
	}
	passes := make([]Passes, workers)
	do := func(worker, task int) {
		if ctx.Err() != nil {
			return
		}
		if passes[worker] == nil {
			passes[worker] = t.Passes(n, pool)
		}
		from := task * slots
		to := min(from+slots, n)
		classify(t, passes[worker], dst[from*c:to*c], &b, from, to)
	}
	tasks := (n + slots - 1) / slots
	if !few {
		pool.Run(tasks, do)
		return ctx.Err()
	}
	for task := range tasks { // the passes use the pool
		do(0, task)
	}
	return ctx.Err()
}

// classify writes the logits of images from … to−1 to dst.
func classify(t Target, p Passes, dst []float32, b *Batch, from, to int) {
	l, in, c := p.Layout(), t.Input(), t.Classes()
	blocks := l.Blocks(to - from)
	x := kernels.Alloc(l.Len(blocks, in.Size()))
	slots := make([]Slot, blocks*int(l))
	for i := from; i < to; i++ {
		l.Pack(x, b.X[i*in.Size():(i+1)*in.Size()], in, i-from)
		slots[i-from].Image = b.index(i)
	}
	for s := range slots {
		slots[s].Place, slots[s].Seat, slots[s].Run = s, s, deployed
	}
	if r, ok := p.(Randomised); ok {
		r.Seat(slots)
	}
	z := p.Forward(x, blocks)
	for i := range to - from {
		l.Gather(dst[i*c:(i+1)*c], z, i)
	}
}

// Predict returns the classes by Logits, −1 where they hold NaN.
func Predict(ctx context.Context, t Target, pool *kernels.Pool, b Batch) ([]int, error) {
	c := t.Classes()
	z := make([]float32, len(b.X)/t.Input().Size()*c)
	if err := Logits(ctx, t, pool, z, b); err != nil {
		return nil, err
	}
	classes := make([]int, len(z)/c)
	for i := range classes {
		classes[i] = net.Argmax(z[i*c : (i+1)*c])
	}
	return classes, nil
}

// Judge puts what t says in place of what the attack saw: Clean, Success, Label and Margin
// of the images that are begun, by Logits. That is for a result found on another target,
// such as the network without its defence (transfer), and for a target that draws random
// numbers: these are numbers by which the points were not chosen. When ctx ends, the
// result is as before, and the error is the context's.
func Judge(ctx context.Context, t Target, pool *kernels.Pool, b Batch, res *Result) error {
	n, size, c := len(b.Y), t.Input().Size(), t.Classes()
	if len(res.Begun) != n || len(res.Adv) != n*size {
		return errors.New("judge: the result is of another batch")
	}
	if err := t.CheckLabels(b.Y, n); err != nil {
		return err
	}
	var at []int // images that are begun
	some := Batch{Index: []int{}}
	var adv []float32
	for i, begun := range res.Begun {
		if begun {
			at, some.Index = append(at, i), append(some.Index, b.ImageIndex(i))
			some.X, adv = append(some.X, b.X[i*size:(i+1)*size]...), append(adv, res.Adv[i*size:(i+1)*size]...)
		}
	}
	images, points := make([]float32, len(at)*c), make([]float32, len(at)*c)
	err := Logits(ctx, t, pool, images, some)
	if err == nil {
		some.X = adv
		err = Logits(ctx, t, pool, points, some)
	}
	if err != nil {
		return err
	}
	for k, i := range at {
		y := b.Y[i]
		z := points[k*c : (k+1)*c]
		res.Label[i], res.Margin[i] = net.Argmax(z), net.MarginOf(z, y)
		res.Clean[i] = net.Argmax(images[k*c:(k+1)*c]) == y
		fools := res.Label[i] != y
		if b.Targets != nil {
			fools = res.Label[i] == b.Targets[i]
		}
		res.Success[i] = res.Clean[i] && fools
	}
	return nil
}
