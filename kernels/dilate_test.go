package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDilate compares a convolution with zeros between its taps with chains over the taps,
// forward, backward and for the weights.
func TestDilate(t *testing.T) {
	const groups, dilH, dilW = 2, 2, 3
	s := Shape{InC: 3, InH: 9, InW: 11, OutC: 5, KH: 3, KW: 2, StrideH: 2, StrideW: 1, PadH: 2, PadW: 1}
	d := s.Dilate(dilH, dilW)
	r := rand.New(rand.NewPCG(1, 2))
	w, b := make([]float32, s.Weights()), make([]float32, s.OutC)
	x, dy := make([]float32, groups*d.In()*Lanes), make([]float32, groups*d.Out()*Lanes)
	for _, v := range [][]float32{w, b, x, dy} {
		fillRandom(r, v)
	}
	wantY, wantX := make([]float32, len(dy)), make([]float32, len(x))
	wantW := make([]float64, len(w))
	for n := range groups * Lanes {
		for y := range d.OutH() {
			for xx := range d.OutW() {
				for o := range s.OutC {
					at := laneAt(s.OutC, d.OutH(), d.OutW(), n, o, y, xx)
					acc := b[o]
					for k := range s.KH * s.KW {
						iy, ix := y*s.StrideH-s.PadH+k/s.KW*dilH, xx*s.StrideW-s.PadW+k%s.KW*dilW
						if iy < 0 || ix < 0 || iy >= s.InH || ix >= s.InW {
							continue
						}
						for c := range s.InC {
							from, wi := laneAt(s.InC, s.InH, s.InW, n, c, iy, ix), (o*s.InC+c)*s.KH*s.KW+k
							acc = FMA32(x[from], w[wi], acc)
							wantX[from] = FMA32(dy[at], w[wi], wantX[from])
							wantW[(o*s.KH*s.KW+k)*s.InC+c] += float64(dy[at]) * float64(x[from])
						}
					}
					wantY[at] = acc
				}
			}
		}
	}
	for _, isa := range Available() {
		sc, wide := new(Scratch), make([]float32, d.Weights())
		DilateWeights(wide, w, s, dilH, dilW)
		fwd, adj, small, grad := NewForward(isa, d), NewAdjoint(isa, d), NewSmall(isa, d), NewWeightGrad(isa, d)
		fwd.Pack(wide, false)
		fwd.SetBias(b)
		adj.Pack(wide, false)
		small.Pack(wide, false)
		small.SetBias(b)
		y, dx := make([]float32, len(wantY)), make([]float32, len(wantX))
		fwd.Apply(sc, y, x, groups, None, nil)
		adj.Apply(sc, dx, dy, groups, None, nil)
		requireEqualValues(t, wantY, y, isa.Name())
		requireEqualValues(t, wantX, dx, isa.Name())

		one, out := make([]float32, d.In()), make([]float32, d.Out())
		for i := range one {
			one[i] = x[i*Lanes]
		}
		small.Apply(sc, out, one, 1, None, nil, 0, 1)
		for i, v := range out {
			require.Equal(t, wantY[i*Lanes], v)
		}

		dw, db := make([]float32, d.Weights()), make([]float32, s.OutC)
		for task := range grad.Tasks() {
			from, to := grad.Channels(task)
			grad.Apply(sc, dw[from*d.FanIn():to*d.FanIn()], db[from:to], dy, x, groups, task)
		}
		taps := make([]float32, len(w))
		UndilateGrad(taps, dw, s, dilH, dilW)
		for i, v := range taps {
			require.InDelta(t, wantW[i], v, 1e-3)
		}
	}
}

// TestDilateCorners shows where zeros between taps are not as if nothing was there.
func TestDilateCorners(t *testing.T) {
	s := Shape{InC: 1, InH: 1, InW: 3, OutC: 1, KH: 1, KW: 2, StrideH: 1, StrideW: 1}
	wide := make([]float32, 3)
	DilateWeights(wide, []float32{1, 1}, s, 1, 2)
	require.Equal(t, []float32{1, 0, 1}, wide)
	zero := float32(math.Copysign(0, -1))
	for _, c := range []struct{ between, want float32 }{{1, 2}, {zero, 2}, {float32(math.Inf(1)), float32(math.NaN())}} {
		l := NewSmall(Available()[0], s.Dilate(1, 2))
		l.Pack(wide, false)
		out := make([]float32, 1)
		l.Apply(new(Scratch), out, []float32{1, c.between, 1}, 1, None, nil, 0, 1)
		requireSameBits(t, []float32{c.want}, out, fmt.Sprint(c.between))
	}
}
