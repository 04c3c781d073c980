package attack

import (
	"math"

	"github.com/epsball/epsball/net"
)

// bump is the square that the attack adds in L2 and L1 (Andriushchenko et al. 2020,
// section 3.3): a hill in its upper half and a hollow in the lower one, of length 1, row by
// row. A pixel of a half, at distance d (of rows or columns, the larger) from the middle,
// has height Σ_{k ≥ d} (k + 1)⁻² before it is scaled, up to the largest distance; for
// L1 (k + 1)⁻⁴.
func bump(side int, norm net.Norm) []float64 {
	b := make([]float64, side*side)
	upper := side / 2
	hill(b[:upper*side], side, 1, norm)
	hill(b[upper*side:], side, -1, norm)
	scaleTo(b, 1, norm)
	return b
}

func hill(b []float64, cols int, sign float64, norm net.Norm) {
	rows := len(b) / cols
	middleRow, middleCol := rows/2, cols/2
	steps := max(middleRow, middleCol) + 1
	height := make([]float64, steps+1) // by distance
	for k := steps - 1; k >= 0; k-- {
		n := float64(k + 1)
		n *= n
		if norm == net.L1 {
			n *= n
		}
		height[k] = height[k+1] + 1/n
	}
	distance := func(a, b int) int { return max(a-b, b-a) }
	for i := range b {
		b[i] = height[max(distance(i/cols, middleRow), distance(i%cols, middleCol))]
	}
	scaleTo(b, sign, norm)
}

// scaleTo scales b to length |size|, which may be negative to turn it round.
func scaleTo(b []float64, size float64, norm net.Norm) {
	sum := 0.0
	for _, v := range b {
		sum += weight(v, norm)
	}
	if norm == net.L2 {
		sum = math.Sqrt(sum)
	}
	for i := range b {
		b[i] = float64(size*b[i]) / sum
	}
}

// weight is what d adds to the size of a perturbation: L2 squared, or L1.
func weight(d float64, norm net.Norm) float64 {
	if norm == net.L2 {
		return float64(d * d)
	}
	return math.Abs(d)
}

// size is that of x − centre, of one slot.
func (r *square) size(x, centre []float32) float64 {
	sum := 0.0
	for k := 0; k < r.space.Size*r.step; k += r.step {
		sum += weight(float64(x[k])-float64(centre[k]), r.space.Ball.Norm)
	}
	return sum
}

// Start draws stripes of ±ε (Linf), or bumps of random sign side by side, the image full
// of them (L2, L1).
func (r *square) Start(s *Slot, x []float32) {
	eps := r.space.Ball.Eps.Float64()
	if r.space.Ball.Norm == net.Linf {
		e := float32(2 * eps) // the worker brings it to ±ε, with its rounding
		for c := range r.c {
			for col := range r.w {
				d := float32(e * float32(flip(&s.Stream)))
				for row := range r.h {
					x[(c*r.h+row)*r.w+col] += d
				}
			}
		}
		return
	}
	// All bumps have length 1.
	side := r.tile
	tiles := (r.h / side) * (r.w / side) * r.c
	scale := 1.0
	if r.space.Ball.Norm == net.L2 {
		scale = eps / math.Sqrt(float64(tiles))
	}
	for top := r.h % side / 2; top+side <= r.h; top += side {
		for left := r.w % side / 2; left+side <= r.w; left += side {
			turned := flip(&s.Stream) < 0
			for c := range r.c {
				sign := float64(scale * flip(&s.Stream))
				for i := range side * side {
					row, col := i/side, i%side
					d := sign * r.tileBump[turn(i, side, turned)]
					x[(c*r.h+top+row)*r.w+left+col] += float32(d)
				}
			}
		}
	}
}

// turn returns where pixel i of a bump is found, if the bump is transposed.
func turn(i, side int, turned bool) int {
	if turned {
		return i%side*side + i/side
	}
	return i
}

// proposeBump takes away what is in one window and puts a new square in another (Algorithm
// 3 of Andriushchenko et al. 2020): the square there, of length 1, plus a bump of random
// sign and direction, as long as both windows were and the ball has room for. It writes
// to x and reads best.
func (r *square) proposeBump(sl *Slot, t *squareState, x, best, centre, lo, hi []float32, level int) {
	const tiny = 1e-12            // the guard of the reference implementation
	nothing := 1e-6 * r.space.eps // a window with less is empty: of that, rounding has decided
	norm, side, b := r.space.Ball.Norm, r.sides[level], r.bumps[level]
	s := &sl.Stream
	t.first, t.other = r.draw(s, side), r.draw(s, side)
	turned := flip(s) < 0
	limit := r.space.eps * (1 - max(1e-9, float64(r.space.Size+8)*0x1p-53)) // as projectL2
	if norm == net.L2 {
		limit *= limit
	}
	room := (limit - t.size) / float64(r.c) // below zero, if a given start fills the ball
	for c := range r.c {
		at := func(v window, i int) int {
			return (((v.top+i/side)*r.w+v.left+i%side)*r.c + c) * r.step
		}
		here, both := 0.0, 0.0
		for i := range side * side {
			k := at(t.first, i)
			here += weight(float64(best[k])-float64(centre[k]), norm)
			if k = at(t.other, i); !t.first.holds(t.other.top+i/side, t.other.left+i%side) {
				both += weight(float64(best[k])-float64(centre[k]), norm)
			}
			x[k] = centre[k]
		}
		both += here
		if norm == net.L2 {
			here = math.Sqrt(here)
		}
		if here <= nothing {
			here = math.Inf(1)
		}
		sign, size := flip(s), 0.0
		for i := range side * side {
			k := at(t.first, i)
			v := float64(sign*b[turn(i, side, turned)]) + (float64(best[k])-float64(centre[k]))/here
			if v < 0 && centre[k] <= lo[k] || v > 0 && centre[k] >= hi[k] {
				v = 0 // the pixel box leaves no room
			}
			r.fresh[i] = v
			size += weight(v, norm)
		}
		scale := max(room+both, 0)
		if norm == net.L2 {
			scale = math.Sqrt(scale) / (tiny + math.Sqrt(size))
		} else {
			scale = float64(scale*float64(r.c)) / (tiny + size) // of all channels too much: Move projects
		}
		for i := range side * side {
			k := at(t.first, i)
			x[k] = towards(centre[k], float64(scale*r.fresh[i]))
			if !t.whole { // else a projection brings it to the box
				x[k] = min(max(x[k], lo[k]), hi[k])
			}
		}
	}
}
