package attack

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// readGolden returns the arrays of a file of testdata/golden, and the names of the
// runs in it: those of the arrays RUN.x.
func readGolden(t *testing.T, name string) (arrays map[string]any, runs []string) {
	t.Helper()
	list, err := golden.File(name)
	require.NoError(t, err)
	arrays = map[string]any{}
	for _, a := range list {
		arrays[a.Name] = a.Data
		if run, ok := strings.CutSuffix(a.Name, ".x"); ok {
			runs = append(runs, run)
		}
	}
	return arrays, runs
}

func ints(v any) []int {
	var out []int
	for _, i := range v.([]int32) {
		out = append(out, int(i))
	}
	return out
}

// follow compares all points that a method visits with those of a run of a file of
// testdata/golden, whose generator has the same random numbers.
func follow(t *testing.T, arrays map[string]any, run string, m Method, norm net.Norm) {
	t.Helper()
	network, _, _ := strings.Cut(run, ".")
	g, err := golden.Load(network)
	require.NoError(t, err)
	eps := strconv.FormatFloat(arrays[run+".eps"].([]float64)[0], 'g', -1, 64)
	x, last := arrays[run+".x"].([]float32), arrays[run+".last"].([]float32)
	sums := arrays[run+".sums"].([]float64)
	b := Batch{X: x, Y: ints(arrays[run+".y"])}
	length := ints(arrays[run+".length"])
	size, points := len(x)/len(b.Y), len(sums)/len(b.Y)
	if m.Plan().Targeted {
		b.Targets = ints(arrays[run+".target"])
	}
	for _, isa := range kernels.Available() {
		n, err := net.Compile(g.Model, net.Options{ISA: isa.Name()})
		require.NoError(t, err)
		seen := &recorder{m, g.Model.Arch.Input, map[uint64][]visit{}}
		a, err := New(n, Config{Ball: ball(norm, eps), Method: seen}, kernels.NewPool(1))
		require.NoError(t, err)
		var res Result
		require.NoError(t, a.Run(context.Background(), b, &res))
		for i := range b.Y {
			v := seen.seen[uint64(i)]
			if res.Success[i] { // ends the run: no rule sees it
				v = append(v, visit{x: res.Adv[i*size : (i+1)*size]})
			}
			for k := range min(len(v), length[i]) {
				sum := 0.0
				for j, p := range v[k].x {
					sum += float64(j+1) * float64(p) / float64(size)
				}
				require.InDelta(t, sums[i*points+k], sum, 1e-4, "image %d, point %d", i, k)
			}
			require.Equal(t, length[i], len(v), "image %d", i)
			require.InDeltaSlice(t, last[i*size:(i+1)*size], v[len(v)-1].x, 3e-5)
		}
	}
}

// TestSquareGolden follows the runs of make_square.py proposal by proposal.
func TestSquareGolden(t *testing.T) {
	arrays, runs := readGolden(t, "square.npz")
	require.Len(t, runs, 7)
	for _, run := range runs {
		t.Run(run, func(t *testing.T) {
			part := strings.Split(run, ".") // network, norm, targeted
			norm, err := net.ParseNorm(part[1])
			require.NoError(t, err)
			follow(t, arrays, run, Square{Queries: 120, Seed: 21, Targeted: len(part) == 3}, norm)
		})
	}
}

// TestSquareSides: sides of squares of the paper's schedule, for MNIST and for images
// smaller than a bump.
func TestSquareSides(t *testing.T) {
	sides := func(h, w int, norm net.Norm) (s []int) {
		for level := range 10 {
			s = append(s, squareSide(0.8, level, h, w, norm))
		}
		return s
	}
	require.Equal(t, []int{25, 18, 13, 9, 6, 4, 3, 2, 2, 1}, sides(28, 28, net.Linf))
	require.Equal(t, []int{25, 19, 13, 9, 7, 5, 3, 3, 3, 3}, sides(28, 28, net.L2))
	require.Equal(t, []int{2, 2, 2, 1, 1, 1, 1, 1, 1, 1}, sides(2, 9, net.Linf))
	require.Equal(t, []int{2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, sides(2, 9, net.L1))
	require.Equal(t, 9, squareLevel(4999, 5000))
	require.Equal(t, 9, squareLevel(1<<20-1, 1<<20)) // no overflow of 32 bits
	require.Equal(t, 0, squareLevel(5, 5000))
	require.Equal(t, 1, squareLevel(6, 5000))
}

// TestBump: bumps have length 1, and their halves are opposite.
func TestBump(t *testing.T) {
	for _, norm := range []net.Norm{net.L2, net.L1} {
		for side := 1; side < 40; side++ {
			sum, half := 0.0, 0.0
			for i, v := range bump(side, norm) {
				sum += weight(v, norm)
				if i/side < side/2 {
					require.Positive(t, v)
					half += weight(v, norm)
				} else {
					require.Negative(t, v)
				}
			}
			require.InDelta(t, 1, sum, 1e-12)
			if side > 1 {
				require.InDelta(t, 0.5, half, 1e-12)
			}
		}
	}
}

// TestSquareFillsTheBall: proposals in L2 and L1 are as long as the ball allows, where
// the pixel box does not cut them.
func TestSquareFillsTheBall(t *testing.T) {
	s := newSetup(t, tiny, 2, 20, "")
	for i := range s.x {
		s.x[i] = 0.4 + s.x[i]/5
	}
	z := s.logits(t, s.x, 20)
	for i := range s.y {
		s.y[i] = net.Argmax(z[i*5 : (i+1)*5])
	}
	for _, b := range []net.Ball{ball(net.L2, "0.3"), ball(net.L1, "0.3")} {
		m := &recorder{Square{Queries: 50, Seed: 3}, tiny.Input, map[uint64][]visit{}}
		a, err := New(s.n, Config{Ball: b, Method: m, Recheck: true}, kernels.NewPool(1))
		require.NoError(t, err)
		require.NoError(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y}, new(Result)))
		for i := range s.y {
			for _, v := range m.seen[uint64(i)] {
				require.True(t, b.Contains(s.image(s.x, i), v.x))
				sum := 0.0
				for k, p := range v.x {
					sum += weight(float64(p)-float64(s.image(s.x, i)[k]), b.Norm)
				}
				if b.Norm == net.L2 {
					sum = math.Sqrt(sum)
				}
				require.InDelta(t, 0.3, sum, 1e-5)
			}
		}
	}
}
