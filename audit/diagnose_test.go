package audit

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// small is a random network with images, labelled as it says but for every tenth.
type small struct {
	net  *net.Network
	pool *kernels.Pool
	x    []float32
	y    []int
}

func newSmall(t *testing.T, n int) *small {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}}, {Kind: model.ReLU}, {Kind: model.FC, Out: 10},
	}}, 1)
	require.NoError(t, err)
	s := &small{pool: kernels.NewPool(2), x: make([]float32, n*36)}
	t.Cleanup(s.pool.Close)
	s.net, err = net.Compile(m, net.Options{Backward: true})
	require.NoError(t, err)
	random := kernels.NewStream(7, 0, 0)
	for i := range s.x {
		s.x[i] = random.Float32()
	}
	s.y, err = Predict(context.Background(), s.net, s.pool, s.x, n)
	require.NoError(t, err)
	for i := 3; i < n; i += 10 {
		s.y[i] = (s.y[i] + 1) % 10
	}
	return s
}

// TestDiagnose: what a fresh look does not confirm is found, also of an attack that
// was interrupted, and of one with targets.
func TestDiagnose(t *testing.T) {
	const n = 40
	s := newSmall(t, n)
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.3")}
	targets := make([]int, n)
	for i, y := range s.y {
		targets[i] = (y + 1 + i%9) % 10
	}
	ctx := context.Background()
	run := func(targeted bool) (attack.Batch, *attack.Result) {
		c := attack.Config{Ball: ball, Method: attack.PGD{Steps: 5, Seed: 1, Targeted: targeted}}
		b := attack.Batch{X: s.x, Y: s.y}
		if targeted {
			b.Targets = targets
		}
		a, err := attack.New(s.net, c, s.pool)
		require.NoError(t, err)
		res := new(attack.Result)
		require.NoError(t, a.Run(ctx, b, res))
		return b, res
	}
	names := func(f []Finding) (bad []string) {
		for _, f := range f {
			if !f.OK {
				bad = append(bad, f.Name)
			}
		}
		return bad
	}
	for _, targeted := range []bool{false, true} {
		for name, c := range map[string]struct {
			spoil func(*attack.Result)
			bad   []string
		}{
			"nothing": {func(*attack.Result) {}, nil},
			"outside": {func(r *attack.Result) {
				for k := range 36 {
					r.Adv[k] = s.x[k]
				}
				r.Adv[0] = float32(math.Abs(float64(1 - math.Round(float64(s.x[0])))))
				p, err := Predict(ctx, s.net, s.pool, r.Adv[:36], 1)
				require.NoError(t, err)
				r.Label[0] = p[0]
				r.Success[0] = r.Clean[0] && p[0] != s.y[0]
				if targeted {
					r.Success[0] = r.Clean[0] && p[0] == targets[0]
				}
			}, []string{CheckInside}},
			"nan":     {func(r *attack.Result) { r.Adv[100] = float32(math.NaN()) }, []string{CheckFinite, CheckInside, CheckPredictions}},
			"label":   {func(r *attack.Result) { r.Label[5]++ }, []string{CheckPredictions}},
			"success": {func(r *attack.Result) { r.Success[3] = true }, []string{CheckPredictions}}, // wrong from the start
			"clean":   {func(r *attack.Result) { r.Clean[6] = !r.Clean[6] }, []string{CheckPredictions}},
			"not begun": {func(r *attack.Result) {
				r.Begun[5], r.Label[5] = false, -1
			}, nil},
		} {
			b, res := run(targeted)
			c.spoil(res)
			found := Diagnose(ctx, s.net, s.pool, ball, b, res, func(string, int, int) {})
			assert.Equal(t, c.bad, names(found), "%s, targeted %t", name, targeted)
			assert.Len(t, found, 3)
		}
	}
	b, res := run(false)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	for _, f := range Diagnose(gone, s.net, s.pool, ball, b, res, nil) {
		assert.True(t, f.Stopped && !f.OK, f.Name)
		assert.Contains(t, f.Detail, "stopped")
	}
	assert.Empty(t, Diagnose(ctx, s.net, s.pool, ball, attack.Batch{}, &attack.Result{}, nil))
}
