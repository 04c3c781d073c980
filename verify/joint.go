package verify

import (
	"math"
	"slices"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// 11a. Ball and box at once. Let a row μ be divided, μ = α + β, in any way. By 11, for every a of
// ball ∩ box
//
//	Σμa ≥ Σαĉ − ε‖α/std‖* − Σ|α|(4uM + 4u|ĉ| + 4η) + Σ min(βl, βh).
//
// α = μ gives the bound over the ball, β = μ that over the box. In L2, with y = μ/std and a κ > 0,
// the point δ = −κy cut to the box, in pixels around the centre, is where Lagrange's conditions
// hold for the κ that gives it the length ε: there α/std is y where δ is not cut, −δ/κ where it
// is. In L1 it is y cut to ±t. κ and t are found by some steps, and any is sound.
//
// All of it is float64: n sums and products, and the rounding of β and α, err by at most (n + 8)2⁻⁵²
// of the terms' magnitudes, which is taken off.

// JoinBalls makes linear bounds of L2 and L1 balls take ball and box together, not the better of
// the two: on images with many black or white pixels radii grow by a tenth to a third, for up
// to twice the time. Checkers of certificates do the same. It must not be called during other calls.
// (A choice, so that programs for devices need not carry it.)
func (v *Verifier) JoinBalls() {
	v.join = join
	if v.graph != nil {
		v.graph.join = v.join
	}
}

// joinSteps are the steps for κ, and for t: more give next to nothing.
var joinSteps = [...]int{net.L2: 1, net.L1: 3}

// join raises low of group g, whose rows are v on the input and start without it, to the bounds
// over ball and box, unless all are proved without.
func join(r *rows, g int, v []float32) {
	if slices.Min(r.low[g][:]) > 0 {
		return
	}
	cut := cutAt(r, g, v)
	var c, norm, loss, all [kernels.Lanes]float64
	n := 0
	r.each(g, 0, func(at, k int) {
		n++
		centre, std, low, up := around(r, k)
		e, s := float64(r.dual[k*kernels.RelaxParams+kernels.RelaxError]), 1/std
		for l, x := range v[at*kernels.Lanes:][:kernels.Lanes] {
			mu := float64(x)
			y := mu * s
			a := mu
			if part := ofBall(r.norm, y, cut[l], low, up); part != y {
				y, a = part, float64(part*std)
				b, end := mu-a, r.actLo[0][k]
				if b < 0 {
					end = r.actHi[0][k]
				}
				box := float64(b * float64(end))
				c[l] += box
				all[l] += math.Abs(box)
			}
			ball, err := float64(a*centre), float64(math.Abs(a)*e)
			c[l] += ball
			loss[l] += err
			all[l] += math.Abs(ball)
			if r.norm == net.L2 {
				norm[l] += float64(y * y)
			} else {
				norm[l] = max(norm[l], math.Abs(y))
			}
		}
	})
	for l, length := range norm {
		if r.norm == net.L2 {
			length = math.Sqrt(length)
		}
		less := r.less + float64(r.eps*length*(1+slack)) + loss[l] + float64((all[l]+loss[l])*float64(n+8)*0x1p-52)
		r.low[g][l] = max(r.low[g][l], rowLow(&r.start, l, c[l], less))
	}
}

// around returns the centre of the ball at input k, and what δ may be there in the box, of pixels
// that are divided by std.
func around(r *rows, k int) (centre, std, low, up float64) {
	std = r.scaling.scale(k % r.g.maps[0].c)
	centre = float64(r.dual[k*kernels.RelaxParams+kernels.RelaxBias])
	return centre, std, float64((float64(r.actLo[0][k]) - centre) * std), float64((float64(r.actHi[0][k]) - centre) * std)
}

// ofBall returns the part of y that is left to the ball.
func ofBall(norm net.Norm, y, cut, low, up float64) float64 {
	if norm != net.L2 {
		return min(max(y, -cut), cut)
	}
	switch d := -cut * y; {
	case d < low:
		return -low / cut
	case d > up:
		return -up / cut
	}
	return y
}

// cutAt finds κ or t for each lane.
func cutAt(r *rows, g int, v []float32) (cut [kernels.Lanes]float64) {
	below, above := cut, r.norms // of t
	for l, n := range r.norms {
		cut[l] = r.eps / max(n, 1e-300)
		if r.norm == net.L1 {
			cut[l] = n / 2
		}
	}
	for range joinSteps[r.norm] {
		var done, free [kernels.Lanes]float64 // squares of δ that is cut, and of y that is not; in L1 the room of what is
		r.each(g, 0, func(at, k int) {
			_, std, low, up := around(r, k)
			s := 1 / std
			for l, x := range v[at*kernels.Lanes:][:kernels.Lanes] {
				y := float64(x) * s
				d := -cut[l] * y
				switch {
				case r.norm == net.L1:
					if y > cut[l] {
						done[l] -= low
					} else if y < -cut[l] {
						done[l] += up
					}
				case d < low:
					done[l] += float64(low * low)
				case d > up:
					done[l] += float64(up * up)
				default:
					free[l] += float64(y * y)
				}
			}
		})
		for l := range cut {
			left := float64(r.eps*r.eps) - done[l]
			switch {
			case r.norm == net.L2 && left > 0 && free[l] > 0:
				cut[l] = math.Sqrt(left / free[l])
			case r.norm == net.L1 && done[l] > r.eps: // what is above t would take more than ε
				below[l] = cut[l]
				cut[l] = (cut[l] + above[l]) / 2
			case r.norm == net.L1:
				above[l] = cut[l]
				cut[l] = (cut[l] + below[l]) / 2
			}
		}
	}
	return cut
}
