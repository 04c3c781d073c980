package kernels

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func sigmoid64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// sShaped measures Sigmoid and Tanh on some patterns of float32.
type sShaped struct {
	name      string
	f         func(float32) float32
	run       func(i *ISA, dst, src []float32)
	exact     func(float64) float64
	low, high float32
}

var sShapes = []sShaped{
	{"sigmoid", Sigmoid, (*ISA).Sigmoid, sigmoid64, 0, 1},
	{"tanh", Tanh, (*ISA).Tanh, math.Tanh, -1, 1},
}

// measure checks n patterns from first on, step apart, in the vectors of isa: range,
// the bits of the function in Go where all is not asked for each set, NaN. It returns the
// largest error and, for results that are normal, that in units in the last place.
func (s *sShaped) measure(t *testing.T, isa *ISA, first, step uint32, n int) (worst, ulps float64) {
	src, dst := make([]float32, n), make([]float32, n)
	for i := range src {
		src[i] = math.Float32frombits(first + uint32(i)*step)
	}
	s.run(isa, dst, src)
	for i, x := range src {
		y := dst[i]
		if x != x {
			if y == y {
				require.Failf(t, "not NaN", "%s %v = %v", s.name, x, y)
			}
			continue
		}
		if want := s.f(x); math.Float32bits(want) != math.Float32bits(y) || !(y >= s.low && y <= s.high) {
			require.Failf(t, "wrong", "%s %v = %v, %v in Go", s.name, x, y, want)
		}
		want := s.exact(float64(x))
		err := math.Abs(float64(y) - want)
		worst = max(worst, err)
		if math.Abs(want) > 0x1p-120 {
			ulps = max(ulps, err/ulp32(want))
		}
	}
	return worst, ulps
}

// TestSShapedAccuracy holds Sigmoid and Tanh to an error of 2⁻²³; with
// EPSBALL_EXHAUSTIVE=1 on all float32 there are.
func TestSShapedAccuracy(t *testing.T) {
	const block = 1 << 12
	step := uint32(1009)
	if os.Getenv("EPSBALL_EXHAUSTIVE") != "" {
		step = 1
	} else if testing.Short() {
		step = 10007
	}
	for _, s := range sShapes {
		var worst, ulps float64
		for first := uint64(0); first < 1<<32; first += block * uint64(step) {
			n := min(block, (1<<32-first+uint64(step)-1)/uint64(step))
			w, u := s.measure(t, Available()[0], uint32(first), step, int(n))
			worst, ulps = max(worst, w), max(ulps, u)
		}
		t.Logf("%s: largest error 2^%.3f, %.2f ulp", s.name, math.Log2(worst), ulps)
		require.Less(t, worst, 0x1p-23, s.name)
		require.Greater(t, worst, 0x1p-26, "the measure measures")
		require.Less(t, ulps, 4., s.name)
	}
}

// TestSShapedSets compares the sets, in every length.
func TestSShapedSets(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, isa := range Available() {
		for _, s := range sShapes {
			for n := range 70 {
				all, dst := guarded(n)
				src := make([]float32, n)
				fillSpecial(r, src)
				for i := range src {
					if i%2 == 0 {
						src[i] = (r.Float32() - 0.5) * 200
					}
				}
				s.run(isa, dst, src)
				for i, x := range src {
					want := s.f(x)
					require.Equal(t, want != want, dst[i] != dst[i])
					if want == want {
						require.Equal(t, math.Float32bits(want), math.Float32bits(dst[i]), "%s %s %v", isa.Name(), s.name, x)
					}
				}
				s.run(isa, src, src) // in place
				requireSameBits(t, dst, src, s.name)
				requireGuards(t, all)
			}
		}
	}
}

func TestSShapedSpecialValues(t *testing.T) {
	inf, nan, zero := float32(math.Inf(1)), float32(math.NaN()), float32(math.Copysign(0, -1))
	for _, c := range []struct{ x, sigmoid, tanh float32 }{
		{0, 0.5, 0},
		{zero, 0.5, zero},
		{inf, 1, 1},
		{-inf, Sigmoid(-87), -1},
		{1e-45, 0.5, 1e-45},
		{-1e-45, 0.5, -1e-45},
		{math.MaxFloat32, 1, 1},
		{20, 1, 1},
		{-20, 2.0611537e-09, -1},
		{1, 0.7310586, 0.7615942},
	} {
		require.Equal(t, math.Float32bits(c.sigmoid), math.Float32bits(Sigmoid(c.x)), "sigmoid %v = %v", c.x, Sigmoid(c.x))
		require.Equal(t, math.Float32bits(c.tanh), math.Float32bits(Tanh(c.x)), "tanh %v = %v", c.x, Tanh(c.x))
	}
	require.True(t, Sigmoid(nan) != Sigmoid(nan) && Tanh(nan) != Tanh(nan))
}

// TestSShapedBits pins the bits, so that every platform is held to the same.
func TestSShapedBits(t *testing.T) {
	h, buf := fnv.New64a(), make([]byte, 4)
	for sign := range uint32(2) {
		sweep(sign, 16001, func(x float32) {
			for _, v := range []float32{Sigmoid(x), Tanh(x)} {
				b := math.Float32bits(v)
				buf[0], buf[1], buf[2], buf[3] = byte(b), byte(b>>8), byte(b>>16), byte(b>>24)
				h.Write(buf)
			}
		})
	}
	require.Equal(t, "f082c12548d9e15e", fmt.Sprintf("%x", h.Sum(nil)))
}

// TestActivations takes every length on every set.
func TestActivations(t *testing.T) {
	limits := [][2]float32{{-1, 1}, {0, 6}, {0, float32(math.Inf(1))}, {-0x1p-149, 0.5}}
	r := rand.New(rand.NewPCG(7, 8))
	for _, isa := range Available() {
		for n := range 70 {
			var all, bufs [][]float32
			for range 3 {
				a, b := guarded(n)
				fillSpecial(r, b)
				all, bufs = append(all, a), append(bufs, b)
			}
			dst, dy, x := bufs[0], bufs[1], bufs[2]
			lim := limits[n%len(limits)]
			check := func(what string, f func(i int) float32) {
				t.Helper()
				want := make([]float32, n)
				for i := range want {
					want[i] = f(i)
				}
				requireSameBits(t, want, dst, fmt.Sprintf("%s: %s of %d", isa.Name(), what, n))
			}
			isa.Clip(dst, x, lim[0], lim[1])
			check("clip", func(i int) float32 {
				switch v := x[i]; {
				case v < lim[0]:
					return lim[0]
				case v > lim[1]:
					return lim[1]
				default:
					return v
				}
			})
			isa.ClipGrad(dst, dy, x, lim[0], lim[1])
			check("clip's gradient", func(i int) float32 {
				if x[i] > lim[0] && x[i] < lim[1] {
					return dy[i]
				}
				return 0
			})
			isa.ReLU(dst, x)
			check("relu", func(i int) float32 { return epilogue(x[i], ReLU, 0) })
			isa.ReLUGrad(dst, dy, x)
			check("relu's gradient", func(i int) float32 { return epilogue(dy[i], Gate, x[i]) })
			isa.SigmoidGrad(dst, dy, x)
			check("sigmoid's gradient", func(i int) float32 {
				q := 1 - x[i]
				q = float32(x[i] * q)
				return float32(dy[i] * q)
			})
			isa.TanhGrad(dst, dy, x)
			check("tanh's gradient", func(i int) float32 {
				q := float32(x[i] * x[i])
				return float32(dy[i] * (1 - q))
			})
			for _, a := range all {
				requireGuards(t, a)
			}
		}
	}
}

func TestLeakyReLU(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, isa := range Available() {
		for _, channels := range []int{1, 3, 8, 40, 300} {
			for _, lanes := range []int{1, Lanes} {
				for _, one := range []bool{false, true} {
					slope := make([]float32, channels)
					fillRandom(r, slope)
					if one {
						slope = slope[:1]
					}
					l := NewLeakyReLU(isa, slope, channels)
					n := channels * lanes * (1 + r.IntN(20))
					all, dst := guarded(n)
					x, dy := make([]float32, n), make([]float32, n)
					fillSpecial(r, x)
					fillSpecial(r, dy)
					want := make([]float32, n)
					for _, grad := range []bool{false, true} {
						src := x
						if grad {
							src = dy
							l.Gradient(dst, dy, x, lanes)
						} else {
							l.Apply(dst, x, lanes)
						}
						for i := range want {
							want[i] = src[i]
							if !(x[i] > 0) {
								want[i] *= slope[i/lanes%channels%len(slope)]
							}
						}
						requireSameBits(t, want, dst, fmt.Sprintf("%s, %d channels, %d lanes", isa.Name(), channels, lanes))
					}
					l.Apply(x, x, lanes) // in place
					requireGuards(t, all)
				}
			}
		}
	}
	require.Panics(t, func() { NewLeakyReLU(generic, make([]float32, 2), 3) })
}
