package audit

import (
	"context"
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Finite differences are taken with these steps, in pixel units: as long as those of an
// attack, for a slope that holds no further leads nowhere. One that agrees will do, because
// networks of ReLUs have kinks.
var differences = [...]float32{1e-2, 3e-3, 1e-3}

// slopeTolerance is how far the two slopes may be apart, relative to the larger.
const slopeTolerance = 0.2

// checkFiniteDifferences: the gradient predicts how the margin of a point changes: along
// the sign of the gradient, and along random signs.
func checkFiniteDifferences(ctx context.Context, c *Case) Finding {
	switch {
	case !c.Target.HasBackward():
		return skip("the target has no gradients")
	case c.randomised():
		return skip("the target draws random numbers, so a point has no logits of its own")
	}
	places := c.left()
	if len(places) == 0 {
		places = c.fooled
	}
	if places = c.first(places, 8); len(places) == 0 {
		return skip("no image was classified correctly")
	}
	x := c.pick(c.Batch.X, places)
	for k, v := range x { // away from the edges of the pixel box
		x[k] = differences[0] + v*(1-2*differences[0])
	}
	s := slopes{c: c, x: x, places: places}
	if err := s.margins(ctx); err != nil {
		return broken(ctx, err)
	}
	var wrong []int
	good := make([]bool, len(places))
	for k := range good {
		good[k] = true
	}
	for _, along := range []func(k int) []float32{s.sign, s.random} {
		agree, err := s.agree(ctx, along)
		if err != nil {
			return broken(ctx, err)
		}
		for k, a := range agree {
			good[k] = good[k] && a
		}
	}
	for k, i := range places {
		if !good[k] {
			wrong = append(wrong, i)
		}
	}
	images := count(len(places), "image")
	if 8*len(wrong) <= len(places) {
		return c.say(OK, wrong, "gradient and finite differences agree on %d of %s", len(places)-len(wrong), images)
	}
	return c.say(Warn, wrong, "the gradient differs from finite differences by more than %.0f%% on %d of %s: it is masked, or stands in for another", 100*slopeTolerance, len(wrong), images)
}

// slopes compares gradients with finite differences at points x.
type slopes struct {
	c      *Case
	x      []float32
	places []int

	other []int     // the class, but for the label, most likely at each point
	grad  []float32 // of z_other − z_y
	size  float64   // largest logit
}

// margins finds classes and gradients.
func (s *slopes) margins(ctx context.Context) error {
	n, classes, size := len(s.places), s.c.Target.Classes(), s.c.Target.Input().Size()
	z, err := logits(ctx, s.c.Target, s.c.Pool, s.x, n, 0)
	if err != nil {
		return err
	}
	dz := make([]float32, classes)
	passes := s.c.Target.Passes(n, s.c.Pool)
	layout, slots := passes.Layout(), net.MaxSmall
	if layout == net.LaneGroups {
		slots = s.c.Target.ISA().TileGroups() * kernels.Lanes
	}
	x := kernels.Alloc(layout.Len(layout.Blocks(slots), size))
	s.grad = make([]float32, len(s.x))
	for at := 0; at < n; at += slots {
		m := min(slots, n-at)
		for k := range m {
			layout.Pack(x, s.c.image(s.x, at+k), s.c.Target.Input(), k)
		}
		passes.Forward(x, layout.Blocks(m))
		for k := range m {
			net.Margin.Gradient(dz, z[(at+k)*classes:(at+k+1)*classes], s.c.Batch.Y[s.places[at+k]], net.Untargeted)
			layout.Scatter(passes.LogitGradient(), dz, k)
			other := 0
			for j, v := range dz {
				if v > 0 {
					other = j
				}
			}
			s.other = append(s.other, other)
		}
		g := passes.Backward(layout.Blocks(m))
		for k := range m {
			layout.Unpack(s.c.image(s.grad, at+k), g, s.c.Target.Input(), k)
		}
	}
	for _, v := range z {
		s.size = max(s.size, math.Abs(float64(v)))
	}
	return ctx.Err()
}

func (s *slopes) sign(k int) []float32 {
	d := make([]float32, s.c.Target.Input().Size())
	for i, g := range s.c.image(s.grad, k) {
		switch {
		case g > 0:
			d[i] = 1
		case g < 0:
			d[i] = -1
		}
	}
	return d
}

func (s *slopes) random(k int) []float32 {
	d := make([]float32, s.c.Target.Input().Size())
	r := kernels.NewStream(0, uint64(k), 0)
	for i := range d {
		d[i] = 1
		if r.Float32() < 0.5 {
			d[i] = -1
		}
	}
	return d
}

// agree reports for each point whether the two slopes along a direction are the same.
func (s *slopes) agree(ctx context.Context, along func(k int) []float32) ([]bool, error) {
	n, classes := len(s.places), s.c.Target.Classes()
	good := make([]bool, n)
	for _, h := range differences {
		up, down := append([]float32{}, s.x...), append([]float32{}, s.x...)
		want, norm := make([]float64, n), make([]float64, n)
		for k := range n {
			u, d, g := s.c.image(up, k), s.c.image(down, k), s.c.image(s.grad, k)
			for i, v := range along(k) {
				u[i] += float32(h * v)
				d[i] -= float32(h * v)
				want[k] += float64(float64(g[i]) * (float64(u[i]) - float64(d[i])))
				norm[k] += float64(float64(g[i]) * float64(g[i]))
			}
		}
		var margin [2][]float64
		for side, x := range [2][]float32{up, down} {
			z, err := logits(ctx, s.c.Target, s.c.Pool, x, n, 0)
			if err != nil {
				return nil, err
			}
			for k, i := range s.places {
				zk := z[k*classes : (k+1)*classes]
				margin[side] = append(margin[side], float64(zk[s.other[k]])-float64(zk[s.c.Batch.Y[i]]))
			}
		}
		for k := range n {
			have := margin[0][k] - margin[1][k]
			scale := max(math.Abs(have), math.Abs(want[k]), 2*float64(h)*math.Sqrt(norm[k]))
			good[k] = good[k] || math.Abs(have-want[k]) <= slopeTolerance*scale+0x1p-18*s.size
		}
	}
	return good, nil
}
