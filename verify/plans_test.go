package verify

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// deep is a network with windows of many sizes, most neurons of which are unstable.
func deep(t testing.TB, layers, size int) *model.Model {
	t.Helper()
	a := &model.Architecture{Name: "deep", Input: model.Shape{C: 1, H: size, W: size}}
	for range layers {
		a.Layers = append(a.Layers, conv(1, 3, 1, 1), relu)
	}
	a.Layers = append(a.Layers, fc(3))
	m, err := model.Random(a, 1)
	require.NoError(t, err)
	for i := range m.Params {
		for k := range m.Params[i].W {
			m.Params[i].W[k] = float32((k*7919+i*31)%13-6) / 15
		}
		clear(m.Params[i].B)
	}
	return m
}

// held returns the memory of all plans kept.
func (p *plans[K, V]) held() (bytes int) {
	for _, m := range []map[K]V{p.young, p.old} {
		for _, l := range m {
			bytes += l.PlanBytes()
		}
	}
	return bytes
}

// TestPlansAreBounded: plans come when they are needed, stay within their budget, and
// make no difference to bounds however few are kept.
func TestPlansAreBounded(t *testing.T) {
	m := deep(t, 7, 12)
	x := make([]float32, m.Arch.Input.Size())
	for i := range x {
		x[i] = 0.5
	}
	ball := net.Ball{Eps: net.MustEpsilon("0.01")}
	for _, method := range []Method{MethodCROWN, MethodAlphaCROWN} {
		whole := newCROWN(t, m, 1, Config{Method: method, Iterations: 1})
		require.Zero(t, whole.g.plans.held())
		want, rows, err := whole.Bounds(ball, x, 0)
		require.NoError(t, err)
		all := whole.g.plans.held()
		require.Positive(t, all)
		for _, budget := range []int{all / 8, 1} {
			v := newCROWN(t, m, 1, Config{Method: method, Iterations: 1})
			v.g.plans.budget = budget
			bounds, low, err := v.Bounds(ball, x, 0)
			require.NoError(t, err)
			require.Equal(t, want, bounds)
			require.Equal(t, rows, low)
			const one = 8 << 10 // a plan may be larger than half of the budget
			require.LessOrEqual(t, v.g.plans.held(), budget+one)
		}
	}
}

// TestDeepNetworks: those whose windows would take GB are prepared at once, and a proof
// ends with its context.
func TestDeepNetworks(t *testing.T) {
	m := deep(t, 60, 81)
	v := newCROWN(t, m, 1, Config{Method: MethodCROWN})
	require.Zero(t, v.g.plans.held())
	v.g.plans.budget = 1 << 20
	ctx := &endsAfter{Context: context.Background()}
	ctx.left.Store(400) // looks: some thousand rows
	var res Result
	x := make([]float32, m.Arch.Input.Size())
	for i := range x {
		x[i] = 0.5
	}
	err := v.Certify(ctx, net.Ball{Eps: net.MustEpsilon("0.01")}, Batch{X: x, Y: []int{0}}, &res)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, res.Done[0])
	require.LessOrEqual(t, v.g.plans.held(), 2<<20)
}
