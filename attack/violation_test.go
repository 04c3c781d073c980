package attack

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/plain"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// searched is a network with a property that random points nearly violate.
func searched(t *testing.T, seed uint64, o net.Options) (*net.Network, []Box, *net.Property) {
	r := rand.New(rand.NewPCG(seed, 5))
	a := &model.Architecture{Name: "searched", Input: model.Shape{C: 2, H: 3, W: 4}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 5, Kernel: [2]int{2, 2}, Stride: [2]int{1, 1}}, {Kind: model.ReLU}, {Kind: model.FC, Out: 6}, {Kind: model.ReLU}, {Kind: model.FC, Out: 4},
	}}
	m, err := model.Random(a, seed)
	require.NoError(t, err)
	size := a.Input.Size()
	for i := range m.Params[0].W { // of inputs of all scales
		m.Params[0].W[i] *= 1e-3
	}
	var boxes []Box
	for range 2 {
		b := Box{make([]float32, size), make([]float32, size)}
		for k := range size {
			b.Lo[k] = 4000*r.Float32() - 3000
			b.Hi[k] = b.Lo[k] + 2000*r.Float32()*float32(k%3) // a third is fixed
		}
		boxes = append(boxes, b)
	}
	p := &net.Property{C: make([]float32, 5*4), D: make([]float32, 5), Clauses: []int{2, 1, 2}}
	for k := range p.C {
		p.C[k] = float32(r.IntN(5) - 2)
	}
	lowest := []float64{math.Inf(1), math.Inf(1), math.Inf(1)}
	x := make([]float32, size)
	for range 500 {
		for k := range x {
			x[k] = within(boxes[0].Lo[k], boxes[0].Hi[k], r.Float32())
		}
		z := last(plain.Float64(m, x))
		for c, rows := range [][]int{{0, 1}, {2}, {3, 4}} {
			v := math.Inf(-1)
			for _, i := range rows {
				v = max(v, dot(p.C[i*4:], z))
			}
			lowest[c] = min(lowest[c], v)
		}
	}
	for i, c := range []int{0, 0, 1, 2, 2} { // beyond what 500 random points reach
		p.D[i] = float32(-lowest[c] + 0.05*math.Abs(lowest[c]))
	}
	o.Backward = true
	n, err := net.Compile(m, o)
	require.NoError(t, err)
	return n, boxes, p
}

func last(acts [][]float64) []float64 { return acts[len(acts)-1] }

func dot(c []float32, z []float64) (s float64) {
	for k, v := range z {
		s += float64(c[k]) * v
	}
	return s
}

func (v *Violation) clone() Violation {
	c := *v
	c.X, c.Z = slices.Clone(v.X), slices.Clone(v.Z)
	return c
}

// TestSearch: violations lie in their box, where all rows of the clause are at most 0, and
// are the same for any threads and layouts.
func TestSearch(t *testing.T) {
	found := 0
	for seed := range uint64(6) {
		var want []Violation
		for i, o := range []net.Options{{}, {}, {Batches: net.SmallBatches}, {Batches: net.LargeBatches}} {
			n, boxes, p := searched(t, seed, o)
			s, err := NewSearcher(n, Search{Seed: seed, Steps: 20, Restarts: 7}, kernels.NewPool(1+2*(i%2)))
			require.NoError(t, err)
			var list []Violation
			require.NoError(t, s.Each(t.Context(), boxes, p, func(v *Violation) bool {
				list = append(list, v.clone())
				return len(list) < 5
			}))
			if i > 0 {
				require.Equal(t, want, list)
				continue
			}
			want = list
			found += len(list)
			first, err := s.Find(t.Context(), boxes, p)
			require.NoError(t, err)
			require.Equal(t, len(list) > 0, first != nil)
			for k, v := range list {
				if k == 0 {
					require.Equal(t, v, *first)
				}
				b := boxes[v.Box]
				for j, x := range v.X {
					require.True(t, b.Lo[j] <= x && x <= b.Hi[j])
				}
				z := last(plain.Float64(n.Model(), v.X))
				from := []int{0, 2, 3}[v.Clause]
				most := math.Inf(-1)
				for i := range p.Clauses[v.Clause] {
					most = max(most, dot(p.C[(from+i)*4:], z)+float64(p.D[from+i]))
				}
				require.InDelta(t, most, v.Value, 1e-3*(1+math.Abs(most)))
				require.LessOrEqual(t, v.Value, 0.0)
			}
		}
	}
	require.Greater(t, found, 20)
}

// TestSearchDeepens: a violation has some slack where there is any.
func TestSearchDeepens(t *testing.T) {
	deeper := 0
	for seed := range uint64(8) {
		n, boxes, p := searched(t, seed, net.Options{})
		value := func(how Search) float64 {
			s, err := NewSearcher(n, how, kernels.NewPool(1))
			require.NoError(t, err)
			v, err := s.Find(t.Context(), boxes, p)
			require.NoError(t, err)
			if v == nil {
				return 1
			}
			return v.Value
		}
		first := value(Search{Deepen: -1})
		require.LessOrEqual(t, value(Search{Deepen: 40, Slack: 0.5}), first)
		if value(Search{Deepen: 40, Slack: 0.5}) < first {
			deeper++
		}
	}
	require.Greater(t, deeper, 3)
}

// hidden is |x| ≤ 1 → 0.05 − relu(x₀ − 0.9) − relu(x₁ − 0.9) > 0: flat but for a corner.
func hidden(t *testing.T) *net.Network {
	m := &model.Model{
		Arch: model.Architecture{Name: "hidden", Input: model.Shape{C: 2, H: 1, W: 1}, Layers: []model.Layer{
			{Kind: model.FC, Out: 2}, {Kind: model.ReLU}, {Kind: model.FC, Out: 1},
		}},
		Params: []model.Param{{W: []float32{1, 0, 0, 1}, B: []float32{-0.9, -0.9}}, {}, {W: []float32{-1, -1}, B: []float32{0.15}}},
	}
	n, err := net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	return n
}

// TestSearchOfFewInputs: a grid finds what gradients do not show, of one output too.
func TestSearchOfFewInputs(t *testing.T) {
	n := hidden(t)
	box := []Box{{[]float32{-1, -1}, []float32{1, 1}}}
	for restarts, want := range map[int]bool{-1: false, 2: true} {
		s, err := NewSearcher(n, Search{Restarts: restarts, Steps: 4}, kernels.NewPool(1))
		require.NoError(t, err)
		v, err := s.Find(t.Context(), box, &net.Property{C: []float32{1}})
		require.NoError(t, err)
		require.Equal(t, want, v != nil)
		if v != nil {
			require.Equal(t, []float32{1, 1}, v.X)
			require.Equal(t, []float32{v.Z[0]}, v.Z)
		}
	}
	require.Equal(t, []int{1024, 32, 10, 2, 0, 0}, []int{gridLevels(1, 1024), gridLevels(2, 1024), gridLevels(3, 1024), gridLevels(10, 1024), gridLevels(10, 1023), gridLevels(11, 1<<30)})
}

func TestSearchAllocates(t *testing.T) {
	n, boxes, p := searched(t, 1, net.Options{})
	for i := range p.D {
		p.D[i] = 1e6 // never violated
	}
	per := func(steps int) float64 {
		s, err := NewSearcher(n, Search{Steps: steps, Restarts: 3}, kernels.NewPool(1))
		require.NoError(t, err)
		return testing.AllocsPerRun(3, func() {
			v, err := s.Find(context.Background(), boxes, p)
			require.NoError(t, err)
			require.Nil(t, v)
			require.Positive(t, s.Steps())
		})
	}
	require.InDelta(t, per(8), per(80), 3, "steps must not allocate")
}

func TestSearchRefuses(t *testing.T) {
	n, boxes, p := searched(t, 1, net.Options{})
	pool := kernels.NewPool(1)
	for want, how := range map[string]Search{
		"steps": {Steps: -1}, "restarts": {Restarts: maxCount + 1}, "deepen": {Deepen: maxCount + 1}, "slack": {Slack: math.NaN()},
	} {
		_, err := NewSearcher(n, how, pool)
		require.ErrorContains(t, err, want)
	}
	forward, err := net.Compile(n.Model(), net.Options{})
	require.NoError(t, err)
	_, err = NewSearcher(forward, Search{}, pool)
	require.ErrorContains(t, err, "Options.Backward")
	s, err := NewSearcher(n, Search{}, pool)
	require.NoError(t, err)
	for want, f := range map[string]func() ([]Box, *net.Property){
		"property: none":       func() ([]Box, *net.Property) { return boxes, nil },
		"property: C":          func() ([]Box, *net.Property) { return boxes, &net.Property{C: []float32{1}} },
		"box 1: box: lo has 0": func() ([]Box, *net.Property) { return []Box{boxes[0], {}}, p },
		"box 0: box: input 2 is": func() ([]Box, *net.Property) {
			b := Box{slices.Clone(boxes[0].Lo), boxes[0].Hi}
			b.Lo[2] = float32(math.NaN())
			return []Box{b}, p
		},
	} {
		b, q := f()
		_, err := s.Find(t.Context(), b, q)
		require.ErrorContains(t, err, want)
	}
	v, err := s.Find(t.Context(), nil, p)
	require.NoError(t, err)
	require.Nil(t, v)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Find(ctx, boxes, p)
	require.ErrorIs(t, err, context.Canceled)
}
