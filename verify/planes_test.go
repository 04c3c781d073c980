package verify

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// atCorners returns the least value of the first output on a box of few inputs that is attained at
// a corner.
func atCorners(m *model.Model, lo, hi []float32) float64 {
	least := math.Inf(1)
	x := make([]float32, len(lo))
	for corner := range 1 << len(lo) {
		for k := range x {
			if x[k] = lo[k]; corner>>k&1 != 0 {
				x[k] = hi[k]
			}
		}
		acts := plain.Float64(m, x)
		least = min(least, acts[len(acts)-1][0])
	}
	return least
}

// TestPlanesAreNearlyExact: of −Σ|v|·max(z, 0), whose least value is at a corner of the box and
// known, the bound by planes is never above it, nor below the one by lines, of whose distance to it
// planes leave less than half.
func TestPlanesAreNearlyExact(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 14))
	pool := kernels.NewPool(1)
	defer pool.Close()
	lost, closed := 0.0, 0.0
	for trial := range 60 {
		a := &model.Architecture{Name: "bumps", Input: model.Shape{C: 1, H: 1, W: 6}, Layers: []model.Layer{fc(8), relu, fc(1)}}
		if trial%2 == 0 {
			a.Input = model.Shape{C: 2, H: 2, W: 2}
			a.Layers[0] = conv(3, 2, 1, 1)
		}
		m := plain.Random(a, r)
		for k, v := range m.Params[2].W {
			m.Params[2].W[k] = -abs32(v)
		}
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		lo, hi := make([]float32, a.Input.Size()), make([]float32, a.Input.Size())
		for k := range lo {
			lo[k] = r.Float32() - 0.5
			hi[k] = lo[k] + r.Float32()*float32(r.IntN(3))/2
		}
		bound := func(planes bool) float64 {
			v, err := New(n, pool)
			require.NoError(t, err)
			if planes {
				v.FirstPlanes()
			}
			o := Options{Method: MethodAlphaCROWN, Iterations: 40, Property: &Property{C: []float32{1}}}
			_, rows, err := v.Bounds(context.Background(), o, BoxOf(lo, hi), 0)
			require.NoError(t, err)
			return float64(rows[0])
		}
		exact, lines, planes := atCorners(m, lo, hi), bound(false), bound(true)
		require.LessOrEqual(t, planes, exact+1e-12*math.Abs(exact), trial)
		require.GreaterOrEqual(t, planes, lines-1e-4*math.Abs(lines))
		lost, closed = lost+exact-lines, closed+planes-lines
	}
	t.Logf("of what lines lose, planes close %.2f", closed/lost)
	require.Greater(t, closed/lost, 0.5)
}

// TestFirstPlanes: on networks of many kinds margins hardly ever get worse, no point of the box is
// below them, and they have the same bits on every kernel set and number of workers.
func TestFirstPlanes(t *testing.T) {
	grown, shrunk := 0, 0
	for k, a := range append(deeper(), layerArchitectures()...) {
		m := newLayers(t, a, 8, rand.New(rand.NewPCG(4, uint64(k))))
		r := rand.New(rand.NewPCG(9, uint64(k)))
		x := randomImage(a.Input.Size(), r)
		ball := net.Ball{Eps: net.MustEpsilon("0.1")}
		o := Options{Method: MethodAlphaCROWN, Iterations: 6}
		var lines, first Result
		var want []Interval
		for i, isa := range kernels.Available() {
			n, err := net.Compile(m, net.Options{ISA: isa.Name()})
			require.NoError(t, err)
			y := labels(t, n, x, 1)
			pool := kernels.NewPool(1 + i%2)
			defer pool.Close()
			v, err := New(n, pool)
			require.NoError(t, err)
			require.NoError(t, v.Certify(context.Background(), o, ball, Batch{x, y}, &lines))
			v.FirstPlanes()
			var planes Result
			certify := func() { err = v.Certify(context.Background(), o, ball, Batch{x, y}, &planes) }
			certify()
			require.NoError(t, err)
			if pool.Workers() == 1 { // another one may be late to make its buffers
				assert.Zero(t, testing.AllocsPerRun(2, certify), a.Name)
			}
			layers, _, err := v.Bounds(context.Background(), o, Around(ball, x), y[0])
			require.NoError(t, err)
			if i == 0 {
				first, want = planes, layers
				for range 200 {
					assert.GreaterOrEqual(t, marginAt(t, n, somewhere(r, ball, x), y[0]), planes.Margin[0], a.Name)
				}
			}
			require.Equal(t, first.Margin, planes.Margin, "%s on %s", a.Name, isa.Name())
			require.Equal(t, want, layers, "%s on %s", a.Name, isa.Name())
		}
		switch d := first.Margin[0] - lines.Margin[0]; {
		case d > 0:
			grown++
		case d < -1e-3*abs32(lines.Margin[0]):
			shrunk++
			t.Logf("%s: %v, by lines %v", a.Name, first.Margin[0], lines.Margin[0])
		}
	}
	t.Logf("%d margins grew, %d shrank", grown, shrunk)
	assert.Greater(t, grown, 8)
	assert.LessOrEqual(t, shrunk, grown/4)
}

// TestPlanesFindFaults: planes that are too low by a part in 50 are noticed.
func TestPlanesFindFaults(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	r := rand.New(rand.NewPCG(16, 2))
	found := 0
	for trial := 0; trial < 200 && found == 0; trial++ {
		a := &model.Architecture{Name: "bumps", Input: model.Shape{C: 1, H: 1, W: 5}, Layers: []model.Layer{fc(6), relu, fc(1)}}
		m := plain.Random(a, r)
		n, err := net.Compile(m, net.Options{})
		require.NoError(t, err)
		lo, hi := make([]float32, 5), make([]float32, 5)
		for k := range lo {
			lo[k] = r.Float32() - 0.5
			hi[k] = lo[k] + r.Float32()
		}
		v, err := New(n, pool)
		require.NoError(t, err)
		v.planes = func(g *graph) hull {
			p := newPlanes(g).(*planes)
			p.factor = 0.98
			return p
		}
		o := Options{Method: MethodAlphaCROWN, Property: &Property{C: []float32{1}}}
		_, rows, err := v.Bounds(context.Background(), o, BoxOf(lo, hi), 0)
		require.NoError(t, err)
		if float64(rows[0]) > atCorners(m, lo, hi) {
			found++
		}
	}
	require.Positive(t, found)
}
