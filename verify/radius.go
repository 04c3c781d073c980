package verify

import (
	"context"
	"fmt"

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

// radiusGrid is the radii of a search: 0 … most times the resolution.
type radiusGrid struct {
	norm       net.Norm
	resolution net.Epsilon
	most       int
}

func (g *radiusGrid) ball(k int) net.Ball { return net.Ball{Norm: g.norm, Eps: g.resolution.Times(k)} }

// Radius finds for each image the largest multiple of resolution, up to max, whose ball
// is certified. Intervals find theirs by bisection; with Ladder each method, else the
// last one alone, goes on from the radius that the cheaper ones certified (Search, near),
// so that the dearest does the last few steps alone. Each radius returned was itself
// certified; that bounds grow with ε is used for speed alone, and the search of an image
// depends on no other. When ctx ends it returns the context's error; images with
// res.Done are then complete.
func (v *Verifier) Radius(ctx context.Context, o Options, norm net.Norm, resolution, max net.Epsilon, b Batch, res *RadiusResult) error {
	c, err := v.beginImages(ctx, &o, b)
	if err != nil {
		return err
	}
	defer c.end()
	if err := checkBall(net.Ball{Norm: norm, Eps: max}); err != nil {
		return fmt.Errorf("largest radius: %w", err)
	}
	steps, err := net.RadiusSteps(resolution, max)
	if err != nil {
		return err
	}
	c.radii, c.grid = res, radiusGrid{norm, resolution, steps}
	res.resize(c.n)
	if o.Property == nil {
		if err := v.ibp(); err != nil {
			return err
		}
		for _, w := range v.intervals.workers {
			clear(w.boxes)
		}
		if w := v.intervals.few; w != nil {
			clear(w.boxes)
		}
		if err := v.intervals.run(c, radiusChunk); err != nil || o.Method == MethodIBP {
			if o.Method != MethodIBP {
				clear(res.Done)
			}
			return err
		}
	} else {
		for i := range res.Steps {
			res.Steps[i] = -1
		}
	}
	clear(res.Done)
	c.all()
	return c.run(radiusOne)
}

// radiusOne goes on with image i from what intervals have proved.
func radiusOne(c *call, w *linearWorker, i int) {
	proved := c.radii.Steps[i]
	for m := c.first(); m <= c.o.Method; m++ {
		if m == MethodAlphaCROWN && c.o.Ladder && !c.o.RowsOnly { // slopes of the goal's rows alone go most of the way
			proved = radiusRung(c, w, m, i, proved, true)
		}
		proved = radiusRung(c, w, m, i, proved, c.o.RowsOnly)
	}
	if c.ctx.Err() == nil {
		c.radii.set(i, proved, c.grid.resolution)
	}
}

// radiusRung is one method's part of it; what it returns means nothing if the context ends.
func radiusRung(c *call, w *linearWorker, m Method, i, proved int, rowsOnly bool) int {
	s, t := NewSearch(proved, c.grid.most+1, true), newAttempt(c.ctx, &c.o, m, c.goal(i))
	if t.rowsOnly = rowsOnly; !rowsOnly && m == MethodAlphaCROWN && c.v.keeps != nil {
		t.warm = c.v.keeps(w)
	}
	for k, open := s.Next(); open && c.ctx.Err() == nil; k, open = s.Next() {
		a := area{norm: c.grid.norm, box: c.grid.ball(k).Box(), centre: c.centre(i)}
		s.Tell(w.try(&t, &a) > 0)
	}
	return s.Proved()
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

// radiusChunk bisects all images of a chunk in lock-step: lo is certified (or −1), hi is
// not (or beyond the largest).
func radiusChunk(c *call, w *intervalWorker, from, to int) {
	var lo, hi [len(w.eps)]int
	n := to - from
	for i := range n {
		lo[i], hi[i] = -1, c.grid.most+1
	}
	for {
		open := false
		for i := range n {
			if hi[i]-lo[i] > 1 {
				open = true
			}
			a := area{norm: c.grid.norm, box: w.boxAt(&c.grid, max(0, (lo[i]+hi[i])/2)), centre: c.centre(from + i)}
			w.load(i, &a)
		}
		if !open {
			break
		}
		if c.ctx.Err() != nil {
			return
		}
		w.propagate(c.grid.norm, n, nil)
		for i := range n {
			if hi[i]-lo[i] <= 1 {
				continue
			}
			mid := (lo[i] + hi[i]) / 2
			if w.margin(i, c.y[from+i]) > 0 {
				lo[i] = mid
			} else {
				hi[i] = mid
			}
		}
	}
	for i := range n {
		c.radii.set(from+i, lo[i], c.grid.resolution)
	}
}

// boxAt returns the box of radius k of the grid.
func (w *intervalWorker) boxAt(g *radiusGrid, k int) net.Box {
	b, ok := w.boxes[k]
	if !ok {
		b = g.ball(k).Box()
		w.boxes[k] = b
	}
	return b
}
