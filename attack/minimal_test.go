package attack

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestMinimalGolden follows the runs of make_minimal.py point by point.
func TestMinimalGolden(t *testing.T) {
	path := filepath.Join("..", "testdata", "golden", "minimal.npz")
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	list, err := dataset.ReadNPZ(path, f, info.Size())
	require.NoError(t, err)
	arrays, runs := map[string]any{}, []string{}
	for _, a := range list {
		arrays[a.Name] = a.Data
		if run, ok := strings.CutSuffix(a.Name, ".path"); ok {
			runs = append(runs, run)
		}
	}
	require.Len(t, runs, 12)
	for _, run := range runs {
		t.Run(run, func(t *testing.T) {
			part := strings.Split(run, ".") // method, network, norm, kind
			g, err := golden.Load(part[1])
			require.NoError(t, err)
			norm, err := net.ParseNorm(part[2])
			require.NoError(t, err)
			method, err := Parse(string(arrays[run+".text"].([]uint8)))
			require.NoError(t, err)
			x, points := arrays[run+".x"].([]float32), arrays[run+".path"].([]float32)
			length := arrays[run+".length"].([]int32)
			b := Batch{X: x}
			for i := range length {
				b.Y = append(b.Y, int(arrays[run+".y"].([]int32)[i]))
				if part[3] == "targeted" {
					b.Targets = append(b.Targets, int(arrays[run+".target"].([]int32)[i]))
				}
			}
			size := len(x) / len(length)
			for _, isa := range kernels.Available() {
				n, err := net.Compile(g.Model, net.Options{ISA: isa.Name(), Backward: true})
				require.NoError(t, err)
				m := &recorder{method, g.Model.Arch.Input, map[uint64][]visit{}}
				a, err := New(n, Config{Ball: norm.Largest(size), Method: m}, kernels.NewPool(1))
				require.NoError(t, err)
				var res Result
				require.NoError(t, a.Run(context.Background(), b, &res))
				want, worst := points, 0.0
				for i, k := range length {
					seen := m.seen[uint64(i)]
					require.EqualValues(t, k, len(seen), "image %d", i)
					require.True(t, res.Success[i], "image %d", i)
					for p, v := range seen {
						for j := range v.x {
							require.InDelta(t, want[j], v.x[j], 1e-5, "image %d, point %d", i, p)
							worst = max(worst, math.Abs(float64(want[j])-float64(v.x[j])))
						}
						want = want[size:]
					}
				}
				t.Logf("%s: at most %.1e apart", isa.Name(), worst)
			}
		})
	}
}

func TestAnnealed(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 100, 1000} {
		for i := range n + 1 {
			require.InDelta(t, (1+math.Cos(math.Pi*float64(i)/float64(n)))/2, annealed(i, n), 3e-16, "%d/%d", i, n)
		}
		require.EqualValues(t, 1, annealed(0, n))
		require.EqualValues(t, 0, annealed(n, n))
	}
}

// TestShrink: the projections of FMN are those of sorting.
func TestShrink(t *testing.T) {
	s := kernels.NewStream(1, 2, 3)
	for range 200 {
		d := make([]float64, 1+s.Intn(30))
		for k := range d {
			d[k] = float64(s.Norm()) * float64(s.Intn(3))
		}
		down := slices.Clone(d)
		for k, v := range down {
			down[k] = math.Abs(v)
		}
		slices.Sort(down)
		slices.Reverse(down)

		radius := 3 * float64(s.Float32())
		l1, theta, sum := slices.Clone(d), 0.0, 0.0
		for k, v := range down {
			sum += v
			theta = max(theta, (sum-radius)/float64(k+1))
		}
		shrinkL1(l1, radius)
		for k, v := range d {
			require.InDelta(t, math.Copysign(max(0, math.Abs(v)-theta), v), l1[k], 1e-12)
		}
		require.LessOrEqual(t, length(l1, net.L1), radius*(1+1e-12))

		n := s.Intn(len(d) + 3)
		l0 := slices.Clone(d)
		shrinkL0(l0, n)
		least := down[min(max(1, n), len(d))-1]
		for k, v := range d {
			if math.Abs(v) < least {
				v = 0
			}
			require.Equal(t, v, l0[k])
		}
	}
	zero := []float64{0, 0}
	shrinkL1(zero, 0)
	shrinkL0(zero, 1)
	require.Equal(t, []float64{0, 0}, zero)
	d := []float64{3, -1}
	shrinkL1(d, 0)
	require.Zero(t, length(d, net.L2))
}

// TestSearch: weights grow tenfold, then close in on the smallest one that fools.
func TestSearch(t *testing.T) {
	b := newSearch(9, 0.001)
	var tried []float64
	for more := true; more; more = b.next() {
		tried = append(tried, b.weight)
		b.found = b.weight >= 0.3
	}
	require.InDeltaSlice(t, []float64{0.001, 0.01, 0.1, 1, 0.55, 0.325, 0.2125, 0.26875, 0.296875}, tried, 1e-12)
	b = newSearch(12, 1) // never
	for b.next() {
		require.LessOrEqual(t, b.weight, boundless)
	}
	require.EqualValues(t, boundless, b.weight)
}
