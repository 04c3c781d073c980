package audit

import (
	"context"
	"math"
	"slices"
	"sync"
)

// checkFinite: no pixel is NaN or infinite.
func checkFinite(ctx context.Context, c *Case) Finding {
	return c.each(ctx, "finite", " are finite", func(i int) bool {
		return !slices.ContainsFunc(c.image(c.Result.Adv, i), func(v float32) bool {
			return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0)
		})
	})
}

// checkInside: points lie in ball and pixel box, exactly.
func checkInside(ctx context.Context, c *Case) Finding {
	if c.anywhere() {
		return c.each(ctx, "inside", " in [0,1]", func(i int) bool {
			return !slices.ContainsFunc(c.image(c.Result.Adv, i), func(v float32) bool { return !(v >= 0 && v <= 1) })
		})
	}
	return c.each(ctx, "inside", " in "+c.Config.Ball.String()+" and [0,1]", func(i int) bool {
		return c.Config.Ball.Contains(c.image(c.Batch.X, i), c.image(c.Result.Adv, i))
	})
}

// checkPredictions compares with a fresh forward pass what the attack says of the images
// and of the adversarial ones. A point of a target that draws random numbers has no class
// of its own: it must fool the target in half of its draws.
func checkPredictions(ctx context.Context, c *Case) Finding {
	if c.randomised() {
		return c.likely(ctx)
	}
	adv, err := c.predict(ctx, c.Result.Adv, 0)
	var clean []int
	if err == nil {
		clean, err = c.predict(ctx, c.Batch.X, 0)
	}
	if err != nil {
		return broken(ctx, err)
	}
	r := c.Result
	return c.each(ctx, "predictions", " the same in a fresh forward pass", func(i int) bool {
		right := clean[i] == c.Batch.Y[i]
		return adv[i] == r.Label[i] && right == r.Clean[i] && r.Success[i] == (right && c.fools(i, adv[i]))
	})
}

// checkLattice: points that fool are pictures of as many bits as asked for, so that saving
// them changes nothing.
func checkLattice(_ context.Context, c *Case) Finding {
	if c.Config.Lattice == 0 {
		return skip("pixels need not be on a lattice")
	}
	top := float64(int(1)<<c.Config.Lattice - 1)
	var off []int
	for _, i := range c.fooled {
		if slices.ContainsFunc(c.image(c.Result.Adv, i), func(v float32) bool {
			return float32(math.Round(float64(v)*top))/float32(top) != v
		}) {
			off = append(off, i)
		}
	}
	if len(off) == 0 {
		return fine("%s that fool are multiples of 1/%.0f", count(len(c.fooled), "point"), top)
	}
	return c.say(Fail, off, "%d of %s that fool are no multiples of 1/%.0f: saved as pictures, they change", len(off), count(len(c.fooled), "point"), top)
}

const draws = 9

// likely draws the random numbers of the target anew.
func (c *Case) likely(ctx context.Context) Finding {
	if len(c.fooled) == 0 {
		return skip("the attack fooled no image")
	}
	times := make([]int, len(c.Result.Begun))
	for draw := range draws {
		adv, err := c.predict(ctx, c.Result.Adv, draw)
		if err != nil {
			return broken(ctx, err)
		}
		for _, i := range c.fooled {
			if c.fools(i, adv[i]) {
				times[i]++
			}
		}
	}
	var lucky []int
	for _, i := range c.fooled {
		if 2*times[i] < draws {
			lucky = append(lucky, i)
		}
	}
	if len(lucky) == 0 {
		return fine("each of %s fools most draws of the target's random numbers", count(len(c.fooled), "point"))
	}
	return c.say(Warn, lucky, "%d of %s fool less than half of %d draws of the target's random numbers: they were found by luck",
		len(lucky), count(len(c.fooled), "point"), draws)
}

// predict returns the classes of the images of x that are begun.
func (c *Case) predict(ctx context.Context, x []float32, draw int) ([]int, error) {
	if len(c.begun) < len(c.Result.Begun) {
		x = c.pick(x, c.begun)
	}
	p, err := predict(ctx, c.Target, c.Pool, x, len(c.begun), draw)
	if err != nil {
		return nil, err
	}
	all := make([]int, len(c.Result.Begun))
	for k, i := range c.begun {
		all[i] = p[k]
	}
	return all, nil
}

// each runs good on every image that is begun, on all workers. Its detail reads "5 of 7
// images" and then what.
func (c *Case) each(ctx context.Context, name, what string, good func(i int) bool) Finding {
	var mu sync.Mutex
	var bad []int
	looked := 0
	const block = 16
	n := len(c.begun)
	c.Pool.Run((n+block-1)/block, func(_, task int) {
		for _, i := range c.begun[task*block : min((task+1)*block, n)] {
			if ctx.Err() != nil {
				return
			}
			holds := good(i)
			mu.Lock()
			looked++
			done := looked
			if !holds {
				bad = append(bad, i)
			}
			mu.Unlock()
			c.Progress(name, done, n)
		}
	})
	images := count(n, "image")
	switch {
	case len(bad) > 0:
		slices.Sort(bad)
		return c.say(Fail, bad, "%d of %s%s", looked-len(bad), images, what)
	case looked < n:
		return Finding{Verdict: Stopped, Detail: count(looked, "image") + " of " + images + " looked at before it was stopped"}
	}
	return fine("%d of %s%s", n, images, what)
}
