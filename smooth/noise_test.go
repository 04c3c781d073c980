package smooth

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

func newNoise(t testing.TB, sigma string) *Noise {
	n, err := NewNoise(net.MustEpsilon(sigma))
	require.NoError(t, err)
	return n
}

// TestThresholds: they are 2⁶⁴·Φ, they rise, and the law is symmetric.
func TestThresholds(t *testing.T) {
	for _, sigma := range []string{"0.001", "0.12", "1/4", "1"} {
		n := newNoise(t, sigma)
		s := 255 * n.Sigma().Float64()
		require.Len(t, n.upto, 2*n.reach)
		for i, u := range n.upto {
			v := float64(i - n.reach)
			require.InEpsilon(t, math.Erfc(-(v+0.5)/s/math.Sqrt2)/2, float64(u)*0x1p-64, 1e-11+1e-9*math.Abs(v)/s+4/float64(u), "σ = %s, v = %v", sigma, v)
			if i > 0 {
				require.LessOrEqual(t, n.upto[i-1], u)
			}
			require.Zero(t, u+n.upto[len(n.upto)-1-i])
		}
		assert.Less(t, n.Distance(3072), 1e-12)
		assert.Greater(t, n.Distance(3072), 3072*0x1p-64)
		assert.InDelta(t, 9.1*s, n.reach, 0.1*s+2, "as far as 64 bits see")
	}
	for _, bad := range []string{"0", "4.01", "1000"} {
		_, err := NewNoise(net.MustEpsilon(bad))
		require.ErrorContains(t, err, "sigma: got "+bad)
	}
}

// TestCells: sixteen bits say what all 64 do, whatever follows them.
func TestCells(t *testing.T) {
	for _, sigma := range []string{"0.001", "0.25", "1"} {
		n := newNoise(t, sigma)
		open := 0
		for c, i := range n.cells {
			first, last := n.search(uint64(c)<<48), n.search(uint64(c)<<48|(1<<48-1))
			if i < 0 {
				require.NotEqual(t, first, last)
				open++
				continue
			}
			require.Equal(t, int(i), first)
			require.Equal(t, first, last)
		}
		assert.LessOrEqual(t, open, 2*n.reach)
		for i, u := range n.upto { // a threshold belongs to what is above it
			require.Greater(t, n.search(u), i)
			require.LessOrEqual(t, n.search(u-1), i)
		}
	}
}

// TestLaw: what is drawn has the law claimed (χ²), and values of different pixels, samples,
// images and seeds are not correlated.
func TestLaw(t *testing.T) {
	n, f := newNoise(t, "0.02"), &filler{isa: kernels.Default()} // s = 5.1
	const size, samples = 64, 2048
	levels := make([]int32, size)
	values := make([]float64, 0, size*samples)
	draw := func(r source) []float64 {
		values = values[:0]
		x := make([]float32, size*kernels.Lanes)
		for s := 0; s < samples; s += kernels.Lanes {
			n.fill(f, x, levels, r, uint32(s), kernels.Lanes)
			for _, v := range x {
				values = append(values, math.Round(float64(v)*255))
			}
		}
		return values
	}
	first := append([]float64(nil), draw(source{3, 9})...)
	counts := map[float64]float64{}
	for _, v := range first {
		counts[v]++
	}
	chi, cells := 0.0, 0.0
	for i := range 2*n.reach + 1 {
		lo, hi := 0.0, 1.0
		if i > 0 {
			lo = float64(n.upto[i-1]) * 0x1p-64
		}
		if i < 2*n.reach {
			hi = float64(n.upto[i]) * 0x1p-64
		}
		if want := (hi - lo) * float64(len(first)); want > 5 {
			d := counts[float64(i-n.reach)] - want
			chi += d * d / want
			cells++
		}
	}
	assert.Greater(t, cells, 30.)
	assert.Less(t, math.Abs(chi-cells), 5*math.Sqrt(2*cells), "χ² of %v cells", cells)

	correlate := func(a, b []float64) float64 {
		sum := 0.0
		for i := range a {
			sum += a[i] * b[i]
		}
		return sum / float64(len(a)) / (5.1*5.1 + 1./12)
	}
	limit := 5 / math.Sqrt(float64(len(first)))
	assert.InDelta(t, 1, correlate(first, first), limit*1.5)
	for name, other := range map[string]source{"seed": {4, 9}, "image": {3, 10}, "high bits": {3, 9 + 1<<32}} {
		assert.InDelta(t, 0, correlate(first, draw(other)), limit, name)
	}
	assert.InDelta(t, 0, correlate(first[1:], first[:len(first)-1]), limit, "lanes")
	assert.InDelta(t, 0, correlate(first[kernels.Lanes:], first[:len(first)-kernels.Lanes]), limit, "pixels")
}

// TestFill: a sample has the same values in any lane and with any others, and they are the
// image's levels and whole numbers of levels, in float32 as readers decode them.
func TestFill(t *testing.T) {
	for _, sigma := range []string{"0.01", "0.25", "2"} {
		n := newNoise(t, sigma)
		for _, isa := range kernels.Available() {
			for _, size := range []int{3, 8, 37, 600} { // whole blocks or not, in one call or several
				testFill(t, &filler{isa: isa}, n, size)
			}
		}
	}
}

func testFill(t *testing.T, f *filler, n *Noise, size int) {
	levels := make([]int32, size)
	for i := range levels {
		levels[i] = int32(i * 255 / (size - 1))
	}
	r := source{11, 1 << 40}
	x := make([]float32, size*kernels.Lanes)
	n.fill(f, x, levels, r, 16, kernels.Lanes)
	for l := range kernels.Lanes {
		one := make([]float32, size*kernels.Lanes)
		n.fill(f, one, levels, r, uint32(16+l), 1)
		for k := range size {
			v := x[k*kernels.Lanes+l]
			require.Equal(t, v, one[k*kernels.Lanes])
			require.Zero(t, one[k*kernels.Lanes+1], "no other lane is touched")
			require.Equal(t, float32(math.Round(float64(v)*255))/255, v)
		}
	}
	// Against the definition, with the bits of Philox taken in order.
	for k := range size {
		s := kernels.NewStream(r.seed, r.image, 16)
		var word uint32
		for range k/2 + 1 {
			word = s.Uint32()
		}
		top := word >> (k % 2 * 16) & 0xffff
		more := kernels.NewStream(r.seed, r.image, 16|moreBits)
		for range 4 * k {
			more.Uint32()
		}
		u := uint64(top)<<48 | uint64(more.Uint32())<<16 | uint64(more.Uint32()>>16)
		require.Equal(t, float32(int(levels[k])+n.search(u)-n.reach)/255, x[k*kernels.Lanes])
	}
}

func TestToLevels(t *testing.T) {
	x := make([]float32, 256)
	for k := range x {
		x[k] = float32(k) / 255
	}
	got := make([]int32, len(x))
	require.NoError(t, ToLevels(got, x))
	for k, v := range got {
		require.Equal(t, int32(k), v)
	}
	for _, bad := range []float32{0.5, math.Nextafter32(1, 0), -1, 1.5, float32(math.NaN()), math.Nextafter32(100./255, 1)} {
		require.ErrorContains(t, ToLevels(got, []float32{0, bad}), "pixel 1 is")
	}
}

func BenchmarkFill(b *testing.B) {
	n, f := newNoise(b, "0.25"), &filler{isa: kernels.Default()}
	levels := make([]int32, 3072)
	x := make([]float32, len(levels)*kernels.Lanes)
	b.ResetTimer()
	for i := range b.N {
		n.fill(f, x, levels, source{1, 2}, uint32(i)*kernels.Lanes&(moreBits-1), kernels.Lanes)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/value")
}

func BenchmarkNewNoise(b *testing.B) {
	for range b.N {
		newNoise(b, "1")
	}
}
