package attack

import "fmt"

func checkLattice(bits int) error {
	if bits < 0 || bits > 8 {
		return fmt.Errorf("lattice: %d bits, want 1 … 8, or 0 for none", bits)
	}
	return nil
}

// lattice rounds points to multiples of 1/(2^bits − 1).
type lattice struct {
	space *Space
	top   float64 // 2^bits − 1
}

func newLattice(bits int, s *Space) *lattice { return &lattice{s, float64(int(1)<<bits - 1)} }

// round writes to dst the points of the block x rounded to the lattice, in ball and
// pixel box if a lattice point is there.
func (q *lattice) round(dst, x, lo, hi, centre []float32) {
	copy(dst, x)
	q.space.Project(dst, lo, hi, centre)
	for k, v := range dst {
		n := float64(int(float64(float64(v)*q.top) + 0.5))
		f := float32(n) / float32(q.top)
		switch {
		case f > hi[k]:
			f = float32(n-1) / float32(q.top)
		case f < lo[k]:
			f = float32(n+1) / float32(q.top)
		}
		dst[k] = f
	}
}
