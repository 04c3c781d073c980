package attack

import (
	"fmt"
	"math"

	"github.com/epsball/epsball/net"
)

// maxLattice is the most bits that Config.Lattice takes: those of a value in most pictures.
const maxLattice = 8

func checkLattice(bits int) error {
	if bits < 0 || bits > maxLattice {
		return fmt.Errorf("lattice: %d bits, want 1 … %d, or 0 for none", bits, maxLattice)
	}
	return nil
}

// LatticeBall returns the ball that stands for b in an attack on the lattice. An Linf ball
// whose ε is a whole number of levels, such as 8/255, means that each value may change by
// so many. In float32 a level is not a multiple of 1/(2^bits − 1): pixels n levels apart
// may differ by up to 2⁻²⁴ more than n/(2^bits − 1), so the ball is wider by that. All
// other balls are returned as they are.
func LatticeBall(b net.Ball, bits int) net.Ball {
	if bits < 1 || bits > maxLattice || b.Norm != net.Linf {
		return b
	}
	top := int(1)<<bits - 1
	n, whole := b.Eps.Steps(net.MustEpsilon(fmt.Sprintf("1/%d", top)), top+1)
	if !whole || n < 1 || n >= top {
		return b
	}
	b.Eps = net.MustEpsilon(fmt.Sprintf("%d/%d", n<<24+top, top<<24))
	return b
}

// lattice rounds points to pictures: images whose pixels are float32(k)/(2^bits − 1) for
// whole k, which is how readers of 8-bit files decode byte k. It belongs to one worker.
type lattice struct {
	space *Space
	top   float32                  // the largest k
	value [1 << maxLattice]float32 // of each k
	slack float64                  // share of ε that is left free: more than what float64 sums err by

	// For one block, in norms other than Linf.
	cost, limit, excess each64
	saved               [ranks]each64
	from                [net.LaneGroups]int // smallest rank that is pulled back
}

// ranks is the number of classes in which roundings are pulled back.
const ranks = 64

func newLattice(bits int, s *Space) *lattice {
	q := &lattice{space: s, top: float32(int(1)<<bits - 1)}
	q.slack = max(1e-9, float64(s.Size+8)*0x1p-50) // n terms: (n + 8)·2⁻⁵³
	for k := range 1 << bits {
		q.value[k] = float32(k) / q.top
	}
	return q
}

// reaches reports whether the ball around img holds a point of the lattice: the nearest
// one, which is written to near, is in it if any is. That is so for all images that are on
// the lattice themselves.
func (q *lattice) reaches(near, img []float32) bool {
	for i, v := range img {
		near[i] = q.value[q.level(v)]
	}
	return q.space.Ball.Contains(img, near)
}

// level returns the k nearest to v, which is in [0, 1].
func (q *lattice) level(v float32) uint8 { return uint8(int32(float32(v*q.top) + 0.5)) }

// round writes to dst a point of the lattice near to each point of a block x, all in [0, 1].
// lo, hi and centre are the same block of Space.Lo, Hi and Centre. Where x is in the ball,
// so is dst, in exact arithmetic, if the ball reaches the lattice; where x is outside, dst
// is hardly further from the image. dst is x for points of the lattice in the ball, but for
// those within 10⁻⁹ of an L2 or L1 ball's surface. An image's point depends on nothing else
// in the block.
func (q *lattice) round(dst, x, lo, hi, centre []float32) {
	dst, lo, hi = dst[:len(x)], lo[:len(x)], hi[:len(x)]
	for i, v := range x {
		l, h := lo[i], hi[i]
		if !(v >= l && v <= h) { // outside; no NaN goes on
			if !(v > 0) {
				v = 0
			}
			v = min(v, 1)
			l, h = min(v, l), max(v, h)
		}
		// The nearest k in [l, h]: if there is any, it is this one or one beside it.
		k := q.level(v)
		f := q.value[k]
		if f > h {
			k--
		}
		if f < l {
			k++
		}
		dst[i] = q.value[k]
	}
	if q.space.Ball.Norm != net.Linf { // whose box is the ball
		q.pull(dst, x, centre)
	}
}

// pull takes the roundings of dst back that brought points out of the ball: first those
// that went farthest, and no more than it needs.
func (q *lattice) pull(dst, x, centre []float32) {
	n, w, over := q.space.Ball.Norm, int(q.space.Layout), false
	q.measure(dst, x, centre)
	for l := range w {
		q.from[l] = ranks
		// What is pulled back ends a little below the limit: sums err.
		if q.excess[l] = 0; q.cost[l] > q.limit[l] {
			q.excess[l], over = q.cost[l]-float64(q.limit[l]*(1-q.slack/2)), true
		}
	}
	if !over {
		return
	}
	clear(q.saved[:])
	for i := 0; i < len(dst); i += w {
		for l, v := range dst[i : i+w] {
			if c := centre[i+l]; q.excess[l] > 0 && v != c {
				if back, rank := q.back(v, x[i+l], c); rank >= 0 {
					q.saved[rank][l] += price(n, v, c) - price(n, back, c)
				}
			}
		}
	}
	for l := range w {
		for left := q.excess[l]; left > 0 && q.from[l] > 0; {
			q.from[l]--
			left -= q.saved[q.from[l]][l]
		}
		// Ranks above the last one go back as a whole, of the last one as many as it needs.
		for rank := q.from[l] + 1; rank < ranks; rank++ {
			q.excess[l] -= q.saved[rank][l]
		}
	}
	for i := 0; i < len(dst); i += w {
		for l, v := range dst[i : i+w] {
			c := centre[i+l]
			if q.from[l] == ranks || v == c {
				continue
			}
			back, rank := q.back(v, x[i+l], c)
			switch {
			case rank > q.from[l]:
				dst[i+l] = back
			case rank == q.from[l] && q.excess[l] > 0:
				dst[i+l] = back
				q.excess[l] -= price(n, v, c) - price(n, back, c)
			}
		}
	}
	for l := range w {
		if q.excess[l] > 0 {
			q.shrink(dst, x, centre)
			return
		}
	}
}

// shrink moves points that are still outside towards the lattice point nearest to the
// image, level by level: around images that are not on the lattice, unchanged pixels are
// rounded too.
func (q *lattice) shrink(dst, x, centre []float32) {
	w := int(q.space.Layout)
	for moved := true; moved; {
		q.measure(dst, x, centre)
		moved = false
		for i, v := range dst {
			if l := i % w; !(q.cost[l] > q.limit[l]) {
				continue
			}
			k, to := int(q.level(v)), int(q.level(centre[i]))
			if d := k - to; d != 0 {
				moved = true
				dst[i] = q.value[k-d/8-min(max(d, -1), 1)]
			}
		}
	}
}

// measure computes what each point of dst costs of the ball, and what it may cost.
func (q *lattice) measure(dst, x, centre []float32) {
	n, w := q.space.Ball.Norm, int(q.space.Layout)
	q.cost, q.limit = each64{}, each64{}
	for i := 0; i < len(dst); i += w {
		for l, v := range dst[i : i+w] {
			c := centre[i+l]
			q.cost[l] += price(n, v, c)
			q.limit[l] += price(n, x[i+l], c)
		}
	}
	least := q.space.eps * (1 - q.slack)
	switch n {
	case net.L0:
		least = math.Floor(q.space.eps)
	case net.L2:
		least = float64(least * least)
	}
	for l := range w {
		if q.limit[l] <= least*(1+1e-6) { // x is in the ball, or but for rounding
			q.limit[l] = least
		}
	}
}

// price is what a pixel costs: the sum of all is at most ε, in L2 ε².
func price(n net.Norm, v, centre float32) float64 {
	d := math.Abs(float64(v) - float64(centre))
	switch {
	case n == net.L2:
		return float64(d * d)
	case n == net.L0 && d > 0:
		return 1
	}
	return d
}

// back returns the value that v, to which x has been rounded, may be pulled back to, and a
// rank: the higher, the sooner. It is −1 if there is nothing to be gained.
func (q *lattice) back(v, x, centre float32) (float32, int) {
	k := q.level(v)
	if q.space.Ball.Norm == net.L0 { // the smallest changes first
		to := q.level(centre)
		if q.value[to] != centre {
			return v, -1
		}
		d := max(k, to) - min(k, to)
		return centre, ranks - 1 - int(d)*ranks>>maxLattice
	}
	far := math.Abs(float64(v) - float64(centre))
	out := far - math.Abs(float64(x)-float64(centre))
	if !(out > 0) {
		return v, -1
	}
	if v > centre {
		k--
	} else {
		k++
	}
	back := q.value[k]
	if math.Abs(float64(back)-float64(centre)) >= far {
		return v, -1
	}
	return back, min(int(out*float64(q.top)*(2*ranks)), ranks-1)
}
