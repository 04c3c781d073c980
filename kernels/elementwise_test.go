package kernels

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// specials hold every kind of float32.
var specials = []float32{
	float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)),
	0x1p-149, -0x1p-149, 0x1p-126, -0x1p-127, math.MaxFloat32, -math.MaxFloat32, 1, -1, 0.5, 1 - 0x1p-24, 3e38, -3e38,
}

func fillSpecial(r *rand.Rand, s []float32) {
	for i := range s {
		switch r.IntN(3) {
		case 0:
			s[i] = specials[r.IntN(len(specials))]
		case 1:
			s[i] = math.Float32frombits(r.Uint32())
		default:
			s[i] = r.Float32()*2 - 1
		}
	}
}

// requireSameBits is requireBits with all NaN equal: their payload is free.
func requireSameBits(t *testing.T, want, have []float32, msg string) {
	t.Helper()
	for i := range want {
		w, h := want[i], have[i]
		if math.Float32bits(w) != math.Float32bits(h) && (w == w || h == h) {
			require.Failf(t, "bits differ", "%s at %d: want %v (%#x), have %v (%#x)", msg, i, w, math.Float32bits(w), h, math.Float32bits(h))
		}
	}
}

// eachLength runs f on every kernel set for 0 … 40 vectors, plain and special
// values. f gets buffers of that length inside guard words, and must return
// copies of what it expects in those it changes.
func eachLength(t *testing.T, buffers int, f func(t *testing.T, isa *ISA, r *rand.Rand, bufs [][]float32) (want [][]float32)) {
	for _, isa := range Available() {
		for _, special := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/special=%v", isa.Name(), special), func(t *testing.T) {
				r := rand.New(rand.NewPCG(11, 12))
				for n := range 41 {
					var all, bufs [][]float32
					for range buffers {
						a, b := guarded(n * Lanes)
						if special {
							fillSpecial(r, b)
						} else {
							fillRandom(r, b)
						}
						all, bufs = append(all, a), append(bufs, b)
					}
					for i, want := range f(t, isa, r, bufs) {
						requireSameBits(t, want, bufs[i], fmt.Sprintf("buffer %d of %d vectors", i, n))
					}
					for _, a := range all {
						requireGuards(t, a)
					}
				}
			})
		}
	}
}

func copies(s [][]float32) (out [][]float32) {
	for _, v := range s {
		out = append(out, append([]float32(nil), v...))
	}
	return out
}

// Each reference below is written from the documentation, not from the
// generic kernels, which are tested too.

func TestPGDStep(t *testing.T) {
	alphas := []float32{0, 0.025, 1, 0x1p-149, math.MaxFloat32, float32(math.Inf(1)), float32(math.NaN())}
	eachLength(t, 4, func(_ *testing.T, isa *ISA, r *rand.Rand, bufs [][]float32) [][]float32 {
		want, alpha := copies(bufs), alphas[r.IntN(len(alphas))]
		for i, x := range want[0] {
			g, lo, hi := want[1][i], want[2][i], want[3][i]
			var step float32
			if g > 0 {
				step = alpha
			}
			if g < 0 {
				step = -alpha
			}
			x += step
			if lo > x { // false for NaN: a NaN pixel stays NaN
				x = lo
			}
			if hi < x {
				x = hi
			}
			want[0][i] = x
		}
		isa.PGDStep(bufs[0], bufs[1], bufs[2], bufs[3], alpha)
		return want
	})
}

// TestPGDStepNegative: a negative step descends, on every set.
func TestPGDStepNegative(t *testing.T) {
	g := []float32{1, -1, 0, float32(math.NaN()), 2, -2, 1, -1}
	for _, isa := range Available() {
		x, lo, hi := make([]float32, Lanes), make([]float32, Lanes), make([]float32, Lanes)
		for i := range x {
			lo[i], hi[i] = -1, 1
		}
		isa.PGDStep(x, g, lo, hi, -0.25)
		require.Equal(t, []float32{-0.25, 0.25, 0, 0, -0.25, 0.25, -0.25, 0.25}, x, isa.Name())
	}
}

// TestBoxEnd compares with rationals.
func TestBoxEnd(t *testing.T) {
	epsilons := []string{"1/10", "8/255", "1/4", "1/3", "1e-9", "0", "1e6", "0.30000001192092896", "1e-3"}
	eachLength(t, 2, func(t *testing.T, isa *ISA, r *rand.Rand, bufs [][]float32) [][]float32 {
		eps, _ := new(big.Rat).SetString(epsilons[r.IntN(len(epsilons))])
		if r.IntN(2) == 0 {
			eps.Neg(eps)
		}
		e1, _ := eps.Float32()
		e2, _ := new(big.Rat).Sub(eps, rat(e1)).Float32()
		doubt, up := float32(0), r.IntN(2) == 0
		if r.IntN(2) == 0 {
			doubt = 0x1p-46
		}
		want := copies(bufs)
		for i, v := range want[1] {
			if v < 0 { // pixels are not, but for what is special
				bufs[1][i], want[1][i] = -v, -v
			}
		}
		isa.BoxEnd(bufs[0], bufs[1], e1, e2, doubt, up)
		for i, v := range want[1] {
			got := bufs[0][i]
			if math.IsNaN(float64(v)) || v > 2 {
				want[0][i] = got
				continue
			}
			sum := new(big.Rat).Add(rat(v), new(big.Rat).Add(rat(e1), rat(e2)))
			f, _ := sum.Float32()
			if got != got {
				away, _ := new(big.Rat).Sub(sum, rat(f)).Float64()
				require.True(t, math.Abs(away) < 1.01*float64(doubt) || math.Abs(float64(f)) < 0x1.01p-20, "%v + %v in doubt", v, eps)
				want[0][i] = got
				continue
			}
			want[0][i] = min(max(directed(f, sum, up), 0), 1)
		}
		return want
	})
}

func rat(v float32) *big.Rat { return new(big.Rat).SetFloat64(float64(v)) }

// directed rounds sum, whose nearest float32 is f.
func directed(f float32, sum *big.Rat, up bool) float32 {
	switch c := rat(f).Cmp(sum); {
	case up && c < 0:
		return math.Nextafter32(f, float32(math.Inf(1)))
	case !up && c > 0:
		return math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

func TestAdd(t *testing.T) {
	eachLength(t, 3, func(_ *testing.T, isa *ISA, r *rand.Rand, bufs [][]float32) [][]float32 {
		e, want := Epilogue(r.IntN(3)), copies(bufs)
		isa.Add(bufs[0], bufs[1], e, bufs[2])
		for i, v := range want[0] {
			v += want[1][i]
			if e == ReLU && 0 > v || e == Gate && !(want[2][i] > 0) {
				v = 0
			}
			want[0][i] = v
		}
		return want
	})
}

func TestIntervalAdd(t *testing.T) {
	sc := new(Scratch)
	k := IntervalConstants{MulR: 1 + 0x1p-20, MulC: 0x1p-22, Add: 0x1p-100}
	eachLength(t, 4, func(_ *testing.T, isa *ISA, _ *rand.Rand, bufs [][]float32) [][]float32 {
		want := copies(bufs)
		isa.IntervalAdd(sc, bufs[0], bufs[1], bufs[2], bufs[3], k)
		for i := range want[0] {
			want[0][i] += want[2][i]
			r := float32((want[1][i] + want[3][i]) * k.MulR)
			m := float32(float32(math.Abs(float64(want[0][i]))) * k.MulC)
			want[1][i] = float32(r+m) + k.Add
		}
		return want
	})
}

func TestSelectLanes(t *testing.T) {
	sc := new(Scratch) // used again and again: the choice before must not stick
	eachLength(t, 2, func(_ *testing.T, isa *ISA, r *rand.Rand, bufs [][]float32) [][]float32 {
		want := copies(bufs)
		var take [Lanes]bool
		for l := range take {
			take[l] = r.IntN(2) == 0
		}
		for i := range want[0] {
			if take[i%Lanes] {
				want[0][i] = want[1][i]
			}
		}
		isa.SelectLanes(sc, bufs[0], bufs[1], &take)
		return want
	})
}

func randomConstants(r *rand.Rand) IntervalConstants {
	k := IntervalConstants{Rel: 1e-5, Abs: 1e-30, MulR: 1.0001, MulC: 2e-5, Add: 1e-38, ReLU: r.IntN(2) == 0}
	if r.IntN(3) == 0 {
		k.Rel, k.Abs, k.MulR, k.MulC, k.Add = r.Float32(), r.Float32(), r.Float32()+1, r.Float32(), r.Float32()
	}
	return k
}

// inflate is the documented step from bounds to centre and radius.
func inflate(lo, hi float32, k IntervalConstants) (c, r float32) {
	mid := float32(float32(lo+hi) * 0.5)
	up, down := hi-mid, mid-lo
	r = down
	if up > down {
		r = up
	}
	rel := float32(r * k.MulR) // float32(): arm64 would fuse product and sum
	abs := float32(float32(math.Abs(float64(mid))) * k.MulC)
	sum := rel + abs
	return mid, sum + k.Add
}

func TestIntervalBox(t *testing.T) {
	eachLength(t, 2, func(t *testing.T, isa *ISA, r *rand.Rand, bufs [][]float32) [][]float32 {
		want, k := copies(bufs), randomConstants(r)
		for i := range want[0] {
			lo, hi := want[0][i], want[1][i]
			want[0][i], want[1][i] = inflate(lo, hi, k)
			if lo != lo || hi != hi {
				require.True(t, want[0][i] != want[0][i] && want[1][i] != want[1][i])
			}
		}
		isa.IntervalBox(new(Scratch), bufs[0], bufs[1], k)
		return want
	})
}

func TestIntervalAffine(t *testing.T) {
	sc := new(Scratch)
	eachLength(t, 2, func(t *testing.T, isa *ISA, r *rand.Rand, bufs [][]float32) [][]float32 {
		want, k := copies(bufs), randomConstants(r)
		for i := range want[0] {
			c, radius := want[0][i], want[1][i]
			hi, lo := c+radius, c-radius
			wide := float32(float32(math.Abs(float64(hi))) * k.Rel)
			wide += k.Abs
			hi += wide
			wide = float32(float32(math.Abs(float64(lo))) * k.Rel)
			wide += k.Abs
			lo -= wide
			if k.ReLU {
				if lo < 0 {
					lo = 0
				}
				if hi < 0 {
					hi = 0
				}
			}
			want[0][i], want[1][i] = inflate(lo, hi, k)
			if c != c || radius != radius {
				require.True(t, want[1][i] != want[1][i], "a NaN stays a NaN: fail closed")
			}
		}
		isa.IntervalAffine(sc, bufs[0], bufs[1], k)
		return want
	})
}

// TestAdamStep tries every length around the vectors, and whole vectors of
// values whose quotients and roots are hard to round.
func TestAdamStep(t *testing.T) {
	sc := new(Scratch)
	reference := func(b [][]float32, k AdamConstants) {
		for i, g := range b[1] {
			decayed, share := float32(b[2][i]*k.Beta1), float32(g*k.Rest1) // float32(): arm64 would fuse
			m := decayed + share
			square := float32(g * g)
			decayed, share = float32(b[3][i]*k.Beta2), float32(square*k.Rest2)
			v := decayed + share
			below := float32(math.Sqrt(float64(v))) + k.Tiny
			step := m * k.Alpha
			b[0][i], b[2][i], b[3][i] = b[0][i]-float32(step/below), m, v
		}
	}
	constants := []AdamConstants{
		{0.9, 0.1, 0.999, 0.001, 1e-3, 1e-8},
		{0.9, 0.1, 0.999, 0.001, 3e-4, 3e-10},
		{0.5, 0.5, 0.75, 0.25, float32(math.Inf(1)), 0},
		{1, 0, 1, 0, 0x1p-149, 0x1p-149},
	}
	for _, isa := range Available() {
		for _, special := range []bool{false, true} {
			r := rand.New(rand.NewPCG(5, 6))
			for n := range 7 * Lanes {
				var all, bufs [][]float32
				for range 4 {
					a, b := guarded(n)
					if special {
						fillSpecial(r, b)
					} else {
						fillRandom(r, b)
					}
					all, bufs = append(all, a), append(bufs, b)
				}
				if !special {
					for i, v := range bufs[3] {
						bufs[3][i] = abs32(v)
					}
				}
				want, k := copies(bufs), constants[n%len(constants)]
				reference(want, k)
				isa.AdamStep(sc, bufs[0], bufs[1], bufs[2], bufs[3], k)
				for i := range want {
					requireSameBits(t, want[i], bufs[i], fmt.Sprintf("%s: buffer %d of %d values", isa.Name(), i, n))
					requireGuards(t, all[i])
				}
			}
		}
		short, long := make([]float32, 8), make([]float32, 9)
		require.Panics(t, func() { isa.AdamStep(sc, long, short, long, long, constants[0]) })
		require.Panics(t, func() { isa.AdamStep(sc, long, long, short, long, constants[0]) })
		require.Panics(t, func() { isa.AdamStep(sc, long, long, long, short, constants[0]) })
		require.Zero(t, testing.AllocsPerRun(5, func() { isa.AdamStep(sc, long, long, long, long, constants[0]) }))
	}
}

// TestElementwiseAllPairs tries every pair of special values.
func TestElementwiseAllPairs(t *testing.T) {
	n := len(specials)
	size := (n*n + Lanes - 1) / Lanes * Lanes
	a, b := make([]float32, size), make([]float32, size)
	for i := range n * n {
		a[i], b[i] = specials[i/n], specials[i%n]
	}
	for _, reluMask := range []bool{false, true} {
		k := IntervalConstants{Rel: 1e-5, Abs: 1e-30, MulR: 1.0001, MulC: 2e-5, Add: 1e-38, ReLU: reluMask}
		var want [][]float32
		for _, isa := range Available() {
			s := copies([][]float32{a, b, a, b, a, b, a, b, b, a})
			isa.IntervalAffine(new(Scratch), s[0], s[1], k)
			isa.IntervalBox(new(Scratch), s[2], s[3], k)
			isa.PGDStep(s[4], s[5], s[6], s[7], 0.5)
			isa.PGDStep(s[8], s[9], b, a, 0.5)
			if want == nil {
				want = s
			}
			for i := range want {
				requireSameBits(t, want[i], s[i], fmt.Sprintf("%s, buffer %d", isa.Name(), i))
			}
		}
	}
}

// TestElementwiseRefuses: a length that does not fit is a bug, not a crash.
func TestElementwiseRefuses(t *testing.T) {
	for _, isa := range Available() {
		ok, short, odd := make([]float32, 16), make([]float32, 8), make([]float32, 15)
		sc := new(Scratch)
		require.Panics(t, func() { isa.PGDStep(ok, short, ok, ok, 1) })
		require.Panics(t, func() { isa.PGDStep(ok, ok, short, ok, 1) })
		require.Panics(t, func() { isa.PGDStep(ok, ok, ok, short, 1) })
		require.Panics(t, func() { isa.PGDStep(odd, odd, odd, odd, 1) })
		require.Panics(t, func() { isa.SelectLanes(sc, ok, short, new([Lanes]bool)) })
		require.Panics(t, func() { isa.SelectLanes(sc, odd, odd, new([Lanes]bool)) })
		require.Panics(t, func() { isa.IntervalAffine(sc, ok, short, IntervalConstants{}) })
		require.Panics(t, func() { isa.IntervalBox(sc, short, ok, IntervalConstants{}) })
		require.Panics(t, func() { isa.IntervalBox(sc, odd, odd, IntervalConstants{}) })
	}
}

func TestElementwiseDoesNotAllocate(t *testing.T) {
	for _, isa := range Available() {
		a, b, lo, hi := make([]float32, 80), make([]float32, 80), make([]float32, 80), make([]float32, 80)
		sc, take := new(Scratch), new([Lanes]bool)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			isa.PGDStep(a, b, lo, hi, 0.1)
			isa.SelectLanes(sc, a, b, take)
			isa.IntervalAffine(sc, a, b, IntervalConstants{MulR: 1})
			isa.IntervalBox(sc, a, b, IntervalConstants{MulR: 1})
		}))
	}
}
