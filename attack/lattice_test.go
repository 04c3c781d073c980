package attack

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// latticeSpace is a Space without a network.
func latticeSpace(b net.Ball, l net.Layout, size int) *Space {
	s := &Space{Layout: l, Size: size, Classes: 2, ISA: kernels.Default()}
	s.aim(b)
	return s
}

// latticeCase is an image, a point, and the box of a ball.
type latticeCase struct{ centre, x, lo, hi []float32 }

// drawCase draws an image of so many pixels, whole shares of 1/top or not, and a point in
// the ball or outside.
func drawCase(r *rand.Rand, b net.Ball, size int, top float32, whole, inside bool) latticeCase {
	c := latticeCase{make([]float32, size), make([]float32, size), make([]float32, size), make([]float32, size)}
	sparse := r.Float64()
	for i := range c.centre {
		switch r.IntN(4) {
		case 0: // black and white have neighbours on one side alone
			c.centre[i] = float32(r.IntN(2))
		case 1:
			c.centre[i] = r.Float32()
			if whole {
				c.centre[i] = float32(r.IntN(int(top)+1)) / top
			}
		default:
			c.centre[i] = float32(r.IntN(int(top)+1)) / top
		}
	}
	b.Box().Inner(c.lo, c.hi, c.centre)
	scale := b.Eps.Float64() * math.Exp(3*r.Float64()-1)
	for {
		for i, v := range c.centre {
			d := scale * (2*r.Float64() - 1)
			if c.x[i] = v; r.Float64() > sparse {
				c.x[i] = float32(min(max(float64(v)+d, 0), 1))
			}
			if b.Norm == net.Linf && inside {
				c.x[i] = min(max(c.x[i], c.lo[i]), c.hi[i])
			}
		}
		switch in := b.Contains(c.centre, c.x); {
		case in && inside, !in && !inside:
			return c
		case inside:
			scale *= 0.8
			sparse = 1 - (1-sparse)*0.9
		default:
			scale = 2*scale + 0.1
			sparse *= 0.5
		}
	}
}

// roundAll rounds points, each of which is a lane of one block.
func roundAll(bits int, b net.Ball, l net.Layout, cases []latticeCase) [][]float32 {
	size := len(cases[0].x)
	s := latticeSpace(b, l, size)
	q := newLattice(bits, s)
	block := func(of func(c *latticeCase) []float32) []float32 {
		t := make([]float32, size*int(l))
		for k := range cases {
			for i, v := range of(&cases[k]) {
				t[i*int(l)+k] = v
			}
		}
		return t
	}
	dst := make([]float32, size*int(l))
	q.round(dst, block(func(c *latticeCase) []float32 { return c.x }), block(func(c *latticeCase) []float32 { return c.lo }),
		block(func(c *latticeCase) []float32 { return c.hi }), block(func(c *latticeCase) []float32 { return c.centre }))
	out := make([][]float32, len(cases))
	for k := range out {
		out[k] = make([]float32, size)
		for i := range size {
			out[k][i] = dst[i*int(l)+k]
		}
	}
	return out
}

func distanceOf(n net.Norm, x, c []float32) float64 {
	var linf, l1, l2, l0 float64
	for i, v := range x {
		d := math.Abs(float64(v) - float64(c[i]))
		linf, l1, l2 = max(linf, d), l1+d, l2+d*d
		if d > 0 {
			l0++
		}
	}
	return []float64{linf, math.Sqrt(l2), l1, l0}[n]
}

// onLattice reports whether all pixels are shares of 2^bits − 1, found by division.
func onLattice(x []float32, bits int) bool {
	top := float64(int(1)<<bits - 1)
	for _, v := range x {
		if float32(math.Round(float64(v)*top)/top) != v {
			return false
		}
	}
	return true
}

// TestLatticeRound: what a point is rounded to is on the lattice and, if the point is in
// the ball and a lattice point too, in the ball, exactly; it is rounded to itself, and
// depends on no other point of the block. Points outside hardly get further away.
func TestLatticeRound(t *testing.T) {
	radii := map[net.Norm][]string{
		net.Linf: {"0", "1/255", "8/255", "16/255", "0.1", "26/255", "1"},
		net.L2:   {"0", "1/255", "0.05", "0.5", "2", "26/255"},
		net.L1:   {"0", "1/255", "0.3", "80/255", "7"},
		net.L0:   {"0", "0.5", "1", "3", "17.9"},
	}
	const size, rounds = 23, 120
	r := rand.New(rand.NewPCG(12, 1))
	reached, missed := 0, 0
	for norm, list := range radii {
		for _, eps := range list {
			b := ball(norm, eps)
			for round := range rounds {
				bits := []int{8, 8, 8, 1, 3, 5}[round%6]
				top := float32(int(1)<<bits - 1)
				whole, inside := round%4 != 3, round%5 != 4
				if b.Eps.Float64() == 1 && norm == net.Linf {
					inside = true // there is nothing outside
				}
				cases := make([]latticeCase, kernels.Lanes)
				for k := range cases {
					cases[k] = drawCase(r, b, size, top, whole, inside)
				}
				got := roundAll(bits, b, net.LaneGroups, cases)
				q := newLattice(bits, latticeSpace(b, net.Singles, size))
				near := make([]float32, size)
				for k, c := range cases {
					alone := roundAll(bits, b, net.Singles, cases[k:k+1])[0]
					require.Equal(t, got[k], alone, "%v, %d bits", b, bits)
					reaches := q.reaches(near, c.centre)
					if whole {
						require.True(t, reaches)
						require.Equal(t, c.centre, near)
					}
					if !reaches {
						missed++
						continue
					}
					require.True(t, onLattice(got[k], bits), "%v, %d bits: %v", b, bits, got[k])
					if inside {
						reached++
						require.True(t, b.Contains(c.centre, got[k]), "%v, %d bits, whole %v: %v to %v around %v", b, bits, whole, c.x, got[k], c.centre)
						again := roundAll(bits, b, net.Singles, []latticeCase{{c.centre, got[k], c.lo, c.hi}})[0]
						require.Equal(t, got[k], again, "%v, %d bits, whole %v", b, bits, whole)
					} else if whole {
						require.LessOrEqual(t, distanceOf(norm, got[k], c.centre), distanceOf(norm, c.x, c.centre)*(1+1e-6))
					}
				}
			}
		}
	}
	require.Greater(t, reached, 10_000)
	require.Greater(t, missed, 100, "no ball without lattice points")
}

// TestLatticeNearest: a point well inside the ball is rounded to the nearest one, and a
// point on the surface stays near to that: at most a level in any pixel, and no further
// inside than the rounding needs.
func TestLatticeNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 2))
	const size = 200
	for _, b := range []net.Ball{ball(net.Linf, "0.2"), ball(net.L2, "1.5"), ball(net.L1, "12")} {
		worst := 1.0
		for range 200 {
			c := drawCase(r, b, size, 255, true, true)
			length := distanceOf(b.Norm, c.x, c.centre) / b.Eps.Float64()
			got := roundAll(8, b, net.Singles, []latticeCase{c})[0]
			for i, v := range got {
				off := math.Abs(float64(v)-float64(c.x[i])) * 255
				require.Less(t, off, 1+1e-4)
				if length < 0.9 {
					require.LessOrEqual(t, off, 0.5+1e-4)
				}
			}
			if b.Norm != net.Linf && length > 0.98 { // else whole levels are lost
				worst = min(worst, distanceOf(b.Norm, got, c.centre)/b.Eps.Float64())
			}
		}
		require.Greater(t, worst, 0.97, "%v", b)
	}
}

// TestLatticeAttack: all points that an attack on the lattice finds around pictures are on
// it and inside, and it fools about as often.
func TestLatticeAttack(t *testing.T) {
	const n = 45
	s := newSetup(t, tiny, 1, n, "")
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			c.Lattice = 0
			plain := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
			c.Lattice, c.Recheck = 8, true
			r := s.run(t, c, Batch{X: s.x, Y: s.y}, 2)
			fooled, float := 0, 0
			for i := range n {
				require.True(t, r.Done[i])
				require.True(t, c.Ball.Contains(s.image(s.x, i), s.image(r.Adv, i)))
				require.True(t, onLattice(s.image(r.Adv, i), 8))
				if r.Success[i] {
					fooled++
				}
				if plain.Success[i] {
					float++
				}
			}
			require.Greater(t, fooled, 5)
			require.InDelta(t, float, fooled, 4)
		})
	}
}

// TestLatticeOutOfReach: images whose ball has no point of the lattice are classified and
// left as they are.
func TestLatticeOutOfReach(t *testing.T) {
	const n = 20
	s := newSetup(t, tiny, 1, n, "")
	for i := range s.x[:10*s.size] {
		s.x[i] = min(s.x[i]+0.4/255, 254.5/255)
	}
	z := s.logits(t, s.x, n)
	for i := range s.y {
		s.y[i] = net.Argmax(z[i*5 : (i+1)*5])
	}
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, c := range []struct {
		ball    net.Ball
		reached bool
	}{
		{ball(net.Linf, "0.001"), false},
		{ball(net.Linf, "0.3"), true},
		{ball(net.L2, "0.001"), false},
		{ball(net.L2, "2"), true},
		{ball(net.L1, "0.02"), false},
		{ball(net.L1, "20"), true},
	} {
		a, err := New(s.n, Config{Ball: c.ball, Method: PGD{Steps: 10}, Lattice: 8, Recheck: true}, pool)
		require.NoError(t, err)
		var r Result
		require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r))
		for i := range n {
			require.True(t, r.Done[i] && r.Clean[i])
			require.True(t, !r.Success[i] || onLattice(s.image(r.Adv, i), 8))
		}
		require.Equal(t, c.reached, slices.Contains(r.Success[:10], true), "%v", c.ball)
		if !c.reached {
			require.Equal(t, s.x[:10*s.size], r.Adv[:10*s.size])
		}
	}
}

func TestBadLattice(t *testing.T) {
	s := newSetup(t, linear, 1, 1, "")
	for _, bits := range []int{-1, 9} {
		_, err := New(s.n, Config{Ball: ball(net.Linf, "0.1"), Method: FGSM{}, Lattice: bits}, kernels.NewPool(1))
		require.ErrorContains(t, err, "want 1 … 8, or 0 for none")
	}
}

// TestLatticeBall: an ε of whole levels holds all pictures that many levels away, and none
// that is one more.
func TestLatticeBall(t *testing.T) {
	for _, bits := range []int{1, 3, 8} {
		top := 1<<bits - 1
		for n := 1; n < top; n++ {
			b := LatticeBall(net.Ball{Norm: net.Linf, Eps: net.MustEpsilon(fmt.Sprintf("%d/%d", n, top))}, bits)
			lo, hi := b.Eps.Bounds()
			require.InDelta(t, float64(n)/float64(top), lo, 0x1p-23)
			require.InDelta(t, lo, hi, 1e-15)
			for k := range top + 1 {
				at := func(k int) []float32 { return []float32{float32(k) / float32(top)} }
				require.True(t, b.Contains(at(k), at(min(k+n, top))), "%d + %d of %d", k, n, top)
				if k+n < top {
					require.False(t, b.Contains(at(k), at(k+n+1)))
				}
			}
		}
	}
	for _, b := range []net.Ball{ball(net.Linf, "0.0314"), ball(net.Linf, "0"), ball(net.Linf, "1"), ball(net.L2, "8/255")} {
		require.Equal(t, b, LatticeBall(b, 8))
	}
	require.Equal(t, ball(net.Linf, "8/255"), LatticeBall(ball(net.Linf, "8/255"), 0))
}
