package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLines: all kernel sets give the bits of the pure Go one, and stay inside.
func TestLines(t *testing.T) {
	for _, isa := range Available() {
		for _, special := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/special=%v", isa.Name(), special), func(t *testing.T) {
				r := rand.New(rand.NewPCG(7, 8))
				fill := fillRandom
				if special {
					fill = fillSpecial
				}
				for _, n := range []int{0, 1, 2, 3, RelaxBlock - 1, RelaxBlock, RelaxBlock + 1, 3*RelaxBlock + 5} {
					var all, mine, plain [][]float32
					for i := range 9 {
						size := n * Lanes
						if i == 8 {
							size = n
						}
						whole, s := guarded(size)
						fill(r, s)
						all, mine = append(all, whole), append(mine, s)
					}
					plain = copies(mine)
					var scale [Lanes]float32
					fill(r, scale[:])
					var want, sums [Lanes]float64
					run := func(isa *ISA, s [][]float32, sum *[Lanes]float64) {
						l := Lines{s[0], s[1], s[2]}
						sc := new(Scratch)
						l.Back(isa, sc, s[3], s[4], s[8], sum)
						l.Ahead(isa, sc, s[5], s[4], &scale, s[6], s[7])
					}
					run(generic, plain, &want)
					run(isa, mine, &sums)
					for i := range mine {
						requireSameBits(t, plain[i], mine[i], fmt.Sprint(n, " slice ", i))
						requireGuards(t, all[i])
					}
					for i := range sums {
						if sums[i] == sums[i] || want[i] == want[i] {
							require.Equal(t, want[i], sums[i])
						}
					}
				}
			})
		}
	}
}

// TestLinesAdjoint: what Ahead does is the derivative of Back.
func TestLinesAdjoint(t *testing.T) {
	l := Lines{Lower: []float32{0, 1, 0.5}, Upper: []float32{0.25, 1, 0.75}, Intercept: []float32{2, 0, 1}}
	for _, s := range []*[]float32{&l.Lower, &l.Upper, &l.Intercept} {
		wide := make([]float32, 3*Lanes)
		for k := range wide {
			wide[k] = (*s)[k/Lanes]
		}
		*s = wide
	}
	src, bias := make([]float32, 3*Lanes), []float32{1, 2, 4}
	for k := range src {
		src[k] = float32(k%Lanes) - 3.5
	}
	sc := new(Scratch)
	var scale [Lanes]float32
	for i := range scale {
		scale[i] = 0.5
	}
	dst := make([]float32, len(src))
	var sum [Lanes]float64
	l.Back(generic, sc, dst, src, bias, &sum)
	for i := range Lanes {
		v := float64(i) - 3.5
		want := 0.0 // intercepts of negative coefficients, and biases
		for k, at := range []float64{2, 0, 1} {
			slope := l.Lower[k*Lanes]
			if v < 0 {
				slope = l.Upper[k*Lanes]
				want += v * at
			}
			assert.Equal(t, float32(v)*slope, dst[k*Lanes+i])
			want += v * float64(slope) * float64(bias[k])
		}
		assert.Equal(t, want, sum[i])
	}
	z, ofUpper, ofIntercept := make([]float32, len(src)), make([]float32, len(src)), make([]float32, len(src))
	for k := range z {
		z[k] = float32(k / Lanes)
	}
	l.Ahead(generic, sc, z, src, &scale, ofUpper, ofIntercept)
	for k := range z {
		v, x := float32(k%Lanes)-3.5, float32(k/Lanes)
		slope, at, n := l.Lower[k], float32(0), float32(0)
		if v < 0 {
			slope, at, n = l.Upper[k], l.Intercept[k], v
		}
		assert.Equal(t, x*slope+at, z[k])
		assert.Equal(t, dst[k]/2, src[k])
		assert.Equal(t, n/2, ofIntercept[k])
		assert.Equal(t, n/2*x, ofUpper[k])
	}
}

func TestLinesDoesNotAllocate(t *testing.T) {
	s := make([][]float32, 9)
	for i := range s {
		s[i] = make([]float32, 4*Lanes)
	}
	l, sc, isa := Lines{s[0], s[1], s[2]}, new(Scratch), Available()[0]
	var sum [Lanes]float64
	var scale [Lanes]float32
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		l.Back(isa, sc, s[3], s[4], s[8][:4], &sum)
		l.Ahead(isa, sc, s[5], s[4], &scale, s[6], s[7])
	}))
}
