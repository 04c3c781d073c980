package check

import (
	"cmp"
	"math"
	"math/big"
	"slices"

	"github.com/epsball/epsball/model"
)

// ball is the set of images: the pixel box within ε of x, and the norm.
type ball struct {
	norm   string
	x      []float64 // channels last
	eps, g float64   // at least ε; of rounding.go
	lo, hi []float64 // contain [0, 1] ∩ [x − ε, x + ε]; of a region, its box
	apart  bool      // bounds over ball and box each, not over both at once
}

func newBall(norm string, eps *big.Rat, x []float32, s model.Shape, g float64) *ball {
	b := &ball{norm: norm, eps: above(eps), g: g}
	for i := range x {
		v := float64(x[channelsFirst(i, s)])
		b.x = append(b.x, v)
		lo, hi := v, v
		if b.eps > 0 {
			lo, hi = down(v-b.eps), up(v+b.eps)
		}
		b.lo, b.hi = append(b.lo, max(0, lo)), append(b.hi, min(1, hi))
	}
	return b
}

// newBox returns the set of inputs between two ends, given channels first.
func newBox(lo, hi []float32, s model.Shape, g float64) *ball {
	b := &ball{norm: "linf", g: g, lo: make([]float64, len(lo)), hi: make([]float64, len(hi))}
	for i := range lo {
		k := channelsFirst(i, s)
		b.lo[i], b.hi[i] = float64(lo[k]), float64(hi[k])
	}
	b.x = b.lo // linf has no use of it
	return b
}

// lower returns a lower bound of a·x′ over the ball, but for the |a|·D of 2. For
// l2 and l1 it is about the least value over ball and box at once: for any α between 0 and a
//
//	a·x′ ≥ α·x − ε‖α‖* + Σ min((a − α)·lo, (a − α)·hi),
//
// the dual norm bounding the part α over the ball. α = a and α = 0 are the two alone.
func (b *ball) lower(a []float64) float64 {
	box := 0.0
	for i, v := range a {
		if v != 0 {
			box += min(float64(v*b.lo[i]), float64(v*b.hi[i]))
		}
	}
	if b.norm == "linf" {
		return box
	}
	best := max(box, b.divided(a, func(_ int, v float64) float64 { return v }))
	if b.apart {
		return best
	}
	var alpha func(i int, v float64) float64
	switch b.norm {
	case "l2":
		k := b.stretch(a)
		if !(k > 0) {
			return best
		}
		alpha = func(i int, v float64) float64 {
			if r := b.room(i, v); float64(k*math.Abs(v)) > r {
				return math.Copysign(min(r/k, math.Abs(v)), v)
			}
			return v
		}
	default:
		t := b.level(a)
		alpha = func(_ int, v float64) float64 { return min(max(v, -t), t) }
	}
	return max(best, b.divided(a, alpha))
}

// divided is the bound of a division. The parts of an a have one sign, so their roundings are those of
// a itself, of which the cost of the input has three times as much as sums want.
func (b *ball) divided(a []float64, alpha func(i int, v float64) float64) float64 {
	sum, largest, squares := 0.0, 0.0, 0.0
	for i, v := range a {
		if v == 0 {
			continue
		}
		p := alpha(i, v)
		rest := v - p
		sum += float64(p*b.x[i]) + min(float64(rest*b.lo[i]), float64(rest*b.hi[i]))
		largest = max(largest, math.Abs(p))
		squares += float64(p * p)
	}
	dual := largest
	if b.norm == "l2" {
		// Squares that underflow are below ζ: together below 2⁻⁵⁰⁰ of the norm.
		dual = up(float64(math.Sqrt(squares)*(1+b.g)) + 0x1p-500)
	}
	return down(sum - up(float64(b.eps*dual)))
}

// room is how far pixel i may go in the box where v·x′ becomes less.
func (b *ball) room(i int, v float64) float64 {
	if v > 0 {
		return max(0, b.x[i]-b.lo[i])
	}
	return max(0, b.hi[i]-b.x[i])
}

// stretch returns κ, for which the point x − κa, cut to the box, is as far as ε away; 0: none is.
func (b *ball) stretch(a []float64) float64 {
	k, last := 0.0, -1
	for range 64 { // of many; any κ will do
		cut, done, free := 0, 0.0, 0.0
		for i, v := range a {
			if v == 0 {
				continue
			}
			if r := b.room(i, v); float64(k*math.Abs(v)) > r {
				cut++
				done += float64(r * r)
			} else {
				free += float64(v * v)
			}
		}
		left := float64(b.eps*b.eps) - done
		if !(left > 0 && free > 0) || cut == last {
			return k
		}
		k, last = math.Sqrt(left/free), cut
	}
	return k
}

// level returns t, for which pixels whose |a| is more take no more than ε as far as they may go, and
// with those of |a| = t as much or all.
func (b *ball) level(a []float64) float64 {
	order := make([]int, 0, len(a))
	for i, v := range a {
		if v != 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(math.Abs(a[j]), math.Abs(a[i])) })
	left := b.eps
	for _, i := range order {
		if left -= b.room(i, a[i]); left <= 0 {
			return math.Abs(a[i])
		}
	}
	return 0
}
