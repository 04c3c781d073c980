package branch

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

func verifier(t testing.TB, m *model.Model, workers int) *verify.Verifier {
	t.Helper()
	n, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	pool := kernels.NewPool(workers)
	t.Cleanup(pool.Close)
	v, err := verify.New(n, pool)
	require.NoError(t, err)
	v.FirstPlanes()
	return v
}

// tiny is a network of two inputs, small enough for its outputs to be seen on a grid.
func tiny(r *rand.Rand) *model.Model {
	relu, fc := model.Layer{Kind: model.ReLU}, func(out int) model.Layer { return model.Layer{Kind: model.FC, Out: out} }
	a := &model.Architecture{Name: "tiny", Input: model.Shape{C: 1, H: 1, W: 2}}
	for range 1 + r.IntN(3) {
		a.Layers = append(a.Layers, fc(3+r.IntN(8)), relu)
	}
	if r.IntN(3) == 0 { // a ReLU that is a node of its own
		a.Layers = append(a.Layers, model.Layer{Kind: model.BatchNorm, Eps: 1e-3}, model.Layer{Kind: model.ReLU})
	}
	a.Layers = append(a.Layers, fc(3))
	return plain.Random(a, r)
}

// least returns the lowest margin of the property on a grid, and what outputs reach.
func least(m *model.Model, g verify.Region, p *verify.Property) (low, scale float64) {
	const steps = 80
	low = math.Inf(1)
	at := func(k, i int) float64 { return float64(g.Lo[k]) + float64(g.Hi[k]-g.Lo[k])*float64(i)/steps }
	for i := range steps + 1 {
		for j := range steps + 1 {
			z := plain.Float64(m, []float32{float32(at(0, i)), float32(at(1, j))})
			out := z[len(z)-1]
			rows := make([]float32, len(p.C)/len(out))
			for k := range rows {
				s := 0.0
				if p.D != nil {
					s = float64(p.D[k])
				}
				for o, v := range out {
					s += float64(p.C[k*len(out)+o]) * v
					scale = max(scale, math.Abs(v))
				}
				rows[k] = float32(s)
			}
			low = min(low, float64(p.Margin(rows)))
		}
	}
	return low, scale
}

// TestComplete: on networks of two inputs the search proves what holds with a little room,
// and nothing that does not hold.
func TestComplete(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	proved, open, refuted, split := 0, 0, 0, 0
	for range 40 {
		m := tiny(r)
		v := verifier(t, m, 1)
		c := [2]float32{r.Float32(), r.Float32()}
		e := r.Float32()
		g := verify.BoxOf([]float32{c[0] - e, c[1] - e}, []float32{c[0] + e, c[1] + e})
		p := verify.LabelProperty(3, r.IntN(3))
		low, scale := least(m, g, p)
		holds := r.IntN(3) > 0
		shift, parts := 0.03*scale, 10000
		if !holds {
			shift, parts = -shift, 400
		}
		p.D = []float32{float32(shift - low), float32(shift - low)}
		res, err := Prove(t.Context(), v, g, p, Options{FewInputs: -1, Parts: parts, Root: verify.Options{Method: verify.Method(1 + r.IntN(3))}})
		require.NoError(t, err)
		require.False(t, res.Proved && !holds, "%s", m.Arch.CanonicalJSON())
		if holds {
			if !res.Proved {
				open++
				t.Logf("open: %s: outputs up to %v; %+v", m.Arch.CanonicalJSON(), scale, res)
				continue
			}
			proved++
			split += min(res.Depth, 1)
		} else {
			refuted++
			require.LessOrEqual(t, float64(res.Low), shift)
		}
		res, err = Prove(t.Context(), v, g, p, Options{Parts: parts})
		require.NoError(t, err)
		require.Equal(t, holds, res.Proved)
		require.True(t, holds || float64(res.Low) <= shift)
		p.Clauses = []int{2} // of which one row must hold: more than a search by phases can prove
		low, _ = least(m, g, p)
		shift = 0.03 * scale
		p.D = []float32{p.D[0] + float32(shift-low), p.D[1] + float32(shift-low)}
		res, err = Prove(t.Context(), v, g, p, Options{Parts: 10000})
		require.NoError(t, err)
		require.True(t, res.Proved)
		p.D = []float32{p.D[0] - float32(2*shift), p.D[1] - float32(2*shift)}
		for _, few := range []int{-1, 2} {
			res, err = Prove(t.Context(), v, g, p, Options{FewInputs: few, Parts: 200})
			require.NoError(t, err)
			require.False(t, res.Proved)
		}
	}
	t.Logf("%d proved, %d of them by splits; %d refuted", proved, split, refuted)
	require.LessOrEqual(t, open, 3)
	require.Greater(t, split, 8)
	require.Greater(t, refuted, 5)
}

// TestThreads: the same tree and bounds on any number of workers.
func TestThreads(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 4))
	a, err := model.Preset("mnist-small")
	require.NoError(t, err)
	a.Input = model.Shape{C: 1, H: 12, W: 12}
	m := plain.Random(a, r)
	x := make([]float32, 144)
	for k := range x {
		x[k] = r.Float32()
	}
	g := verify.Around(net.Ball{Eps: net.MustEpsilon("0.03")}, x)
	p := verify.LabelProperty(10, 3)
	var want Result
	for workers := 1; workers <= 3; workers++ {
		res, err := Prove(t.Context(), verifier(t, m, workers), g, p, Options{Parts: 3000, Root: verify.Options{Method: verify.MethodCROWN}})
		require.NoError(t, err)
		if workers == 1 {
			want = res
			require.Positive(t, res.Depth)
			continue
		}
		require.Equal(t, want, res)
	}
}

// TestEnds: a search that is ended by its context, its number of parts or a point keeps a
// bound that holds.
func TestEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 4))
	for range 20 {
		m := tiny(r)
		g, p := verify.BoxOf([]float32{0, 0}, []float32{1, 1}), verify.LabelProperty(3, 0)
		low, _ := least(m, g, p)
		if low > -0.1 {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		rounds := 0
		res, err := Prove(ctx, verifier(t, m, 1), g, p, Options{FewInputs: -1, Progress: func(Progress) {
			if rounds++; rounds == 3 {
				cancel()
			}
		}})
		cancel()
		require.NoError(t, err)
		require.False(t, res.Proved)
		require.LessOrEqual(t, float64(res.Low), low)
		calls := 0
		res, err = Prove(t.Context(), verifier(t, m, 1), g, p, Options{Point: func(x []float32) bool {
			require.Len(t, x, 2)
			calls++
			return true
		}})
		require.NoError(t, err)
		require.False(t, res.Proved)
		require.Positive(t, calls)
		return
	}
	t.Fatal("no network with a property that fails")
}

func TestBadOptions(t *testing.T) {
	v := verifier(t, tiny(rand.New(rand.NewPCG(1, 1))), 1)
	_, err := Prove(t.Context(), v, verify.BoxOf([]float32{0, 0}, []float32{1, 1}), verify.LabelProperty(3, 0), Options{Steps: -1})
	require.ErrorContains(t, err, "steps -1")
	_, err = Prove(t.Context(), v, verify.Region{}, verify.LabelProperty(3, 0), Options{})
	require.ErrorContains(t, err, "region")
}

// TestLastReLU: neurons of a ReLU that ends the network are tightened, too.
func TestLastReLU(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	tightened := 0
	for range 10 {
		m := tiny(r)
		m.Arch.Layers, m.Params = append(m.Arch.Layers, model.Layer{Kind: model.ReLU}), append(m.Params, model.Param{})
		g, p := verify.BoxOf([]float32{-1, -1}, []float32{1, 1}), verify.LabelProperty(3, 0)
		low, _ := least(m, g, p)
		v := verifier(t, m, 1)
		s := &search{ctx: t.Context(), v: v, property: p, o: Options{Steps: 6, Candidates: 4, Round: 64, Parts: math.MaxInt, Root: verify.Options{Method: verify.MethodCROWN}}}
		var err error
		s.root, err = v.Root(g, p)
		require.NoError(t, err)
		require.NoError(t, v.BoundDomains(t.Context(), s.o.Root, 0, s.root))
		before := s.root.Interval(len(v.Network().Nodes()) - 1)
		_, err = s.refine(firstBudget)
		require.NoError(t, err)
		after := s.root.Interval(len(v.Network().Nodes()) - 1)
		for k, lo := range before.Lower {
			if after.Lower[k] > lo {
				tightened++
			}
		}
		require.LessOrEqual(t, float64(s.root.Margin()), low+1e-4)
	}
	require.Positive(t, tightened)
}
