package redteam

import (
	"math"
	"math/big"
	"math/rand/v2"

	"github.com/epsball/epsball/net"
)

// point is an image of the ball: as real numbers, and, where it is one, in float32.
type point struct {
	real    []*big.Float
	float32 []float32 // nil: the image is not one
}

func (c *Case) point32(x []float32) point {
	p := point{float32: x}
	for _, v := range x {
		p.real = append(p.real, exactly(float64(v)))
	}
	return p
}

// Inside tells, in rational arithmetic, whether x is in [0, 1] and in the ball.
func Inside(b net.Ball, centre, x []float32) bool {
	eps := b.Eps.Rat()
	sum, d, one := new(big.Rat), new(big.Rat), new(big.Rat)
	for i, v := range x {
		if !(v >= 0 && v <= 1) {
			return false
		}
		if v == centre[i] {
			continue
		}
		d.Sub(one.SetFloat64(float64(v)), new(big.Rat).SetFloat64(float64(centre[i]))).Abs(d)
		switch b.Norm {
		case net.L2:
			sum.Add(sum, d.Mul(d, d))
		case net.L1:
			sum.Add(sum, d)
		case net.L0:
			sum.Add(sum, one.SetInt64(1))
		default:
			if d.Cmp(eps) > 0 {
				return false
			}
		}
	}
	if b.Norm == net.L2 {
		eps.Mul(eps, eps)
	}
	return sum.Cmp(eps) <= 0
}

// along returns the float32 image of the ball that lies about farthest from the centre
// in a direction, and, in Linf, the real one, a corner. share < 1 stays inside.
func (c *Case) along(g []float64, share float64) []point {
	x := make([]float32, len(c.X))
	eps := c.Ball.Eps.Float64() * share
	norm, most, at := 0.0, 0.0, 0
	for k, v := range g {
		if a := math.Abs(v); a > most {
			most, at = a, k
		}
	}
	for _, v := range g {
		norm += (v / most) * (v / most)
	}
	for k, v := range c.X {
		d := math.Copysign(eps, g[k])
		switch {
		case !(most > 0) || math.IsInf(most, 0) || c.Ball.Norm == net.L1 && k != at:
			d = 0
		case g[k] == 0 && c.Ball.Norm == net.Linf:
			d = 0
		case c.Ball.Norm == net.L2:
			d = eps * (g[k] / most / math.Sqrt(norm))
		}
		x[k] = v + float32(d)
		x[k] = max(0, min(1, x[k]))
		for math.Abs(float64(x[k])-float64(v)) > math.Abs(d) {
			x[k] = math.Nextafter32(x[k], v)
		}
	}
	var out []point
	for range 8 {
		if Inside(c.Ball, c.X, x) {
			out = append(out, c.point32(x))
			break
		}
		for k, v := range c.X {
			x[k] = v + (x[k]-v)*(1-0x1p-20)
		}
	}
	if c.Ball.Norm == net.Linf && share == 1 {
		out = append(out, c.corner(g))
	}
	return out
}

// corner is x ± ε in real numbers, rounded towards x at a precision that no bound sees.
func (c *Case) corner(g []float64) point {
	var p point
	eps := new(big.Float).SetPrec(precision).SetMode(big.ToZero).SetRat(c.Ball.Eps.Rat())
	for k, v := range c.X {
		z := exactly(float64(v)).SetMode(big.ToZero)
		switch {
		case g[k] > 0:
			if z.Add(z, eps); z.Cmp(exactly(1)) > 0 {
				z = exactly(1)
			}
		case g[k] < 0:
			z.SetMode(big.ToPositiveInf)
			if z.Sub(z, eps); z.Sign() < 0 {
				z = exactly(0)
			}
		}
		p.real = append(p.real, z.SetMode(big.ToNearestEven))
	}
	return p
}

// anywhere is a random direction, with ties at the corners.
func anywhere(n int, r *rand.Rand) []float64 {
	g := make([]float64, n)
	for k := range g {
		g[k] = float64(r.IntN(3) - 1)
		if r.IntN(3) == 0 {
			g[k] = r.NormFloat64()
		}
	}
	return g
}
