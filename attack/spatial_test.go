package attack

import (
	"context"
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// TestWarpGolden: images turned and shifted as PyTorch does it (make_spatial.py).
func TestWarpGolden(t *testing.T) {
	arrays, _ := readGolden(t, "spatial.npz")
	for i, in := range []model.Shape{{C: 1, H: 9, W: 9}, {C: 3, H: 7, W: 6}, {C: 2, H: 5, W: 12}} {
		name := strconv.Itoa(i)
		x, warped := arrays[name+".images"].([]float32), arrays[name+".warped"].([]float64)
		by := arrays[name+".warping"].([]float64)
		size, n := in.Size(), len(by)/3
		for _, layout := range []net.Layout{net.Singles, net.LaneGroups} {
			s := &Space{Layout: layout, Input: in, Size: size}
			s.fill(n)
			r := &spatial{space: s}
			have := make([]float32, size)
			for k := range n {
				layout.Pack(s.Centre, x[k*size:(k+1)*size], in, k)
				r.warp(&Slot{Place: k}, warping{by[3*k], by[3*k+1], by[3*k+2]})
				layout.Unpack(have, s.X, in, k)
				for j, want := range warped[k*size : (k+1)*size] {
					require.InDelta(t, want, have[j], 1e-6, "image %d, warping %d, pixel %d", i, k, j)
				}
			}
			layout.Unpack(have, s.X, in, 0) // turned by nothing
			require.Equal(t, x[:size], have)
		}
	}
}

func TestSinCos(t *testing.T) {
	for d := -180.0; d <= 180; d += 0.37 {
		sin, cos := sinCos(d)
		require.InDelta(t, math.Sin(d/180*math.Pi), sin, 2e-15)
		require.InDelta(t, math.Cos(d/180*math.Pi), cos, 2e-15)
	}
	sin, cos := sinCos(0)
	require.Equal(t, []float64{0, 1}, []float64{sin, cos})
}

// TestSpatialGrid: a grid has every combination once, the image itself among them, and
// the worst of them is what is returned, however far it is from the image.
func TestSpatialGrid(t *testing.T) {
	const n = 20
	s := newSetup(t, tiny, 4, n, "")
	m := Spatial{Rotation: 4, Rotations: 5, Translation: 0.1, Translations: 3}
	seen := &recorder{m, tiny.Input, map[uint64][]visit{}}
	a, err := New(s.n, Config{Ball: ball(net.Linf, "0.001"), Method: seen, Recheck: true}, kernels.NewPool(1))
	require.NoError(t, err)
	var r Result
	require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, &r))
	fooled := 0
	for i := range n {
		v := seen.seen[uint64(i)]
		if r.Success[i] {
			fooled++
			require.Greater(t, r.Linf[i], 0.001)
			continue
		}
		require.Len(t, v, 46)
		require.Equal(t, s.image(s.x, i), v[0].x)
		require.Equal(t, s.image(s.x, i), v[1+22].x, "the middle of the grid")
		for k, one := range v {
			z := s.logits(t, one.x, 1)
			require.GreaterOrEqual(t, net.MarginOf(z, s.y[i]), r.Margin[i], "image %d, try %d", i, k)
		}
	}
	require.Positive(t, fooled)
	require.Less(t, fooled, n)
}

func TestSpread(t *testing.T) {
	require.Equal(t, []float64{-3, -1.5, 0, 1.5, 3}, []float64{spread(0, 5, 3), spread(1, 5, 3), spread(2, 5, 3), spread(3, 5, 3), spread(4, 5, 3)})
	require.Zero(t, spread(0, 1, 30))
	require.Equal(t, []float64{-30, 30}, []float64{spread(0, 2, 30), spread(1, 2, 30)})
}

// TestSpatialBounds: random tries stay within their bounds, and what is switched off
// stays off.
func TestSpatialBounds(t *testing.T) {
	for _, p := range []Spatial{{Random: 1}, {Random: 1, Rotations: 1}, {Random: 1, Translations: 1}} {
		r := &spatial{p: p.whole()}
		var largest warping
		for i := range uint64(500) {
			s := Slot{Step: 1, Stream: kernels.NewStream(1, i, 0)}
			v := r.try(&s)
			largest.degrees = max(largest.degrees, math.Abs(v.degrees))
			largest.right, largest.down = max(largest.right, math.Abs(v.right)), max(largest.down, math.Abs(v.down))
		}
		if p.Rotations == 1 {
			require.Zero(t, largest.degrees)
		} else {
			require.InDelta(t, 29.9, largest.degrees, 0.1)
		}
		if p.Translations == 1 {
			require.Zero(t, largest.right+largest.down)
		} else {
			require.InDelta(t, 5.9, largest.right+largest.down, 0.1)
		}
	}
}
