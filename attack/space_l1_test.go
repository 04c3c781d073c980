package attack

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// spaceOf returns a space without passes, with its scratch, for images of size values.
func spaceOf(b net.Ball, layout net.Layout, size int) *Space {
	s := &Space{Layout: layout, ISA: kernels.Default(), Size: size}
	s.aim(b)
	s.sparse = newSparse(size)
	return s
}

// nearestL1 is the projection to L1 ball ∩ box by all the λ at which it bends.
func nearestL1(v, c, lo, hi []float32, eps float64) []float64 {
	left := func(i int, lambda float64) float64 {
		room := float64(hi[i]) - float64(c[i])
		if v[i] < c[i] {
			room = float64(c[i]) - float64(lo[i])
		}
		return min(room, max(0, math.Abs(float64(v[i])-float64(c[i]))-lambda))
	}
	sum := func(lambda float64) (t float64) {
		for i := range v {
			t += left(i, lambda)
		}
		return t
	}
	bends := []float64{0}
	for i := range v {
		d := math.Abs(float64(v[i]) - float64(c[i]))
		bends = append(bends, d, max(0, d-left(i, 0)))
	}
	sort.Float64s(bends)
	lambda := 0.0
	if sum(0) > eps {
		k := sort.Search(len(bends), func(k int) bool { return sum(bends[k]) <= eps })
		a, b := bends[k-1], bends[k]
		lambda = a + (b-a)*(sum(a)-eps)/(sum(a)-sum(b))
	}
	z := make([]float64, len(v))
	for i := range v {
		z[i] = float64(c[i]) + math.Copysign(left(i, lambda), float64(v[i])-float64(c[i]))
	}
	return z
}

// TestProjectL1 compares the projection with one by sorting, in both layouts; its
// points lie in the ball, in exact arithmetic.
func TestProjectL1(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	moved := 0
	for range 4000 {
		size := 1 + r.IntN(60)
		b := redteam.Ball(net.L1, r)
		if r.IntN(2) == 0 {
			b = ball(net.L1, []string{"0.1", "1", "3", "1/3", "12"}[r.IntN(5)])
		}
		c := redteam.Image(size, r)
		v, lo, hi := slices.Clone(c), make([]float32, size), make([]float32, size)
		scale := math.Pow(10, float64(r.IntN(5)-3))
		for i := range v {
			switch r.IntN(3) {
			case 0:
				v[i] += float32(scale * r.NormFloat64())
			case 1:
				v[i] += float32(scale * float64(r.IntN(3)-1)) // ties
			}
		}
		b.Box().Inner(lo, hi, c)
		want := nearestL1(v, c, lo, hi, b.Eps.Float64())
		s := spaceOf(b, net.Singles, size)
		x := slices.Clone(v)
		s.Project(x, lo, hi, c)
		require.True(t, redteam.Inside(b, c, x), "%v: %v is not around %v", b, x, c)
		for i := range x {
			require.InDelta(t, want[i], x[i], 1e-7+1e-9*b.Eps.Float64(), "%v: value %d of %v around %v", b, i, v, c)
			if x[i] != v[i] {
				moved++
			}
		}
		again := slices.Clone(x)
		s.Project(again, lo, hi, c)
		for i := range x {
			require.InDelta(t, x[i], again[i], 1e-7)
		}
		lanes := spaceOf(b, net.LaneGroups, size)
		wide := func(v []float32) []float32 {
			t := make([]float32, size*kernels.Lanes)
			for i := range v {
				for l := range kernels.Lanes {
					t[i*kernels.Lanes+l] = v[i]
				}
			}
			return t
		}
		xs := wide(v)
		lanes.Project(xs, wide(lo), wide(hi), wide(c))
		require.Equal(t, wide(x), xs)
	}
	require.Greater(t, moved, 10000)
}

// TestProjectL1OfFarPoints: distances at which a float64 has no room for ε.
func TestProjectL1OfFarPoints(t *testing.T) {
	b := ball(net.L1, "0.5")
	s := spaceOf(b, net.Singles, 4)
	c, lo, hi := []float32{0.5, 0.5, 0.25, 0}, make([]float32, 4), make([]float32, 4)
	b.Box().Inner(lo, hi, c)
	x := []float32{1e30, -1e30, 0.25, 0.1}
	s.Project(x, lo, hi, c)
	require.InDeltaSlice(t, []float64{0.75, 0.25, 0.25, 0}, x, 1e-6)
	x = []float32{math.MaxFloat32, -math.MaxFloat32, 1e-30, 1}
	s.Project(x, lo, hi, c)
	require.True(t, redteam.Inside(b, c, x))
	require.InDelta(t, 0.75, x[0], 1e-6)
}

func TestStepsInL1(t *testing.T) {
	s := spaceOf(ball(net.L1, "0.5"), net.Singles, 5)
	g := []float32{-3, 0.5, 2, 0, 2}
	x := []float32{0.5, 0.5, 0.5, 0.5, 0.5}
	s.stepSparse(x, g, 0.3, 2) // and what equals the second
	require.InDeltaSlice(t, []float64{0.4, 0.5, 0.6, 0.5, 0.6}, x, 1e-7)
	x = []float32{0.5, 0.5, 0.5, 0.5, 0.5}
	s.stepSparse(x, g, 0.4, 5) // all with a gradient
	require.InDeltaSlice(t, []float64{0.4, 0.6, 0.6, 0.5, 0.6}, x, 1e-7)
	still := slices.Clone(x)
	s.stepSparse(x, []float32{1, float32(math.NaN()), 1, 1, 1}, 0.4, 5)
	s.stepSparse(x, []float32{1, float32(math.Inf(-1)), 1, 1, 1}, 0.4, 5)
	s.stepSparse(x, make([]float32, 5), 0.4, 5)
	require.Equal(t, still, x)

	one := []float32{1, 1, 1, 1, 1}
	x = []float32{0.2, 0.5, 0.9, 0.5, 1}
	s.stepSteepest(x, []float32{-3, 0.5, 2, 1, 9}, make([]float32, 5), one, 0.5)
	require.InDeltaSlice(t, []float64{0, 0.5, 1, 0.7, 1}, x, 1e-7)
	s.stepSteepest(x, []float32{0, 0, 0, 1e-45, 0}, make([]float32, 5), one, 100)
	require.InDeltaSlice(t, []float64{0, 0.5, 1, 1, 1}, x, 1e-7)
}

func TestKthLargest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		keys := make([]uint32, 1+r.IntN(50))
		for i := range keys {
			keys[i] = r.Uint32() >> r.IntN(32)
		}
		sorted := slices.Sorted(slices.Values(keys))
		k := 1 + r.IntN(len(keys))
		require.Equal(t, sorted[len(keys)-k], kthLargest(keys, k))
	}
}

// TestProjectL0: the largest changes stay, of equal ones the first.
func TestProjectL0(t *testing.T) {
	c, lo, hi := []float32{0.5, 0, 1, 0.25, 0.5}, make([]float32, 5), []float32{1, 1, 1, 1, 1}
	for eps, want := range map[string][]float32{
		"0": c, "0.9": c,
		"1":       {0.5, 0.75, 1, 0.25, 0.5},
		"299/100": {0, 0.75, 1, 0.25, 0.5}, // of changes of a half, the first is kept
		"3":       {0, 0.75, 0.5, 0.25, 0.5},
		"4":       {0, 0.75, 0.5, 0.25, 1},
		"5":       {0, 0.75, 0.5, 0.5, 1},
		"100":     {0, 0.75, 0.5, 0.5, 1},
	} {
		b := ball(net.L0, eps)
		s, x := spaceOf(b, net.Singles, 5), []float32{-1, 0.75, 0.5, 0.5, 7}
		s.Project(x, lo, hi, c)
		require.Equal(t, want, x, eps)
		require.True(t, b.Contains(c, x))
	}
}

// TestRandomPointsOfSparseBalls: those of L1 are uniform, those of L0 use all of ε.
func TestRandomPointsOfSparseBalls(t *testing.T) {
	const d, draws = 50, 2000
	var mean, norm, largest float64
	places := make([]int, d)
	for n := range uint64(draws) {
		x := make([]float32, d)
		s := kernels.NewStream(1, n, 0)
		randomPoint(x, &s, ball(net.L1, "0.3"))
		l1, top := 0.0, 0.0
		for _, v := range x {
			mean += float64(v) / d / draws
			l1 += math.Abs(float64(v))
			top = max(top, math.Abs(float64(v)))
		}
		require.LessOrEqual(t, l1, 0.3+1e-6)
		norm += l1 / draws
		largest += top / draws

		x = slices.Repeat([]float32{-1}, d)
		randomPoint(x, &s, ball(net.L0, "7.5"))
		changed := 0
		for i, v := range x {
			if v != -1 {
				changed++
				places[i]++
			}
		}
		require.Equal(t, 7, changed)
	}
	require.InDelta(t, 0, mean, 2e-4)
	require.InDelta(t, 0.3*d/(d+1), norm, 1e-3)
	harmonic := 0.0
	for i := range d {
		harmonic += 1 / float64(i+1)
	}
	require.InDelta(t, 0.3*harmonic/(d+1), largest, 1e-3) // the longest of d+1 pieces, but for the last
	for _, n := range places {
		require.InDelta(t, draws*7/d, n, 90)
	}
}
