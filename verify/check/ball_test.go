package check_test

import (
	"cmp"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/verify/check"
)

// TestBallLower: the bound of a row over the input is not above what the row is at any image of the
// ball, exactly, and in all norms it is what the lowest of these has, but for rounding.
func TestBallLower(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 22))
	cut := 0
	for n := range 3000 {
		norm, eps := []string{"linf", "l2", "l1"}[n%3], []string{"0.3", "1", "1/50", "4", "0"}[r.IntN(5)]
		e, err := check.ParseEps(eps)
		require.NoError(t, err)
		x, a := make([]float32, 1+r.IntN(12)), []float64{}
		for k := range x {
			x[k] = []float32{0, 1, r.Float32(), 1e-3 * r.Float32()}[r.IntN(4)]
			a = append(a, []float64{0, r.NormFloat64(), math.Exp(4 * r.NormFloat64()), -1}[r.IntN(4)])
		}
		low := check.BallLower(norm, eps, x, a)
		size := 0.0
		for _, v := range a {
			size += math.Abs(v)
		}
		value := func(p []float64) *big.Rat {
			sum := new(big.Rat)
			for k, v := range p {
				sum.Add(sum, new(big.Rat).Mul(rat(a[k]), rat(v)))
			}
			return sum
		}
		p, wasCut := lowestPoint(norm, e, x, a)
		if wasCut && norm != "linf" {
			cut++
		}
		lowest, _ := value(p).Float64()
		require.InDelta(t, lowest, low, 1e-9*(1+size), "%s %s %v %v", norm, eps, x, a)
		slack := rat(1e-12 * size) // of the roundings that others pay
		for range 20 {             // between the lowest point and others of the ball
			q := slices.Clone(p)
			for k := range q {
				q[k] += (float64(x[k]) - q[k]) * r.Float64()
			}
			require.LessOrEqual(t, rat(low).Cmp(new(big.Rat).Add(value(q), slack)), 0)
		}
		require.LessOrEqual(t, rat(low).Cmp(new(big.Rat).Add(value(p), slack)), 0)
	}
	require.Greater(t, cut, 300)
}

// lowestPoint is where a·x′ is lowest in a ball, but for rounding, and whether the box cuts it off.
func lowestPoint(norm string, eps *big.Rat, x []float32, a []float64) (p []float64, cut bool) {
	e, _ := eps.Float64()
	p = make([]float64, len(x))
	room := make([]float64, len(x))
	for k, v := range x {
		p[k] = float64(v)
		room[k] = min(e, float64(v))
		if a[k] < 0 {
			room[k] = min(e, 1-float64(v))
		}
	}
	go1 := func(k int, d float64) { p[k] -= math.Copysign(min(d, room[k]), a[k]) }
	switch norm {
	case "linf":
		for k := range a {
			if a[k] != 0 {
				go1(k, e)
			}
		}
	case "l1":
		order := make([]int, len(a))
		for k := range order {
			order[k] = k
		}
		slices.SortFunc(order, func(i, j int) int { return cmp.Compare(math.Abs(a[j]), math.Abs(a[i])) })
		left := e
		for n, k := range order {
			if a[k] != 0 {
				d := min(left, room[k])
				go1(k, d)
				left -= d
				cut = cut || n > 0 && d > 0
			}
		}
	default: // the κ of the length ε, by halving
		from, to := 0.0, 1e9
		for range 200 {
			k := (from + to) / 2
			if squares(a, room, k) > e*e {
				to = k
			} else {
				from = k
			}
		}
		for k, v := range a {
			if v != 0 {
				cut = cut || math.Abs(v)*from > room[k]
				go1(k, math.Abs(v)*from)
			}
		}
	}
	return p, cut
}

// squares is the square of how far x − κa goes, cut to the box.
func squares(a, room []float64, k float64) (sum float64) {
	for i, v := range a {
		d := min(k*math.Abs(v), room[i])
		sum += d * d
	}
	return sum
}
