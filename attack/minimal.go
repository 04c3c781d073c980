package attack

import (
	"errors"
	"math"

	"github.com/epsball/epsball/net"
)

// What the attacks share that look for the smallest distance by gradient.

// checkNearest is what they check: the norms that the method knows, its fields, and that
// no run repeats another.
func checkNearest(fields []Field, b net.Ball, p Plan, norms ...net.Norm) error {
	if err := checkNorm(b, norms...); err != nil {
		return err
	}
	if err := CheckFields(fields); err != nil {
		return err
	}
	if p.Restarts > 1 && !p.Targeted {
		return errors.New("restarts: all untargeted runs are the same; want targeted, where each has another class")
	}
	return nil
}

// huge is where settings and gradients are cut: far beyond what makes a difference, and
// far from overflow.
const huge = 1e15

// or returns v, or usual if v is zero.
func or[T int | float64](v, usual T) T {
	if v == 0 {
		return usual
	}
	return v
}

// one lends a rule one image at a time, element after element in the order of the layout:
// the point, the image and the gradient.
type one struct {
	space   *Space
	x, c, g []float32
	d       []float64 // for the rule
}

func newOne(s *Space) one {
	return one{s, make([]float32, s.Size), make([]float32, s.Size), make([]float32, s.Size), make([]float64, s.Size)}
}

// take copies what is in the slot. Without gradients, or with one that is not finite, g
// is zero. norm2 is its squared length.
func (o *one) take(s *Slot, grad []float32) (norm2 float64) {
	o.space.Layout.Gather(o.x, o.space.X, s.Place)
	o.space.Layout.Gather(o.c, o.space.Centre, s.Place)
	if grad != nil {
		o.space.Layout.Gather(o.g, grad, s.Place)
		for _, v := range o.g {
			norm2 += float64(float64(v) * float64(v))
		}
	}
	if grad == nil || math.IsNaN(norm2) || math.IsInf(norm2, 0) {
		clear(o.g)
		return 0
	}
	return norm2
}

// random makes g a random direction, and returns its squared length.
func (o *one) random(s *Slot) (norm2 float64) {
	for k := range o.g {
		o.g[k] = s.Stream.Norm()
		norm2 += float64(float64(o.g[k]) * float64(o.g[k]))
	}
	return norm2
}

// put brings x into the slot.
func (o *one) put(s *Slot) { o.space.Layout.Scatter(o.space.X, o.x, s.Place) }

// land sets x to c + scale·d, in the pixel box.
func (o *one) land(scale float64) {
	for k, c := range o.c {
		o.x[k] = min(max(float32(float64(c)+float64(scale*o.d[k])), 0), 1)
	}
}

// farthest is the distance of the farthest point of the pixel box.
func (o *one) farthest(n net.Norm) float64 {
	for k, c := range o.c {
		o.d[k] = float64(max(c, 1-c))
	}
	return length(o.d, n)
}

// length returns the norm of d.
func length(d []float64, n net.Norm) float64 {
	var largest, sum, sum2 float64
	count := 0
	for _, v := range d {
		a := math.Abs(v)
		largest = max(largest, a)
		sum += a
		sum2 += float64(v * v)
		if v != 0 {
			count++
		}
	}
	switch n {
	case net.L0:
		return float64(count)
	case net.L1:
		return sum
	case net.L2:
		return math.Sqrt(sum2)
	}
	return largest
}

// annealed returns (1 + cos(π·i/n))/2 for 0 ≤ i ≤ n, the same bits on every platform: 1
// at first, 0 in the end.
func annealed(i, n int) float64 {
	t := float64(i) / float64(n)
	late := t > 0.5
	if late {
		t = 1 - t
	}
	x := float64(math.Pi * t)
	x2, p := float64(x*x), 1.0
	for k := 22; k >= 2; k -= 2 { // Taylor by Horner; x ≤ π/2, so the rest is below 1e-17
		p = 1 - float64(p*x2)/float64(k*(k-1))
	}
	if late {
		p = -p
	}
	return (1 + p) / 2
}

// bisection is that of the weight of the loss against the distance in the attacks
// of Carlini & Wagner 2017 and Chen et al. 2018: ten times as much until a point fools,
// then halfway between the largest weight that failed and the smallest that did not.
type bisection struct {
	round, rounds int
	weight        float64
	lower, upper  float64
	found         bool    // a point has fooled with this weight
	last          float64 // loss at the last look at progress
	stalls        int     // looks in a row at which it had not fallen
}

const (
	boundless = 1e10   // weights are smaller
	progress  = 0.9999 // a loss that is still above this part of the last one has not fallen
	patience  = 2
)

func newBisection(rounds int, weight float64) bisection {
	return bisection{rounds: rounds, weight: weight, upper: boundless, last: math.Inf(1)}
}

// stalled reports whether the loss has hardly fallen between the last three looks at it.
func (b *bisection) stalled(loss float64) bool {
	if loss <= float64(progress*b.last) {
		b.stalls = 0
	} else {
		b.stalls++
	}
	b.last = loss
	return b.stalls == patience
}

// next picks the next weight. It reports false after the last. With ten rounds or more
// the last repeats the smallest weight that has led to a point.
func (b *bisection) next() bool {
	if b.found {
		b.upper = min(b.upper, b.weight)
	} else {
		b.lower = max(b.lower, b.weight)
	}
	switch {
	case b.upper < boundless/10:
		b.weight = (b.lower + b.upper) / 2
	case !b.found:
		b.weight = min(10*b.weight, boundless)
	}
	b.round++
	if b.rounds >= 10 && b.round == b.rounds-1 {
		b.weight = b.upper
	}
	b.found, b.last, b.stalls = false, math.Inf(1), 0
	return b.round < b.rounds
}
