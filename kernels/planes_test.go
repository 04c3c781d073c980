package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// planesCase is a window of neurons with its buffers.
type planesCase struct {
	list      []PlaneNeuron
	run       PlaneRun
	all, bufs [][]float32 // state, rows, y, g, v, values
	factor    float32
}

func drawPlanes(r *rand.Rand, fill func(*rand.Rand, []float32), count int) *planesCase {
	c := &planesCase{factor: 1 + 0x1p-18, run: PlaneRun{5 + r.IntN(3), 6 + r.IntN(5)}}
	if r.IntN(4) == 0 {
		c.run = PlaneRun{Weights: 300, Window: 300}
	}
	inputs := 5 * c.run.Window
	for k := range count {
		n := PlaneNeuron{N: 1 + r.IntN(min(c.run.Weights, c.run.Window)), Rows: 1 + r.IntN(4), Window: r.IntN(c.run.Window), Lane: k + r.IntN(2)*(count-k-1)}
		reach := func(stride int) int { return (n.Rows-1)*stride + n.N }
		n.W, n.Q = make([]float32, reach(c.run.Weights)), make([]float32, n.Rows*n.N)
		fill(r, n.W)
		sum := float32(0)
		for i := range n.Q {
			n.Q[i] = n.W[i/n.N*c.run.Weights+i%n.N] * r.Float32()
			if v := abs32(n.Q[i]); v < 1e6 {
				sum += v
			}
		}
		n.Up = sum * 2 * r.Float32()
		n.Error, n.Start = r.Float32(), n.Up/2/max(sum, 1e-30)
		c.list = append(c.list, n)
		inputs = max(inputs, n.Window+reach(c.run.Window))
	}
	for _, n := range []int{count * PlaneState, count * Lanes, inputs * Lanes, inputs * Lanes, inputs * Lanes, count * Lanes} {
		a, b := guarded(n)
		fill(r, b)
		c.all, c.bufs = append(c.all, a), append(c.bufs, b)
	}
	for i, y := range c.bufs[2] {
		if y == y && abs32(y) > 1 {
			c.bufs[2][i] = 1 / y
		}
	}
	return c
}

// planesReference is one neuron in one lane as PlanesBack and PlanesAhead say it.
func (c *planesCase) planesReference(k, l int, b [][]float32, tiny float32, lift bool, sums *[2]float32) {
	n := &c.list[k]
	theta, height, coef := &b[0][k*PlaneState+l], &b[0][k*PlaneState+Lanes+l], &b[0][k*PlaneState+2*Lanes+l]
	if lift {
		v := &b[1][n.Lane*Lanes+l]
		*coef = *v
		if *v > 0 {
			*coef = 0
		}
		if *v < 0 {
			*v = 0
		}
	}
	some := float32(0) // of the lanes that have been lifted, and those that will be
	for i := range Lanes {
		v := b[0][k*PlaneState+2*Lanes+i]
		if lift && i > l {
			if v = b[1][n.Lane*Lanes+i]; v > 0 {
				v = 0
			}
		}
		some += v
	}
	if math.Float32bits(some) == 0 {
		return
	}
	each := func(f func(w, q, t, m float32, at int)) {
		for i, q := range n.Q {
			at := (n.Window+i/n.N*c.run.Window+i%n.N)*Lanes + l
			sign := b[2][at]
			if math.Signbit(float64(q)) {
				sign = -sign
			}
			t := *theta - sign
			m := float32(0)
			switch {
			case t > 1:
				m = 1
			case t > 0:
				m = t
			}
			f(n.W[i/n.N*c.run.Weights+i%n.N], q, t, m, at)
		}
	}
	var s, slope, value float32
	each(func(_, q, t, m float32, _ int) {
		part := float32(abs32(q) * m)
		if s += part; t == m {
			slope += abs32(q)
		}
	})
	short := n.Up/2 - s
	switch {
	case !(*coef < 0):
	case slope > 0:
		*theta += short / slope
	case short > 0:
		*theta += 0.25
	case short < 0:
		*theta -= 0.25
	}
	if *coef < 0 {
		*theta = max(min(*theta, 2), -1)
	}
	s = 0
	each(func(w, q, _, m float32, at int) {
		part := float32(abs32(q) * m)
		s += part
		product := float32(float32(*coef*w) * m)
		b[3][at] += product
		part = float32(q * m)
		if !math.Signbit(float64(b[4][at])) {
			part = -part
		}
		value += part
	})
	d := float32(max(s, n.Up-s)*c.factor) + tiny
	*height = d
	product := float32(*coef * d)
	sums[0] += product
	product = float32(abs32(*coef) * n.Error)
	sums[1] += product
	if *coef < 0 {
		b[5][n.Lane*Lanes+l] = value + d
	}
}

// TestPlanes tries windows of neurons of every shape.
func TestPlanes(t *testing.T) {
	sc := new(Scratch)
	for _, isa := range Available() {
		r := rand.New(rand.NewPCG(17, 8))
		for _, count := range []int{1, 2, 7, 40, RelaxBlock, RelaxBlock + 9} {
			for round := range 6 {
				c := drawPlanes(r, fillRandom, count)
				for k := range c.list { // θ in the middle, and coefficients of both signs and none
					for l := range Lanes {
						c.bufs[0][k*PlaneState+l] = 2*r.Float32() - 0.5
						c.bufs[0][k*PlaneState+2*Lanes+l] = -abs32(c.bufs[0][k*PlaneState+2*Lanes+l])
						if k%3 == 2 {
							c.bufs[0][k*PlaneState+2*Lanes+l] = 0
						}
					}
				}
				lift := round%2 == 0
				if lift { // lanes of their own
					for k := range c.list {
						c.list[k].Lane = count - 1 - k
					}
				}
				want, tiny := copies(c.bufs), float32(0x1p-140)
				var sums RelaxSums
				for from := 0; from < count; from += RelaxBlock {
					var chain [Lanes][2]float32
					for k := from; k < min(from+RelaxBlock, count); k++ {
						for l := range Lanes {
							c.planesReference(k, l, want, tiny, lift, &chain[l])
						}
					}
					for l := range Lanes {
						sums.T[l] += float64(chain[l][0])
						sums.E[l] += float64(chain[l][1])
					}
				}
				var p Planes
				p.Reset(c.run)
				for k := range c.list {
					p.Add(&c.list[k])
				}
				require.Equal(t, count, p.Len())
				var got RelaxSums
				b := c.bufs
				isa.PlanesBack(sc, &p, b[0], b[1], b[2], b[3], c.factor, tiny, lift, &got)
				isa.PlanesAhead(sc, &p, b[0], b[5], b[2], b[4])
				require.Equal(t, sums, got, "%s, %d neurons", isa.Name(), count)
				for i := range want {
					requireSameBits(t, want[i], b[i], fmt.Sprintf("%s: buffer %d of %d neurons", isa.Name(), i, count))
					requireGuards(t, c.all[i])
				}
			}
		}
		c := drawPlanes(r, fillRandom, 3)
		var p Planes
		p.Reset(c.run)
		for k := range c.list {
			p.Add(&c.list[k])
		}
		for i := range c.bufs[:4] {
			args := slices.Clone(c.bufs)
			args[i] = args[i][:Lanes-1]
			require.Panics(t, func() {
				isa.PlanesBack(sc, &p, args[0], args[1], args[2], args[3], 1, 0, true, new(RelaxSums))
			}, i)
		}
		b := c.bufs
		var ignored RelaxSums
		require.Zero(t, testing.AllocsPerRun(5, func() { isa.PlanesBack(sc, &p, b[0], b[1], b[2], b[3], 1, 0, true, &ignored) }))
		for _, bad := range []PlaneNeuron{{}, {N: 1, Rows: 1, W: []float32{1}}, {N: 1, Rows: 1, Q: []float32{1}}, {N: 2, Rows: 1, W: []float32{1}, Q: []float32{1, 1}}} {
			require.Panics(t, func() { p.Add(&bad) })
		}

		// A coefficient that is NaN is lost nowhere.
		c = drawPlanes(r, fillRandom, 1)
		p.Reset(c.run)
		p.Add(&c.list[0])
		b = c.bufs
		b[1][c.list[0].Lane*Lanes+3] = float32(math.NaN())
		var sums RelaxSums
		isa.PlanesBack(sc, &p, b[0], b[1], b[2], b[3], 1, 0, true, &sums)
		require.True(t, math.IsNaN(sums.T[3]) && math.IsNaN(sums.E[3]) && math.IsNaN(float64(b[1][c.list[0].Lane*Lanes+3])))
	}
}

// TestSettle: S of every neuron and lane is Up/2 then, but for the rounding of θ.
func TestSettle(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 3))
	for range 30 {
		c := drawPlanes(r, fillRandom, 1+r.IntN(12))
		y := c.bufs[2]
		for k := range y {
			y[k] = []float32{y[k], 1, -1, 0}[r.IntN(4)]
		}
		var p Planes
		p.Reset(c.run)
		for k := range c.list {
			p.Add(&c.list[k])
		}
		state := make([]float32, p.Len()*PlaneState)
		p.Settle(state, y)
		for k := range c.list {
			n := &c.list[k]
			for l := range Lanes {
				sum, total := 0.0, 0.0
				for i, q := range n.Q {
					at := float64(y[(n.Window+i/n.N*c.run.Window+i%n.N)*Lanes+l])
					if q < 0 {
						at = -at
					}
					m := min(max(float64(p.Theta(state, k)[l])-at, 0), 1)
					sum, total = sum+float64(m*math.Abs(float64(q))), total+math.Abs(float64(q))
				}
				require.InDelta(t, float64(n.Up)/2, sum, 1e-6*total)
			}
		}
	}
}
