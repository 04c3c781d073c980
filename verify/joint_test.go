package verify

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// minimum returns the least y·δ over δ in the ball that keeps x + δ in [0, 1], by bisection of
// Lagrange's multiplier in L2 and greedily in L1.
func minimum(norm net.Norm, eps float64, x []float32, y []float64) float64 {
	room := func(k int) float64 { // of a step against y
		if y[k] > 0 {
			return float64(x[k])
		}
		return 1 - float64(x[k])
	}
	if norm == net.L1 {
		left, sum := eps, 0.0
		done := make([]bool, len(y))
		for range y {
			best := -1
			for k := range y {
				if !done[k] && (best < 0 || math.Abs(y[k]) > math.Abs(y[best])) {
					best = k
				}
			}
			done[best] = true
			d := min(left, room(best))
			left, sum = left-d, sum-d*math.Abs(y[best])
		}
		return sum
	}
	at := func(kappa float64) (sum, length float64) {
		for k := range y {
			d := min(kappa*math.Abs(y[k]), room(k))
			sum, length = sum-d*math.Abs(y[k]), length+d*d
		}
		return sum, math.Sqrt(length)
	}
	lo, hi := 0.0, 1e9
	for range 200 {
		if _, length := at((lo + hi) / 2); length > eps {
			hi = (lo + hi) / 2
		} else {
			lo = (lo + hi) / 2
		}
	}
	sum, _ := at(hi)
	return sum
}

// TestJoinedIsNearlyExact: of one layer, whose minimum over ball and box is known, the bound is
// never above it, nearly at it, and never below what ball and box give alone.
func TestJoinedIsNearlyExact(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	pool := kernels.NewPool(1)
	defer pool.Close()
	for trial := range 400 {
		norm := []net.Norm{net.L2, net.L1}[trial%2]
		a := &model.Architecture{Name: "line", Input: model.Shape{C: 1 + trial%3, H: 3, W: 4}, Layers: []model.Layer{fc(2)}}
		size := a.Input.Size()
		var mean, std []float32
		for c := range a.Input.C {
			mean, std = append(mean, 0.1*float32(c)), append(std, 0.5+float32(c))
		}
		m, err := model.Random(a, uint64(trial+1))
		require.NoError(t, err)
		if trial%4 < 2 {
			m, err = m.WithNormalize(mean, std)
			require.NoError(t, err)
		} else {
			mean, std = make([]float32, a.Input.C), nil
			for range mean {
				std = append(std, 1)
			}
		}
		x := make([]float32, size)
		for k := range x {
			x[k] = []float32{0, 1, r.Float32()}[r.IntN(3)]
		}
		ball := net.Ball{Norm: norm, Eps: net.MustEpsilon([]string{"0.05", "0.3", "0.9", "2"}[r.IntN(4)])}
		p := m.Params[len(m.Params)-1]
		p.B[0] -= 10 // what is proved by one of the two is left at that
		y := make([]float64, size)
		exact := float64(p.B[0]) - float64(p.B[1])
		for k := range y {
			c := k / 12
			y[k] = (float64(p.W[k]) - float64(p.W[size+k])) / float64(std[c])
			exact += y[k] * (float64(x[k]) - float64(mean[c]))
		}
		exact += minimum(norm, ball.Eps.Float64(), x, y)

		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		margin := func(joined bool) float64 {
			v, err := New(n, pool)
			require.NoError(t, err)
			if joined {
				v.JoinBalls()
			}
			_, rows, err := v.Bounds(context.Background(), Options{Method: MethodCROWN, Property: &Property{C: []float32{1, -1}}}, Around(ball, x), 0)
			require.NoError(t, err)
			return float64(rows[0])
		}
		apart, joined := margin(false), margin(true)
		require.LessOrEqual(t, joined, exact, "%d: %v", trial, ball)
		require.GreaterOrEqual(t, joined, apart)
		worst := 0.1 // of what is between the better of the two and the truth, or so
		require.Less(t, exact-joined, worst*(exact-apart)+0.03*math.Abs(exact)+1e-5, "%d %v: exact %v, joined %v, apart %v", trial, ball, exact, joined, apart)
	}
}

// TestJoinBalls: on networks of many kinds margins only grow, and no point of ball and box is
// below them.
func TestJoinBalls(t *testing.T) {
	grown := 0
	for k, a := range append(deeper(), layerArchitectures()...) {
		m := newLayers(t, a, 8, rand.New(rand.NewPCG(4, uint64(k))))
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		pool := kernels.NewPool(1)
		defer pool.Close()
		r := rand.New(rand.NewPCG(9, uint64(k)))
		x := make([]float32, a.Input.Size())
		for i := range x {
			x[i] = []float32{0, 1, r.Float32()}[r.IntN(3)]
		}
		y := labels(t, n, x, 1)
		ball := net.Ball{Norm: []net.Norm{net.L2, net.L1}[k%2], Eps: net.MustEpsilon("0.1")}
		for method := MethodCROWNIBP; method <= MethodAlphaCROWN; method++ {
			o := Options{Method: method, Iterations: 4}
			v, err := New(n, pool)
			require.NoError(t, err)
			var apart, joined Result
			require.NoError(t, v.Certify(context.Background(), o, ball, Batch{x, y}, &apart))
			v.JoinBalls()
			certify := func() { err = v.Certify(context.Background(), o, ball, Batch{x, y}, &joined) }
			certify()
			require.NoError(t, err)
			assert.Zero(t, testing.AllocsPerRun(3, certify), a.Name)
			assert.GreaterOrEqual(t, joined.Margin[0], apart.Margin[0]-1e-3*abs32(apart.Margin[0]), "%s %v", a.Name, method) // slopes differ
			if joined.Margin[0] > apart.Margin[0] {
				grown++
			}
			for range 200 {
				assert.GreaterOrEqual(t, marginAt(t, n, somewhere(r, ball, x), y[0]), joined.Margin[0], "%s %v", a.Name, method)
			}
		}
	}
	assert.Greater(t, grown, 20)
}

// somewhere returns a point of ball and box, at the edge of one of them.
func somewhere(r *rand.Rand, ball net.Ball, x []float32) []float32 {
	d, length := make([]float64, len(x)), 0.0
	for k := range d {
		d[k] = r.NormFloat64()
		if r.IntN(3) > 0 {
			d[k] = 0
		}
		if ball.Norm == net.L2 {
			length += d[k] * d[k]
		} else {
			length += math.Abs(d[k])
		}
	}
	if ball.Norm == net.L2 {
		length = math.Sqrt(length)
	}
	p := make([]float32, len(x))
	for k := range p {
		p[k] = float32(min(max(float64(x[k])+0.999999*ball.Eps.Float64()*d[k]/max(length, 1e-9), 0), 1))
	}
	return p
}

func marginAt(t *testing.T, n *net.Network, x []float32, y int) float32 {
	t.Helper()
	z := make([]float32, n.Output().Size())
	require.NoError(t, n.NewRunner(kernels.NewPool(1)).Logits(context.Background(), z, x, 1))
	least := float32(math.Inf(1))
	for j, v := range z {
		if j != y {
			least = min(least, z[y]-v)
		}
	}
	return least
}
