package audit

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// small is a random network with images, labelled as it says but for every tenth.
type small struct {
	model *model.Model
	net   *net.Network
	pool  *kernels.Pool
	x     []float32
	y     []int
}

func newSmall(t *testing.T, n int) *small {
	m, err := model.Random(&model.Architecture{Input: model.Shape{C: 1, H: 6, W: 6}, Layers: []model.Layer{
		{Kind: model.Conv, Out: 4, Kernel: [2]int{3, 3}, Stride: [2]int{1, 1}}, {Kind: model.ReLU}, {Kind: model.FC, Out: 10},
	}}, 1)
	require.NoError(t, err)
	s := &small{model: m, pool: kernels.NewPool(2), x: make([]float32, n*36)}
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
	targets := make([]int, n)
	for i, y := range s.y {
		targets[i] = (y + 1 + i%9) % 10
	}
	ctx := context.Background()
	run := func(targeted bool) Case {
		c := Case{
			Target: s.net, Pool: s.pool, Batch: attack.Batch{X: s.x, Y: s.y}, Level: LevelOff,
			Config: attack.Config{Ball: net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.3")}, Method: attack.PGD{Steps: 5, Seed: 1, Targeted: targeted}},
		}
		if targeted {
			c.Batch.Targets = targets
		}
		c.Result = attacked(t, c)
		return c
	}
	bad := func(found []Finding) (names []string) {
		for _, f := range found {
			if f.Verdict != OK && f.Verdict != Skipped {
				names = append(names, f.Name)
			}
		}
		return names
	}
	for _, targeted := range []bool{false, true} {
		for name, spoiled := range map[string]struct {
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
			}, []string{"inside"}},
			"nan":     {func(r *attack.Result) { r.Adv[100] = float32(math.NaN()) }, []string{"finite", "inside", "predictions"}},
			"label":   {func(r *attack.Result) { r.Label[5]++ }, []string{"predictions"}},
			"success": {func(r *attack.Result) { r.Success[3] = true }, []string{"predictions"}}, // wrong from the start
			"clean":   {func(r *attack.Result) { r.Clean[6] = !r.Clean[6] }, []string{"predictions"}},
			"not begun": {func(r *attack.Result) {
				r.Begun[5], r.Label[5] = false, -1
			}, nil},
		} {
			c := run(targeted)
			spoiled.spoil(c.Result)
			found := Diagnose(ctx, c)
			assert.Equal(t, spoiled.bad, bad(found), "%s, targeted %t", name, targeted)
			assert.Len(t, found, 4)
		}
		c := run(targeted)
		c.Level = LevelFull
		assert.Len(t, Diagnose(ctx, c), len(Diagnostics()))
	}
	c := run(false)
	c.Level = LevelQuick
	gone, cancel := context.WithCancel(ctx)
	cancel()
	for _, f := range Diagnose(gone, c) {
		if f.Verdict != Skipped {
			assert.Equal(t, Stopped, f.Verdict, f.Name)
			assert.Contains(t, f.Detail, "stopped")
		}
	}
	c.Batch, c.Result = attack.Batch{}, &attack.Result{}
	assert.Empty(t, Diagnose(ctx, c))
}

// TestDiagnoseOwnCheck: a check of one's own sees the case.
func TestDiagnoseOwnCheck(t *testing.T) {
	s := newSmall(t, 20)
	c := Case{
		Target: s.net, Pool: s.pool, Batch: attack.Batch{X: s.x, Y: s.y},
		Config: attack.Config{Ball: net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.01")}, Method: attack.FGSM{}},
	}
	c.Result = attacked(t, c)
	c.Diagnostics = []Diagnostic{{Name: "mine", Run: func(_ context.Context, c *Case) Finding {
		return Finding{Verdict: Warn, Count: len(c.Batch.Y), Detail: "as always"}
	}}}
	assert.Equal(t, []Finding{{"mine", Warn, 20, []int{}, "as always"}}, Diagnose(context.Background(), c))
	for _, name := range Levels() {
		l, err := ParseLevel(name)
		require.NoError(t, err)
		assert.Equal(t, name, l.String())
	}
	_, err := ParseLevel("some")
	assert.ErrorContains(t, err, `checks "some": want one of quick, full, off`)
}

// TestDiagnoseBuiltin: attacks that are done on built-in models give nobody a reason to
// complain.
func TestDiagnoseBuiltin(t *testing.T) {
	test, err := mnist.Test()
	require.NoError(t, err)
	pool := kernels.NewPool(2)
	defer pool.Close()
	images := test.Slice(0, testsize.Of(40, 3))
	nets := map[string]*net.Network{}
	for _, name := range zoo.Overview() {
		m, err := zoo.Load(name)
		require.NoError(t, err)
		nets[name], err = net.Compile(m, net.Options{Backward: true})
		require.NoError(t, err)
	}
	for k, ball := range []net.Ball{{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}, {Norm: net.L2, Eps: net.MustEpsilon("0.5")}} {
		for _, name := range zoo.Overview() {
			c := Case{
				Target: nets[name], Pool: pool, Batch: attack.Batch{X: images.X, Y: images.Y},
				Config: attack.Config{Ball: ball, Method: []attack.Method{attack.PGD{Steps: 20, Restarts: 2, Loss: net.Margin}, attack.APGD{Steps: 30}}[k]},
			}
			for _, other := range zoo.Overview() {
				if other != name {
					c.Surrogates = append(c.Surrogates, Surrogate{other, nets[other]})
				}
			}
			c.Result = attacked(t, c)
			for _, f := range Diagnose(context.Background(), c) {
				assert.Contains(t, []Outcome{OK, Skipped}, f.Verdict, "%s, %v: %s: %s", name, ball, f.Name, f.Detail)
			}
		}
	}
}
