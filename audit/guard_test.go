package audit

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/zoo"
)

func guardNet(t testing.TB, name string, o net.Options) *net.Network {
	t.Helper()
	m, err := zoo.Load(name)
	require.NoError(t, err)
	n, err := net.Compile(m, o)
	require.NoError(t, err)
	return n
}

func digits(t testing.TB, from, to int) *dataset.Set {
	t.Helper()
	test, err := mnist.Test()
	require.NoError(t, err)
	return test.Slice(from, to)
}

func newGuard(t testing.TB, n *net.Network, o GuardOptions) *Guard {
	t.Helper()
	pool := kernels.NewPool(1)
	t.Cleanup(pool.Close)
	g, err := NewGuard(n, pool, o)
	require.NoError(t, err)
	return g
}

// TestGuardKeystone: with all the time there is, the guard finds the radius that
// package verify finds; with little, never a larger one; and no attack breaks what it
// certifies.
func TestGuardKeystone(t *testing.T) {
	all, slow := testsize.Of(7, 1), testsize.Small()
	ctx := context.Background()
	resolution, most := net.MustEpsilon("1/500"), net.MustEpsilon("0.3")
	certified, flagged, rungs := 0, 0, map[verify.Method]int{}
	for i, name := range zoo.Overview() {
		if slow && i < 2 {
			continue
		}
		n, count := guardNet(t, name, net.Options{Backward: true}), all
		images := digits(t, 100*i, 100*i+count)
		o := GuardOptions{
			Norm: net.Norm(i % 2), Threshold: net.MustEpsilon([]string{"0.02", "0.08", "0.15"}[i]), Budget: Unlimited,
			Method: verify.MethodCROWN, Resolution: resolution, Max: most,
		}
		if slow {
			o.Method = verify.MethodIBP
		}
		if i == 1 {
			o.Method, o.Iterations = verify.MethodAlphaCROWN, 2
			count = min(count, 3)
		}
		g := newGuard(t, n, o)
		pool := kernels.NewPool(2)
		defer pool.Close()
		prover, err := verify.New(n, pool)
		require.NoError(t, err)
		for k := range count {
			x := images.X[k*784 : (k+1)*784]
			var v Verdict
			require.NoError(t, g.Classify(ctx, x, &v))
			require.False(t, v.CutShort)
			var radius verify.RadiusResult
			require.NoError(t, prover.Radius(ctx, o.rung(o.Method), o.Norm, resolution, most, verify.Batch{X: x, Y: []int{v.Label}}, &radius))
			require.Equal(t, radius.Steps[0], v.Steps, "%s, image %d", name, k)
			require.Equal(t, v.Steps >= 0, v.Certified)
			require.Equal(t, v.Radius.Cmp(o.Threshold) < 0 || !v.Certified, v.Flagged)
			require.Equal(t, v.Certified, v.Margin > 0)
			rungs[v.Method]++
			if v.Flagged {
				flagged++
			}
			if !v.Certified {
				continue
			}
			certified++
			require.Zero(t, v.Radius.Cmp(resolution.Times(v.Steps)))
			ball := net.Ball{Norm: o.Norm, Eps: v.Radius}
			how := attack.PGD{Steps: 20, Restarts: 8, Loss: net.Margin, Seed: uint64(k)}
			if slow {
				how.Steps, how.Restarts = 4, 1
			}
			a, err := attack.New(n, attack.Config{Ball: ball, Method: how}, pool)
			require.NoError(t, err)
			var res attack.Result
			require.NoError(t, a.Run(ctx, attack.Batch{X: x, Y: []int{v.Label}}, &res))
			require.False(t, res.Success[0], "%s, image %d: fooled at %s", name, k, v.Radius)
			require.GreaterOrEqual(t, res.Margin[0], v.Margin)
			for _, budget := range []time.Duration{0, 1, 50 * time.Microsecond, 300 * time.Microsecond, time.Millisecond, 5 * time.Millisecond} {
				g.o.Budget = budget
				var tight Verdict
				require.NoError(t, g.Classify(ctx, x, &tight))
				require.Equal(t, v.Label, tight.Label)
				require.Equal(t, v.Logits, tight.Logits)
				require.LessOrEqual(t, tight.Steps, v.Steps)
				require.True(t, tight.Flagged || !v.Flagged)
				require.True(t, tight.CutShort || tight.Steps == v.Steps)
				require.True(t, budget > 1 || tight.Flagged && tight.CutShort && !tight.Certified)
			}
			g.o.Budget = Unlimited
		}
	}
	t.Logf("%d certified, %d flagged, by %v", certified, flagged, rungs)
	require.Positive(t, certified)
	if all > 1 {
		require.Positive(t, flagged)
		require.Greater(t, len(rungs), 1)
	}
}

// TestGuardThreshold: without a search, the guard says what Certify says; packed for
// single images or for all, on any number of threads, in several goroutines.
func TestGuardThreshold(t *testing.T) {
	if len(kernels.Available()) == 1 {
		t.Skip("slow without vector kernels")
	}
	n := guardNet(t, "mnist-small-pgd-0.1", net.Options{})
	images := digits(t, 0, 30)
	threshold := net.MustEpsilon("0.08")
	prover, err := verify.New(n, kernels.NewPool(1))
	require.NoError(t, err)
	want := make([]Verdict, images.Len())
	g := newGuard(t, n, GuardOptions{Threshold: threshold, Method: verify.MethodCROWN, Budget: Unlimited})
	flagged := 0
	for i := range want {
		v := &want[i]
		x := images.X[i*784 : (i+1)*784]
		require.NoError(t, g.Classify(t.Context(), x, v))
		var res verify.Result
		require.NoError(t, prover.Certify(t.Context(), verify.Options{Method: verify.MethodCROWN, Ladder: true}, net.Ball{Eps: threshold}, verify.Batch{X: x, Y: []int{v.Label}}, &res))
		require.Equal(t, res.Certified[0], !v.Flagged)
		require.Equal(t, !v.Flagged, v.Certified)
		require.Equal(t, res.Method[0], v.Method)
		require.Equal(t, -1, v.Steps)
		if v.Flagged {
			flagged++
		} else {
			require.Equal(t, res.Margin[0], v.Margin)
			require.Zero(t, v.Radius.Cmp(threshold))
		}
		v.Elapsed = 0
	}
	t.Logf("%d of %d flagged", flagged, len(want))
	require.Positive(t, flagged)
	require.Less(t, flagged, len(want)/2)

	pool := kernels.NewPool(2)
	defer pool.Close()
	var all sync.WaitGroup
	for k := range 3 {
		all.Go(func() {
			n := n
			if k == 1 {
				n = guardNet(t, "mnist-small-pgd-0.1", net.Options{Batches: net.SmallBatches})
			}
			g, err := NewGuard(n, pool, GuardOptions{Threshold: threshold, Method: verify.MethodCROWN, Budget: Unlimited})
			if err != nil {
				t.Error(err)
				return
			}
			for i := range want {
				var v Verdict
				if err := g.Classify(t.Context(), images.X[i*784:(i+1)*784], &v); err != nil {
					t.Error(err)
				}
				v.Elapsed = 0
				if !equalVerdicts(want[i], v) {
					t.Errorf("guard %d, image %d: %+v, want %+v", k, i, v, want[i])
				}
			}
		})
	}
	all.Wait()
}

func equalVerdicts(a, b Verdict) bool {
	for i := range a.Logits {
		if math.Float32bits(a.Logits[i]) != math.Float32bits(b.Logits[i]) {
			return false
		}
	}
	return a.Label == b.Label && a.Flagged == b.Flagged && a.Certified == b.Certified && a.Margin == b.Margin &&
		a.Method == b.Method && a.Steps == b.Steps && a.CutShort == b.CutShort && a.Radius.Cmp(b.Radius) == 0
}

// TestGuardDoesNotAllocate: not one byte where intervals decide, be it yes or no.
func TestGuardDoesNotAllocate(t *testing.T) {
	n := guardNet(t, "mnist-small-ibp-0.1", net.Options{Batches: net.SmallBatches})
	images := digits(t, 0, 1)
	for name, o := range map[string]GuardOptions{
		"threshold": {Threshold: net.MustEpsilon("0.1"), Budget: time.Hour},
		"ladder":    {Threshold: net.MustEpsilon("0.1"), Budget: time.Hour, Method: verify.MethodCROWN},
		"flagged":   {Threshold: net.MustEpsilon("0.9"), Budget: time.Hour},
		"search":    {Threshold: net.MustEpsilon("0.1"), Budget: time.Hour, Resolution: net.MustEpsilon("1/500")},
		"L2":        {Norm: net.L2, Threshold: net.MustEpsilon("0.1"), Budget: Unlimited},
	} {
		g := newGuard(t, n, o)
		var v Verdict
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var err error
		require.Zero(t, testing.AllocsPerRun(2, func() { err = g.Classify(ctx, images.X, &v) }), name)
		require.NoError(t, err)
		require.Equal(t, name == "flagged", v.Flagged)
		require.Equal(t, verify.MethodIBP, v.Method, name)
	}
}

// TestGuardFailsClosed: what is no image, no number or no time is flagged.
func TestGuardFailsClosed(t *testing.T) {
	n := guardNet(t, "mnist-small-ibp-0.1", net.Options{Batches: net.SmallBatches})
	images := digits(t, 0, 1)
	g := newGuard(t, n, GuardOptions{Threshold: net.MustEpsilon("0.05"), Budget: Unlimited})
	flagged := func(v *Verdict, label int) {
		t.Helper()
		require.True(t, v.Flagged)
		require.False(t, v.Certified)
		require.Equal(t, label, v.Label)
		require.Equal(t, -1, v.Steps)
		require.Equal(t, math.Inf(-1), float64(v.Margin))
		require.Zero(t, v.Radius.Float64())
	}
	var v Verdict
	good := func() {
		t.Helper()
		require.NoError(t, g.Classify(t.Context(), images.X, &v))
		require.False(t, v.Flagged)
	}
	good()
	x := append([]float32(nil), images.X...)
	x[7] = float32(math.NaN())
	require.ErrorContains(t, g.Classify(t.Context(), x, &v), "pixel 7")
	flagged(&v, -1)
	good()
	require.ErrorContains(t, g.Classify(t.Context(), images.X[:783], &v), "783 values")
	flagged(&v, -1)
	good()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, g.Classify(ended, images.X, &v), context.Canceled)
	flagged(&v, -1)

	// Logits of NaN.
	m, err := zoo.Load("mnist-small-ibp-0.1")
	require.NoError(t, err)
	for _, p := range m.Params {
		for i := range p.W {
			p.W[i] = math.MaxFloat32 * float32(1-2*(i%2))
		}
	}
	overflow, err := net.Compile(m, net.Options{Batches: net.SmallBatches})
	require.NoError(t, err)
	g = newGuard(t, overflow, GuardOptions{Budget: Unlimited, Method: verify.MethodCROWN})
	require.NoError(t, g.Classify(t.Context(), images.X, &v))
	flagged(&v, -1)
}

func TestGuardOptions(t *testing.T) {
	n := guardNet(t, "mnist-small-ibp-0.1", net.Options{})
	pool := kernels.NewPool(1)
	e := net.MustEpsilon
	for want, o := range map[string]GuardOptions{
		"method 4":                          {Method: 4},
		"iterations: got -1":                {Iterations: -1},
		"budget: -1ns":                      {Budget: -1},
		"threshold: epsilon 2":              {Threshold: e("2")},
		"threshold: norm 7":                 {Norm: 7},
		"max: epsilon 3":                    {Resolution: e("1/10"), Max: e("3")},
		"into 10000 steps, want at most":    {Resolution: e("1/10000")},
		"into more than":                    {Resolution: e("1e-30")},
		"want a multiple of the resolution": {Threshold: e("0.05"), Resolution: e("0.02")},
		"want at most the largest radius":   {Threshold: e("0.6"), Resolution: e("0.1"), Max: e("0.5")},
	} {
		_, err := NewGuard(n, pool, o)
		require.ErrorContains(t, err, want)
	}
	m, err := model.Random(&model.Architecture{Name: "one", Input: model.Shape{C: 1, H: 2, W: 2}, Layers: []model.Layer{fc(1)}}, 1)
	require.NoError(t, err)
	one, err := net.Compile(m, net.Options{})
	require.NoError(t, err)
	_, err = NewGuard(one, pool, GuardOptions{})
	require.ErrorContains(t, err, "1 outputs")
	fast, err := net.Compile(convModel(t), net.Options{Winograd: true})
	require.NoError(t, err)
	require.True(t, fast.HasWinograd())
	for _, m := range []verify.Method{verify.MethodIBP, verify.MethodCROWN} {
		_, err = NewGuard(fast, pool, GuardOptions{Method: m})
		require.ErrorContains(t, err, "Winograd")
	}
}

func convModel(t *testing.T) *model.Model {
	m, err := model.Random(&model.Architecture{Name: "winograd", Input: model.Shape{C: 16, H: 8, W: 8}, Layers: []model.Layer{
		conv(16, 3, 1, 1), {Kind: model.ReLU}, fc(3),
	}}, 1)
	require.NoError(t, err)
	return m
}
