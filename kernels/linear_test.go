package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// shapes cover every tile width, channel tails, widths that are no multiple of
// the pixel tile, strides larger and smaller than the kernel, all paddings.
var shapes = []Shape{
	{1, 7, 7, 1, 1, 1, 1, 1, 0, 0},
	{1, 8, 8, 5, 4, 4, 2, 2, 0, 0},
	{2, 6, 5, 4, 3, 3, 1, 1, 1, 1},
	{3, 9, 7, 6, 3, 3, 2, 2, 1, 1},
	{3, 5, 5, 7, 5, 5, 1, 1, 2, 2},
	{4, 5, 6, 8, 2, 3, 1, 2, 0, 1},
	{5, 4, 4, 3, 4, 4, 3, 3, 3, 3},
	{6, 10, 3, 2, 10, 1, 1, 1, 0, 0}, // one-dimensional
	{7, 6, 6, 9, 1, 1, 2, 2, 0, 0},   // stride beyond the kernel: inputs without taps
	{2, 11, 11, 10, 2, 2, 3, 3, 0, 0},
	{1, 28, 28, 16, 4, 4, 2, 2, 0, 0},
	{1, 13, 13, 11, 4, 4, 1, 1, 0, 0},
	FC(1, 2), FC(17, 10), FC(33, 4), FC(64, 13), FC(5, 3), FC(3, 1),
}

// otherSets are kernel sets that this machine can run and does not choose.
var otherSets []*ISA

func testSets() []*ISA { return append(Available()[:len(Available()):len(Available())], otherSets...) }

// guarded returns n values inside NaN guard words at an odd offset, so that
// assembly sees misaligned pointers and a stray store or load is seen.
func guarded(n int) (all, inner []float32) {
	all = make([]float32, n+2*19)
	for i := range all {
		all[i] = math.Float32frombits(0x7fc0dead)
	}
	return all, all[19 : 19+n : 19+n]
}

func requireGuards(t *testing.T, all []float32) {
	t.Helper()
	for i := range 19 {
		require.EqualValues(t, 0x7fc0dead, math.Float32bits(all[i]), "guard word before the buffer")
		require.EqualValues(t, 0x7fc0dead, math.Float32bits(all[len(all)-1-i]), "guard word after the buffer")
	}
}

func fillRandom(r *rand.Rand, s []float32) {
	for i := range s {
		s[i] = r.Float32()*2 - 1
		if r.IntN(16) == 0 {
			s[i] = 0
		}
	}
}

func requireBits(t *testing.T, want, have []float32) {
	t.Helper()
	require.Len(t, have, len(want))
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(have[i]) {
			require.Failf(t, "bits differ", "at %d: want %v (%#x), have %v (%#x)", i,
				want[i], math.Float32bits(want[i]), have[i], math.Float32bits(have[i]))
		}
	}
}

// laneAt is the index of (image n, channel c, row y, column x).
func laneAt(c, h, w, n, ch, y, x int) int {
	return (((n/Lanes*h+y)*w+x)*c+ch)*Lanes + n%Lanes
}

// plainForward is the textbook convolution, one FMA chain an output.
func plainForward(s Shape, src, w, b []float32, groups int) []float32 {
	out := make([]float32, groups*s.Out()*Lanes)
	for n := range groups * Lanes {
		for o := range s.OutC {
			for y := range s.OutH() {
				for x := range s.OutW() {
					acc := b[o]
					for ky := range s.KH {
						for kx := range s.KW {
							iy, ix := y*s.StrideH+ky-s.PadH, x*s.StrideW+kx-s.PadW
							if iy < 0 || iy >= s.InH || ix < 0 || ix >= s.InW {
								continue
							}
							for c := range s.InC {
								acc = FMA32(src[laneAt(s.InC, s.InH, s.InW, n, c, iy, ix)], w[((o*s.InC+c)*s.KH+ky)*s.KW+kx], acc)
							}
						}
					}
					out[laneAt(s.OutC, s.OutH(), s.OutW(), n, o, y, x)] = acc
				}
			}
		}
	}
	return out
}

func plainAdjoint(s Shape, dy, w []float32, groups int) []float32 {
	out := make([]float32, groups*s.In()*Lanes)
	for n := range groups * Lanes {
		for c := range s.InC {
			for iy := range s.InH {
				for ix := range s.InW {
					var acc float32
					for y := range s.OutH() {
						for x := range s.OutW() {
							ky, kx := iy+s.PadH-y*s.StrideH, ix+s.PadW-x*s.StrideW
							if ky < 0 || ky >= s.KH || kx < 0 || kx >= s.KW {
								continue
							}
							for o := range s.OutC {
								acc = FMA32(dy[laneAt(s.OutC, s.OutH(), s.OutW(), n, o, y, x)], w[((o*s.InC+c)*s.KH+ky)*s.KW+kx], acc)
							}
						}
					}
					out[laneAt(s.InC, s.InH, s.InW, n, c, iy, ix)] = acc
				}
			}
		}
	}
	return out
}

func plainWeightGrad(s Shape, dy, x []float32, groups int) (dw, db []float32) {
	dw, db = make([]float32, s.Weights()), make([]float32, s.OutC)
	for o := range s.OutC {
		var bias lane
		for g := range groups {
			for y := range s.OutH() {
				for xx := range s.OutW() {
					for l := range Lanes {
						bias[l] = FMA32(1, dy[laneAt(s.OutC, s.OutH(), s.OutW(), g*Lanes+l, o, y, xx)], bias[l])
					}
				}
			}
		}
		db[o] = laneSum(&bias)
		for ky := range s.KH {
			for kx := range s.KW {
				for c := range s.InC {
					var acc lane
					for g := range groups {
						for y := range s.OutH() {
							for xx := range s.OutW() {
								iy, ix := y*s.StrideH+ky-s.PadH, xx*s.StrideW+kx-s.PadW
								if iy < 0 || iy >= s.InH || ix < 0 || ix >= s.InW {
									continue
								}
								for l := range Lanes {
									n := g*Lanes + l
									acc[l] = FMA32(x[laneAt(s.InC, s.InH, s.InW, n, c, iy, ix)],
										dy[laneAt(s.OutC, s.OutH(), s.OutW(), n, o, y, xx)], acc[l])
								}
							}
						}
					}
					dw[((o*s.KH+ky)*s.KW+kx)*s.InC+c] = laneSum(&acc)
				}
			}
		}
	}
	return dw, db
}

// TestLinearMeaning holds every kernel set to the textbook loops, bit for bit.
func TestLinearMeaning(t *testing.T) {
	for _, isa := range testSets() {
		for _, s := range shapes {
			for groups := 1; groups <= 4; groups++ {
				if groups > 1 && s.MACs() > 20000 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%v/g%d", isa.Name(), s, groups), func(t *testing.T) {
					r := rand.New(rand.NewPCG(1, uint64(groups)))
					w, b := make([]float32, s.Weights()), make([]float32, s.OutC)
					_, x := guarded(groups * s.In() * Lanes)
					_, dy := guarded(groups * s.Out() * Lanes)
					for _, v := range [][]float32{w, b, x, dy} {
						fillRandom(r, v)
					}
					sc := new(Scratch)
					fwd := NewForward(isa, s)
					fwd.Pack(w, false)
					fwd.SetBias(b)
					want := plainForward(s, x, w, b, groups)
					all, out := guarded(len(want))
					fwd.Apply(sc, out, x, groups, None, nil)
					requireBits(t, want, out)
					fwd.Apply(sc, out, x, groups, ReLU, nil)
					for i, v := range want {
						want[i] = epilogue(v, ReLU, 0)
					}
					requireBits(t, want, out)
					requireGuards(t, all)

					abs := make([]float32, len(w))
					for i, v := range w {
						abs[i] = abs32(v)
					}
					fwd.Pack(w, true)
					fwd.Apply(sc, out, x, groups, None, nil)
					requireBits(t, plainForward(s, x, abs, b, groups), out)

					adj := NewAdjoint(isa, s)
					adj.Pack(w, false)
					want = plainAdjoint(s, dy, w, groups)
					all, dx := guarded(len(want))
					adj.Apply(sc, dx, dy, groups, None, nil)
					requireBits(t, want, dx)
					adj.Apply(sc, dx, dy, groups, Gate, x)
					for i, v := range want {
						want[i] = epilogue(v, Gate, x[i])
					}
					requireBits(t, want, dx)
					requireGuards(t, all)

					wg := NewWeightGrad(isa, s)
					wantW, wantB := plainWeightGrad(s, dy, x, groups)
					allW, dw := guarded(len(wantW))
					allB, db := guarded(len(wantB))
					for task := range wg.Tasks() {
						from, to := wg.Channels(task)
						wg.Apply(sc, dw[from*s.FanIn():to*s.FanIn()], db[from:to], dy, x, groups, task)
					}
					requireBits(t, wantW, dw)
					requireBits(t, wantB, db)
					requireGuards(t, allW)
					requireGuards(t, allB)
				})
			}
		}
	}
}

// TestLinearEdgeLengths runs every channel and pixel count around the tiles.
func TestLinearEdgeLengths(t *testing.T) {
	for _, isa := range testSets() {
		for inC := 1; inC <= 6; inC++ {
			for outC := 1; outC <= 9; outC++ {
				for width := 1; width <= 10; width++ {
					s := Shape{inC, 1, width, outC, 1, 1, 1, 1, 0, 0}
					r := rand.New(rand.NewPCG(2, 3))
					w, b := make([]float32, s.Weights()), make([]float32, s.OutC)
					_, x := guarded(s.In() * Lanes)
					for _, v := range [][]float32{w, b, x} {
						fillRandom(r, v)
					}
					l := NewForward(isa, s)
					l.Pack(w, false)
					l.SetBias(b)
					all, out := guarded(s.Out() * Lanes)
					l.Apply(new(Scratch), out, x, 1, None, nil)
					requireBits(t, plainForward(s, x, w, b, 1), out)
					requireGuards(t, all)
				}
			}
		}
	}
}

// TestLinearSpecialValues: NaN, infinities, denormals and signed zeros take
// the same way on every set; a NaN is never clamped to a number.
func TestLinearSpecialValues(t *testing.T) {
	special := []float32{
		float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e-45, -1e-45, 0,
		float32(math.Copysign(0, -1)), math.MaxFloat32, -math.MaxFloat32, 1,
	}
	s := FC(2, 4)
	for _, a := range special {
		for _, c := range special {
			x := make([]float32, 2*Lanes)
			for l := range Lanes {
				x[l], x[Lanes+l] = a, c
			}
			var want []float32
			for _, isa := range testSets() {
				l := NewForward(isa, s)
				l.Pack([]float32{1, 1, -1, 1, 0.5, 0.5, 0, 1}, false)
				out := make([]float32, s.Out()*Lanes)
				l.Apply(new(Scratch), out, x, 1, ReLU, nil)
				for i, v := range out { // NaN payloads are free
					if v != v {
						out[i] = float32(math.NaN())
					}
				}
				if want == nil {
					want = out
				}
				requireBits(t, want, out)
				if a != a || c != c {
					require.True(t, out[0] != out[0], "NaN was lost: %v", out[0])
				}
			}
		}
	}
}

func TestApplyDoesNotAllocate(t *testing.T) {
	for _, isa := range testSets() {
		s := Shape{2, 6, 6, 5, 3, 3, 1, 1, 1, 1}
		l, wg, sc := NewForward(isa, s), NewWeightGrad(isa, s), new(Scratch)
		x, y := Alloc(2*s.In()*Lanes), Alloc(2*s.Out()*Lanes)
		dw, db := make([]float32, s.Weights()), make([]float32, s.OutC)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			l.Apply(sc, y, x, 2, ReLU, nil)
			wg.Apply(sc, dw, db, y, x, 2, 0)
		}))
	}
}
