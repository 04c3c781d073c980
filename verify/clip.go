package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/net"
)

// Clip returns the box of the leaf's region, channels first, narrowed to where the row of the leaf
// may be at most 0, by its last bound: on the rest of the region it is positive. clipped says
// whether it is narrower; nothing is known of neurons, after BoundLeaves without candidates, and in
// norms other than Linf. It allocates its results.
//
// 11b. In a box let a row go back to g, with the bound low. In a trace whose input to the first node
// is x, the row is at least low + Σ|g_k|s_k, s_k ≥ 0 being how far x_k is from the end of its range
// at which g_k·x_k is least. Where the row is at most 0, s_k ≤ −low/|g_k| for each k. Behind a
// normalize layer, x_k is within 4u|x_k| + 2η of (x′_k − mean)/std (5), and ends are rounded
// outward: x′_k is within std·(−low/|g_k| + 8uM + 4η) of its own end.
//
// Source: Zhou et al. 2025, arXiv:2512.11087 (relaxed clipping).
func (l *Leaf) Clip() (lo, hi []float32, clipped bool) {
	n := l.Frame.net
	a := l.Frame.region.area()
	size := n.Input().Size()
	lo, hi = make([]float32, size), make([]float32, size)
	a.outer(lo, hi)
	if l.Target.Row < 0 || l.Low > 0 || l.Spread == nil || a.norm != net.Linf || !(l.last <= 0 && l.last >= -math.MaxFloat32) {
		return lo, hi, false
	}
	z, inf := newNormalizer(n), math.Inf(1)
	from, to := slices.Clone(lo), slices.Clone(hi)
	z.load(&a, from, to, make([]float32, size))
	for k, spread := range l.Spread {
		if !(spread > 1e-30 && spread <= math.MaxFloat32) {
			continue
		}
		m := max(math.Abs(float64(from[k])), math.Abs(float64(to[k])))
		s := float64(-l.last) * float64(to[k]-from[k]) / float64(spread) * (1 + 1e-6) // spread is |g| times the width, rounded
		r := s
		if z.std != nil {
			r = math.Abs(z.scale(k/z.pixels)) * (s + 8*u*m + 4*eta)
		}
		r *= 1 + 1e-9
		if float64(l.Point[k]) < (float64(from[k])+float64(to[k]))/2 {
			if end := up32(math.Nextafter(float64(lo[k])+r, inf)); end < hi[k] { // beyond what the sum is off by
				hi[k], clipped = end, true
			}
		} else if end := down32(math.Nextafter(float64(hi[k])-r, -inf)); end > lo[k] {
			lo[k], clipped = end, true
		}
	}
	return lo, hi, clipped
}
