package attack

import (
	"math"

	"github.com/epsball/epsball/net"
)

// planes projects points of the pixel box to hyperplanes inside it. It has memory for one
// point and is used by one goroutine.
//
// The point t goes to the nearest t + d with w·(t + d) = w·t − c and 0 ≤ t + d ≤ 1. Each
// pixel can move by its room, to the end of the box on one side. Where all rooms together
// do not reach the plane, the point goes to the corner nearest to it. Croce & Hein 2020
// (FAB), equations (3) to (6), solve the same problem by sorting. The sums here are
// those of the pixels that are still free, so that their pass ends after a few rounds.
type planes struct {
	norm   net.Norm
	weight []float64 // |w| of the free pixels
	room   []float64
	pixels []rated // for L1
}

// rated is a pixel that is worth moving: its weight, its room and its index.
type rated struct {
	weight, room float64
	k            int
}

func newPlanes(norm net.Norm, size int) *planes {
	p := &planes{norm: norm}
	if norm == net.L1 {
		p.pixels = make([]rated, 0, size)
	} else {
		p.weight, p.room = make([]float64, size), make([]float64, size)
	}
	return p
}

// project writes the shift d of t and returns its norm. It is zero if no number of
// w is different from zero, or if a sum of them is not finite.
func (p *planes) project(d []float64, t, w []float32, c float64) (norm float64) {
	side := float32(1)
	if c < 0 {
		side, c = -1, -c
	}
	if p.norm == net.L1 {
		return p.dearest(d, t, w, side, c)
	}
	level, ok := p.level(t, w, side, c)
	if !ok {
		clear(d)
		return 0
	}
	sum := 0.0
	for k, v := range w {
		v *= side
		a, r := math.Abs(float64(v)), room(t[k], v)
		switch {
		case v == 0:
			r = 0
		case p.norm == net.L2:
			r = min(r, float64(level*a))
			sum += float64(r * r)
		default:
			r = min(r, level)
			sum = max(sum, r)
		}
		if v > 0 {
			r = -r
		}
		d[k] = r
	}
	if p.norm == net.L2 {
		return math.Sqrt(sum)
	}
	return sum
}

// room is how far a pixel can move against the sign of w.
func room(t, w float32) float64 {
	if w > 0 {
		return float64(t)
	}
	return 1 - float64(t)
}

// level returns the λ with Σ |w|·min(λ·u, room) = c, where u is 1 for Linf and |w| for L2;
// +Inf if there is none. The sum is concave in λ, so Newton's steps from 0 stay below λ,
// and a pixel whose room is used up need not be looked at again.
func (p *planes) level(t, w []float32, side float32, c float64) (level float64, ok bool) {
	free, slope := 0, 0.0
	for k, v := range w {
		v *= side
		r := room(t[k], v)
		if v == 0 || r <= 0 {
			continue
		}
		a := math.Abs(float64(v))
		p.weight[free], p.room[free] = a, r
		free++
		slope += p.slope(a)
	}
	if !(slope >= 0) || math.IsInf(slope, 0) || math.IsInf(c, 0) || c != c {
		return 0, false
	}
	for free > 0 {
		level = max(0, c/slope)
		kept := 0
		slope = 0
		for i, a := range p.weight[:free] {
			r := p.room[i]
			if reach := p.reach(level, a); r < reach {
				c -= float64(a * r)
				continue
			}
			p.weight[kept], p.room[kept] = a, r
			kept++
			slope += p.slope(a)
		}
		if kept == free {
			return level, true
		}
		free = kept
	}
	return math.Inf(1), true
}

func (p *planes) slope(a float64) float64 {
	if p.norm == net.L2 {
		return float64(a * a)
	}
	return a
}

func (p *planes) reach(level, a float64) float64 {
	if p.norm == net.L2 {
		return float64(level * a)
	}
	return level
}

// dearest is project for L1: the pixels of the largest weights use up their rooms, the
// last of them as far as is needed. They are found as quicksort would find them, without
// sorting the others.
func (p *planes) dearest(d []float64, t, w []float32, side float32, c float64) (norm float64) {
	clear(d)
	q := p.pixels[:0]
	total := 0.0
	for k, v := range w {
		v *= side
		if r := room(t[k], v); v != 0 && r > 0 {
			q = append(q, rated{math.Abs(float64(v)), r, k})
			total += math.Abs(float64(v))
		}
	}
	if total != total || math.IsInf(total, 0) || math.IsInf(c, 0) || c != c {
		return 0
	}
	take := func(x rated, r float64) {
		norm += r
		if w[x.k]*side > 0 {
			r = -r
		}
		d[x.k] = r
	}
	for len(q) > 0 && c > 0 {
		above, equal, worth := split(q)
		if worth >= c {
			q = q[:above]
			continue
		}
		for _, x := range q[:above] {
			take(x, x.room)
		}
		c -= worth
		for _, x := range q[above:equal] {
			if c <= 0 {
				break
			}
			r := min(x.room, c/x.weight)
			take(x, r)
			c -= float64(x.weight * r)
		}
		q = q[equal:]
	}
	return norm
}

// split brings the pixels of larger weight than a pivot to the front and those of
// smaller weight to the end. worth is what the former can add: Σ weight·room.
func split(q []rated) (above, equal int, worth float64) {
	a, b, c := q[0].weight, q[len(q)/2].weight, q[len(q)-1].weight
	pivot := max(min(a, b), min(max(a, b), c))
	below := len(q)
	for equal < below {
		switch x := q[equal]; {
		case x.weight > pivot:
			worth += float64(x.weight * x.room)
			q[above], q[equal] = x, q[above]
			above++
			equal++
		case x.weight == pivot:
			equal++
		default:
			below--
			q[equal], q[below] = q[below], x
		}
	}
	return above, equal, worth
}
