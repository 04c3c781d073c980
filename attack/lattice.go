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

// lattice rounds points to pictures: images whose pixels are float32(k)/(2^bits − 1) for
// whole k, which is how readers of 8-bit files decode byte k. It belongs to one worker.
type lattice struct {
	space  *Space
	levels float32   // the largest k
	value  []float32 // of each k
	slack  float64   // share of ε that is left free: more than what float64 sums err by

	// For one block, in norms other than Linf.
	cost, limit, excess each64
	saved               [ranks]each64
	from                [net.LaneGroups]int // smallest rank that is pulled back
}

// ranks is the number of classes in which roundings are pulled back.
const ranks = 64

func newLattice(bits int, s *Space) *lattice {
	q := &lattice{space: s, levels: float32(int(1)<<bits - 1), value: make([]float32, 1<<bits)}
	q.slack = max(1e-9, float64(s.Size+8)*0x1p-50) // n terms: (n + 8)·2⁻⁵³
	for k := range q.value {
		q.value[k] = float32(k) / q.levels
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
func (q *lattice) level(v float32) int { return int(float32(v*q.levels) + 0.5) }

// between returns the k nearest to x in [lo, hi]. If there is none, it is one beside it.
func (q *lattice) between(x, lo, hi float32) int {
	k := q.level(x)
	switch v := q.value[k]; {
	case v > hi:
		return max(0, k-1)
	case v < lo:
		return min(k+1, len(q.value)-1)
	}
	return k
}

// round writes to dst a point of the lattice near to each point of a block x, all in [0, 1].
// lo, hi and centre are the same block of Space.Lo, Hi and Centre. Where x is in the ball,
// so is dst, in exact arithmetic, if the ball reaches the lattice; where x is outside, dst
// is hardly further from the image. dst is x for points of the lattice in the ball, but for
// those within 10⁻⁹ of an L2 or L1 ball's surface. An image's point depends on nothing else
// in the block.
func (q *lattice) round(dst, x, lo, hi, centre []float32) {
	for i, v := range x {
		if !(v > 0) { // no NaN goes on
			v = 0
		}
		v = min(v, 1)
		dst[i] = q.value[q.between(v, min(v, lo[i]), max(v, hi[i]))]
	}
	if q.space.Ball.Norm != net.Linf { // whose box is the ball
		q.pull(dst, x, centre)
	}
}

// pull takes the roundings of dst back that brought points out of the ball: first those
// that went farthest, and no more than it needs.
func (q *lattice) pull(dst, x, centre []float32) {
	w, over := int(q.space.Layout), false
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
	for i, v := range dst {
		if l := i % w; q.excess[l] > 0 {
			if back, rank := q.back(v, x[i], centre[i]); rank >= 0 {
				q.saved[rank][l] += q.part(v, centre[i]) - q.part(back, centre[i])
			}
		}
	}
	for l := range w {
		for left := q.excess[l]; left > 0 && q.from[l] > 0; {
			q.from[l]--
			left -= q.saved[q.from[l]][l]
		}
	}
	// Ranks above the last one go back as a whole, of the last one as many as are needed.
	for l := range w {
		for rank := q.from[l] + 1; rank < ranks; rank++ {
			q.excess[l] -= q.saved[rank][l]
		}
	}
	for i, v := range dst {
		l := i % w
		if q.from[l] == ranks {
			continue
		}
		back, rank := q.back(v, x[i], centre[i])
		switch {
		case rank > q.from[l]:
			dst[i] = back
		case rank == q.from[l] && q.excess[l] > 0:
			dst[i] = back
			q.excess[l] -= q.part(v, centre[i]) - q.part(back, centre[i])
		}
	}
	q.shrink(dst, x, centre)
}

// shrink moves points that are still outside towards the lattice point nearest to the
// image, level by level: around images that are not on the lattice, unchanged pixels are
// rounded too.
func (q *lattice) shrink(dst, x, centre []float32) {
	w := int(q.space.Layout)
	for {
		q.measure(dst, x, centre)
		moved := false
		for i, v := range dst {
			if l := i % w; !(q.cost[l] > q.limit[l]) {
				continue
			}
			k, to := q.level(v), q.level(centre[i])
			if d := k - to; d != 0 {
				moved = true
				dst[i] = q.value[k-d/8-min(max(d, -1), 1)]
			}
		}
		if !moved {
			return
		}
	}
}

// measure computes what each point of dst costs of the ball, and what it may cost.
func (q *lattice) measure(dst, x, centre []float32) {
	w := int(q.space.Layout)
	q.cost, q.limit = each64{}, each64{}
	for i, v := range dst {
		l := i % w
		q.cost[l] += q.part(v, centre[i])
		q.limit[l] += q.part(x[i], centre[i])
	}
	least := q.space.eps * (1 - q.slack)
	switch q.space.Ball.Norm {
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

// part is what a pixel costs: the sum of all is at most ε, in L2 ε².
func (q *lattice) part(v, centre float32) float64 {
	d := math.Abs(float64(v) - float64(centre))
	switch q.space.Ball.Norm {
	case net.L2:
		return float64(d * d)
	case net.L0:
		if d != 0 {
			return 1
		}
		return 0
	}
	return d
}

// back returns the value that v, to which x has been rounded, may be pulled back to, and a
// rank: the higher, the sooner. It is −1 if there is nothing to be gained.
func (q *lattice) back(v, x, centre float32) (float32, int) {
	if v == centre {
		return v, -1
	}
	k := q.level(v)
	if q.space.Ball.Norm == net.L0 { // the smallest changes first
		to := q.level(centre)
		if q.value[to] != centre {
			return v, -1
		}
		d := max(k-to, to-k)
		return centre, ranks - 1 - d*ranks/len(q.value)
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
	return back, min(int(out*float64(q.levels)*(2*ranks)), ranks-1)
}
