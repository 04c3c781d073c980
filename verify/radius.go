package verify

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/epsball/epsball/net"
)

// RadiusResult holds one entry an image.
type RadiusResult struct {
	// Steps is the certified radius in units of the resolution: the ball of
	// radius Steps·resolution is certified; −1: not even ε = 0 is.
	Steps []int
	// Radius is Steps·resolution rounded down; 0 where Steps is −1.
	Radius []float64
	Done   []bool
}

// Radius finds for each image the largest multiple of resolution, up to max,
// whose ball is certified, by bisection. Each radius returned was itself
// certified; that bounds grow with ε is used for speed alone. When ctx ends it
// returns the context's error; images with res.Done are then complete.
func (v *IBP) Radius(ctx context.Context, norm net.Norm, resolution, max net.Epsilon, b Batch, res *RadiusResult) error {
	if err := v.check(b); err != nil {
		return err
	}
	steps, err := radiusSteps(norm, resolution, max)
	if err != nil {
		return err
	}
	res.resize(len(b.Y))
	for _, w := range v.workers {
		clear(w.boxes)
	}
	if v.few != nil {
		clear(v.few.boxes)
	}
	return v.run(ctx, b, &radiusJob{v, norm, resolution, steps, res})
}

// radiusSteps returns how many steps of the resolution lead to the largest radius.
func radiusSteps(norm net.Norm, resolution, max net.Epsilon) (int, error) {
	if err := (net.Ball{Norm: norm, Eps: max}).Validate(); err != nil {
		return 0, fmt.Errorf("largest radius: %w", err)
	}
	if resolution.Rat().Sign() <= 0 {
		return 0, errors.New("resolution: want a value > 0")
	}
	q := new(big.Rat).Quo(max.Rat(), resolution.Rat())
	steps := new(big.Int).Quo(q.Num(), q.Denom())
	const limit = 1 << 24
	if steps.Cmp(big.NewInt(limit)) > 0 {
		return 0, fmt.Errorf("resolution: %s divides the largest radius %s into more than %d steps", resolution, max, limit)
	}
	return int(steps.Int64()), nil
}

func (r *RadiusResult) resize(n int) {
	*r = RadiusResult{Steps: make([]int, n), Radius: make([]float64, n), Done: make([]bool, n)}
}

// set finishes image i.
func (r *RadiusResult) set(i, steps int, resolution net.Epsilon) {
	r.Steps[i], r.Done[i] = steps, true
	if steps > 0 {
		r.Radius[i], _ = resolution.Times(steps).Bounds()
	}
}

type radiusJob struct {
	v          *IBP
	norm       net.Norm
	resolution net.Epsilon
	max        int
	res        *RadiusResult
}

// chunk bisects all images of a chunk in lock-step: lo is certified (or −1),
// hi is not (or beyond the largest).
func (j *radiusJob) chunk(w *worker, from, to int) {
	var lo, hi [len(w.eps)]int
	n := to - from
	for i := range n {
		lo[i], hi[i] = -1, j.max+1
	}
	for {
		open := false
		for i := range n {
			if hi[i]-lo[i] > 1 {
				open = true
			}
			w.load(i, from+i, j.norm, j.box(w, max(0, (lo[i]+hi[i])/2)))
		}
		if !open {
			break
		}
		if j.v.ctx.Err() != nil {
			return
		}
		w.bound(j.norm, n)
		for i := range n {
			if hi[i]-lo[i] <= 1 {
				continue
			}
			mid := (lo[i] + hi[i]) / 2
			if w.margin(i, j.v.b.Y[from+i]) > 0 {
				lo[i] = mid
			} else {
				hi[i] = mid
			}
		}
	}
	for i := range n {
		j.res.set(from+i, lo[i], j.resolution)
	}
}

func (j *radiusJob) box(w *worker, k int) net.Box {
	b, ok := w.boxes[k]
	if !ok {
		b = net.Ball{Norm: j.norm, Eps: j.resolution.Times(k)}.Box()
		w.boxes[k] = b
	}
	return b
}
