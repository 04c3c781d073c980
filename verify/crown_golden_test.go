package verify

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

func goldenArrays(t *testing.T, name string) map[string]any {
	t.Helper()
	f, err := os.Open("../testdata/golden/" + name)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	list, err := dataset.ReadNPZ(f.Name(), f, info.Size())
	require.NoError(t, err)
	out := map[string]any{}
	for _, v := range list {
		out[v.Name] = v.Data
	}
	return out
}

// TestGoldenCROWN: without intervals on the way, linear bounds are those of
// auto_LiRPA in float64 but for rounding: close to them without the errors of
// executions and of our own, never beyond them with those, and hardly looser where
// stable neurons are bounded from one side.
func TestGoldenCROWN(t *testing.T) {
	ref := goldenArrays(t, "crown.npz")
	f64 := func(format string, args ...any) []float64 {
		v, ok := ref[fmt.Sprintf(format, args...)].([]float64)
		require.True(t, ok, format, args)
		return v
	}
	for _, name := range append(golden.Names(), "standard") {
		var m *model.Model
		var x []float32
		var y []int
		eps := golden.Epsilon
		if name == "standard" {
			var err error
			m, err = zoo.Load("mnist-small-standard")
			require.NoError(t, err)
			x, eps = ref["standard.x"].([]float32), "0.02"
			for _, v := range ref["standard.y"].([]int32) {
				y = append(y, int(v))
			}
		} else {
			c, err := golden.Load(name)
			require.NoError(t, err)
			m, x, y = c.Model, c.X, c.Y
		}
		ball := net.Ball{Eps: net.MustEpsilon(eps)}
		size, classes := m.Arch.Input.Size(), m.Arch.Classes()
		for k := range 4 {
			method, errors := MethodCROWNIBP+Method(k%2), k < 2
			v := newCROWN(t, m, 1, Config{Method: method})
			if !errors {
				for i := range v.g.nodes {
					v.g.nodes[i].relax.exec, v.g.nodes[i].relax.back = 0, 0
				}
			}
			w := newRelaxer(v.g)
			low := make([]float32, classes-1)
			for n, label := range y {
				if name == "standard" && n > 0 && len(kernels.Available()) == 1 {
					break // a thousand times slower
				}
				img := x[n*size : (n+1)*size]
				w.pure = true
				w.load(img, ball, ball.Box())
				w.attempt(method, statement{y: label}, low, 0)
				margin := f64("%s.%v.margin", name, method)[n*classes:][:classes]
				k := 0
				for j, want := range margin {
					if j != label {
						near(t, want, float64(low[k]), -1, errors, "%s %v image %d class %d", name, method, n, j)
						k++
					}
				}
				if method != MethodCROWN {
					continue
				}
				last := len(w.g.nodes) - 1
				pure := make([]Interval, last)
				for i := range pure {
					pure[i] = w.intervalOf(i)
					if !w.g.nodes[i].relu {
						continue // bounded by its interval
					}
					outs := len(pure[i].Lower)
					lower, upper := f64("%s.lower.%d", name, i)[n*outs:], f64("%s.upper.%d", name, i)[n*outs:]
					for o := range outs {
						near(t, lower[o], float64(pure[i].Lower[o]), -1, errors, "%s image %d layer %d output %d", name, n, i, o)
						near(t, upper[o], float64(pure[i].Upper[o]), 1, errors, "%s image %d layer %d output %d", name, n, i, o)
					}
				}
				w.pure = false
				best := make([]float32, classes-1)
				w.load(img, ball, ball.Box())
				w.attempt(method, statement{y: label}, best, 0)
				for k := range low {
					require.GreaterOrEqual(t, float64(best[k]), float64(low[k])-2e-2*(1+math.Abs(float64(low[k]))))
				}
			}
		}
	}
}

// near requires that have is want but for rounding, and, unless it was left out, not
// beyond it on the side that would be unsound: sign −1 for lower bounds, 1 for upper
// ones.
func near(t *testing.T, want, have, sign float64, errors bool, format string, args ...any) {
	t.Helper()
	scale := 1 + math.Abs(want)
	if errors && (have-want)*sign < -1e-12*scale {
		require.Failf(t, "tighter than the exact bound", "%v, exact %v: "+format, append([]any{have, want}, args...)...)
	}
	most := 0.2 // of which nearly all is what float32 executions may err
	if !errors {
		most = 3e-3 // of chains in float32
	}
	if math.Abs(have-want) > most*scale {
		require.Failf(t, "loose", "%v, exact %v: "+format, append([]any{have, want}, args...)...)
	}
}
