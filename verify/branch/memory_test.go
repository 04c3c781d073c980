package branch

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// harder is a search that has many parts open.
func harder(t *testing.T) (*model.Model, verify.Region, *verify.Property) {
	t.Helper()
	r := rand.New(rand.NewPCG(6, 4))
	a, err := model.Preset("mnist-small")
	require.NoError(t, err)
	a.Input = model.Shape{C: 1, H: 12, W: 12}
	m := plain.Random(a, r)
	x := make([]float32, 144)
	for k := range x {
		x[k] = r.Float32()
	}
	return m, verify.Around(net.Ball{Eps: net.MustEpsilon("0.03")}, x), verify.LabelProperty(10, 3)
}

// TestMemory: the estimate of what open parts hold stays below the limit and is near what the
// runtime says; the tree is that of any number of workers.
func TestMemory(t *testing.T) {
	m, g, p := harder(t)
	const most = 300_000
	var want Result
	for workers := 1; workers <= 2; workers++ {
		v := verifier(t, m, workers)
		s := &search{ctx: t.Context(), v: v, o: Options{Steps: 2, Candidates: 4, Round: 16, Parts: 3000, Memory: most, Root: verify.Options{Method: verify.MethodCROWN}}}
		s.o.Progress = func(Progress) {
			require.LessOrEqual(t, s.held(), most)
		}
		require.NoError(t, s.prove(g, p))
		if res := (Result{s.proved, s.progress()}); workers == 1 {
			want = res
		} else {
			require.Equal(t, want, res)
		}
	}
	require.Greater(t, want.Open, 100)

	v := verifier(t, m, 1)
	s := &search{ctx: t.Context(), v: v, o: Options{Steps: 2, Candidates: 4, Round: 16, Parts: 2000, Root: verify.Options{Method: verify.MethodCROWN}}}
	require.NoError(t, s.prove(g, p))
	bytes := func() uint64 {
		var st runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&st)
		return st.HeapAlloc
	}
	full, held := bytes(), s.held()
	require.Greater(t, held, 5*most, "the limit of above is one")
	s.trees, s.neurons = nil, nil
	freed := full - bytes()
	t.Logf("estimate %d bytes, freed %d", held, freed)
	require.Less(t, float64(held), 1.5*float64(freed))
	require.Greater(t, float64(held), float64(freed)/1.5)
	runtime.KeepAlive(s)
}

// TestResumeNeurons: searches for neurons that are stopped again and again tighten neurons,
// never the other way, and bounds of the property stay below what points attain.
func TestResumeNeurons(t *testing.T) {
	m, g, p := harder(t)
	r := rand.New(rand.NewPCG(8, 7))
	attained := float32(1e30)
	x := make([]float32, 144)
	for range 300 {
		for k, c := range g.Centre {
			x[k] = min(max(c+float32(r.IntN(3)-1)*0.0299, 0), 1)
		}
		z := plain.Float64(m, x)
		out, rows := z[len(z)-1], make([]float32, 9)
		for k := range rows {
			for o, v := range out {
				rows[k] += p.C[k*10+o] * float32(v)
			}
		}
		attained = min(attained, p.Margin(rows))
	}
	o := Options{Steps: 2, Parts: 150, Memory: 200_000, Root: verify.Options{Method: verify.MethodCROWN}}
	under, tighter := 0, 0
	var last *State
	for run := 0; last == nil || last.Budget == firstBudget; run++ {
		require.Less(t, run, 200)
		before := last
		o.Save = func(st *State) error { last = st; return nil }
		o.Resume = before
		res, err := Prove(t.Context(), verifier(t, m, 1+run%2), g, p, o)
		require.NoError(t, err)
		require.False(t, res.Proved)
		require.LessOrEqual(t, res.Low, attained)
		if len(last.Neurons) > 0 {
			under++
		}
		if before == nil {
			continue
		}
		require.GreaterOrEqual(t, res.Low, before.Low)
		for i, iv := range last.Bounds {
			for k, lo := range iv.Lower {
				require.GreaterOrEqual(t, lo, before.Bounds[i].Lower[k])
				require.LessOrEqual(t, iv.Upper[k], before.Bounds[i].Upper[k])
				if lo > before.Bounds[i].Lower[k] {
					tighter++
				}
			}
		}
	}
	t.Logf("%d states in searches for neurons, %d bounds tighter, low %v, attained %v", under, tighter, last.Low, attained)
	require.Greater(t, under, 3)
	require.Greater(t, tighter, 20)
}
