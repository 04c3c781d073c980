package attack

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
)

// slideShare is the share of an image's values that a step in L1 moves: those with the
// largest gradients (the 99 % quantile of Tramèr & Boneh 2019).
const slideShare = 0.01

// sparse is the scratch of balls in L1 and L0, for one image.
type sparse struct {
	away, room []float64 // of a value from its centre, and how far the box lets it go
	keys       []uint32
	order      []uint64
}

func newSparse(size int) *sparse {
	return &sparse{make([]float64, size), make([]float64, size), make([]uint32, size), make([]uint64, size)}
}

// projectL1 moves each image of a block to the nearest point (in L2) of L1 ball ∩ box:
// value i, d_i from its centre where the box allows at most r_i, to a distance of
// min(r_i, max(0, |d_i| − λ)), with the λ ≥ 0 that makes the sum of these ε (Croce & Hein
// 2021, Proposition 2.1). Values are rounded towards the centre.
func (s *Space) projectL1(x, lo, hi, centre []float32) {
	w := int(s.Layout)
	for l := range w {
		s.projectImageL1(x[l:], lo[l:], hi[l:], centre[l:], w, s.eps)
	}
}

// projectImageL1 is projectL1 with another radius for an image whose values are w apart.
func (s *Space) projectImageL1(x, lo, hi, centre []float32, w int, eps float64) {
	// A float64 sum of n distances errs by less than n·2⁻⁵³ of itself.
	limit := float64(eps * (1 - max(1e-9, float64(s.Size+8)*0x1p-50)))
	n, sum := 0, 0.0
	for i := 0; i < len(x); i += w {
		if v, c := x[i], centre[i]; v != c {
			d, r := apart(v, c, lo[i], hi[i])
			s.sparse.away[n], s.sparse.room[n] = d, r
			sum += min(d, r)
			n++
		}
	}
	if !(sum > limit) {
		for i := 0; i < len(x); i += w {
			x[i] = min(max(x[i], lo[i]), hi[i])
		}
		return
	}
	c := findCut(s.sparse.away[:n], s.sparse.room[:n], sum, limit)
	for i := 0; i < len(x); i += w {
		if x[i] == centre[i] {
			continue
		}
		d, r := apart(x[i], centre[i], lo[i], hi[i])
		near, far := left(d, r, c.high), left(d, r, c.low)
		d = near + float64(c.share*(far-near))
		if x[i] < centre[i] {
			d = -d
		}
		x[i] = min(max(towards(centre[i], d), lo[i]), hi[i])
	}
}

// apart returns how far v is from c, and how far it may be.
func apart(v, c, lo, hi float32) (distance, room float64) {
	if v < c {
		return float64(c) - float64(v), float64(c) - float64(lo)
	}
	return float64(v) - float64(c), float64(hi) - float64(c)
}

// left is what a cut of λ leaves of a distance d.
func left(d, room, lambda float64) float64 { return min(room, max(0, d-lambda)) }

// cut is the λ of a projection as a point between two: low leaves more than the limit,
// high at most the limit, and together in these shares they leave the limit. Between
// them all that is left is linear in λ, or they are neighbours.
type cut struct{ low, high, share float64 }

// findCut looks for the cut by Newton's method, kept inside a bracket. It forgets values
// that all of the bracket cuts to zero, or leaves at their room. It overwrites away and
// room; sum, above limit, is what λ = 0 leaves.
func findCut(away, room []float64, sum, limit float64) cut {
	low, high := 0.0, slices.Max(away)
	above, below := sum, 0.0
	full := 0.0                                  // left of those at their room
	lambda := (sum - limit) / float64(len(away)) // at most the one looked for
	for round := 1; ; round++ {
		n, bends, steep := 0, 0, 0
		sum = 0
		for i, d := range away {
			r := room[i]
			switch {
			case d <= low:
				continue
			case d-r >= high:
				full += r
				continue
			}
			away[n], room[n] = d, r
			n++
			if d < high || d-r > low {
				bends++
			}
			switch rest := d - lambda; {
			case rest >= r:
				sum += r
			case rest > 0:
				sum += rest
				steep++
			}
		}
		away, room = away[:n], room[:n]
		if bends == 0 {
			break
		}
		sum += full
		if sum > limit {
			low, above = lambda, sum
		} else {
			high, below = lambda, sum
		}
		if math.Abs(sum-limit) <= 1e-12*limit {
			break
		}
		if lambda += (sum - limit) / float64(steep); !(lambda > low && lambda < high) || round%4 == 0 {
			if lambda = low + (high-low)/2; !(lambda > low && lambda < high) {
				break
			}
		}
	}
	return cut{low, high, min(1, (limit-below)/(above-below))}
}

// climbL1 is Climb in L1: a step of length α, along the signs of the gradient where it
// is largest, share of all values, and the projection (SLIDE: Tramèr & Boneh 2019). Values
// at an end of the box, which cannot follow their gradient, do not count.
func (s *Space) climbL1(x, grad, lo, hi, centre []float32, alpha, share float64, blocks int) {
	keep := max(1, int(math.Ceil(float64(share*float64(s.Size)))))
	for b := range blocks {
		xb, g, lob, hib := s.Block(x, b), s.Block(grad, b), s.Block(lo, b), s.Block(hi, b)
		for i, v := range xb {
			if g[i] > 0 && v >= hib[i] || g[i] < 0 && v <= lob[i] {
				g[i] = 0
			}
		}
		for l := range int(s.Layout) {
			s.stepSparse(xb[l:], g[l:], alpha, keep)
		}
		s.projectL1(xb, lob, hib, s.Block(centre, b))
	}
}

// stepSparse moves an image, which begins x, by α in L1: values by equal lengths along
// the signs of the gradient, where this is one of the keep largest or equal to it.
func (s *Space) stepSparse(x, g []float32, alpha float64, keep int) {
	w, keys := int(s.Layout), s.sparse.keys
	for i := range keys {
		keys[i] = math.Float32bits(g[i*w]) &^ (1 << 31)
		if keys[i] >= infinity {
			return
		}
	}
	least := math.Float32frombits(max(1, kthLargest(keys, keep)))
	moved := 0
	for i := 0; i < len(x); i += w {
		if v := g[i]; v >= least || v <= -least {
			moved++
		}
	}
	if moved == 0 {
		return
	}
	step := float32(alpha / float64(moved))
	for i := 0; i < len(x); i += w {
		switch v := g[i]; {
		case v >= least:
			x[i] += step
		case v <= -least:
			x[i] -= step
		}
	}
}

// infinity is the bits of the smallest positive float32 that is not finite.
const infinity = 0xFF << 23

// kthLargest returns the k-th largest of the keys, 1 ≤ k ≤ len(keys). It overwrites keys.
func kthLargest(keys []uint32, k int) uint32 {
	for shift := 24; ; shift -= 8 {
		var count [256]int
		for _, v := range keys {
			count[uint8(v>>shift)]++
		}
		digit := 255
		for ; count[digit] < k; digit-- {
			k -= count[digit]
		}
		n := 0
		for _, v := range keys {
			if int(uint8(v>>shift)) == digit {
				keys[n] = v
				n++
			}
		}
		if keys = keys[:n]; n == 1 || shift == 0 {
			return keys[0]
		}
	}
}

// climbSteepest moves each image by α in L1 to where the gradient promises most: the
// values with the largest gradients go, one after the other, to the end of the box,
// until the length is used up; then the projection.
func (s *Space) climbSteepest(grad []float32, alpha float64, blocks int) {
	for b := range blocks {
		x, g, lo, hi := s.Block(s.X, b), s.Block(grad, b), s.Block(s.Lo, b), s.Block(s.Hi, b)
		for l := range int(s.Layout) {
			s.stepSteepest(x[l:], g[l:], lo[l:], hi[l:], alpha)
		}
		s.projectL1(x, lo, hi, s.Block(s.Centre, b))
	}
}

func (s *Space) stepSteepest(x, g, lo, hi []float32, alpha float64) {
	w, order := int(s.Layout), s.sparse.order
	for i := range order {
		key := math.Float32bits(g[i*w]) &^ (1 << 31)
		if key >= infinity {
			return
		}
		order[i] = uint64(key)<<32 | uint64(^uint32(i))
	}
	slices.Sort(order)
	for at := len(order) - 1; at >= 0 && alpha > 0; at-- {
		k := int(^uint32(order[at])) * w
		end := hi[k]
		if g[k] < 0 {
			end = lo[k]
		}
		d := float64(end) - float64(x[k])
		switch {
		case g[k] == 0:
			return
		case g[k] > 0 != (d > 0):
			continue
		case math.Abs(d) <= alpha:
			x[k] = end
		default:
			x[k] = towards(x[k], math.Copysign(alpha, d))
		}
		alpha -= math.Abs(d)
	}
}

// randomL1 moves x to a point drawn uniformly from the ball of radius ε: values that are
// exponentially distributed, with random signs, over their sum and one more of them.
func randomL1(x []float32, s *kernels.Stream, eps float64) {
	first := *s
	sum := 0.0
	for range x {
		_, e := exponential(s)
		sum += e
	}
	_, e := exponential(s)
	sum += e
	scale := eps / sum
	after := *s
	*s = first
	for k := range x {
		sign, e := exponential(s)
		x[k] += float32(sign * float64(scale*e))
	}
	*s = after
}

// exponential returns a random sign and −log(1 − u), which is above 0.
func exponential(s *kernels.Stream) (sign, e float64) {
	u := s.Float32()
	sign = 1
	if s.Uint32()&1 == 1 {
		sign = -1
	}
	return sign, max(0x1p-25, -float64(kernels.Log(1-u)))
}
