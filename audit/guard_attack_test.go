package audit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/internal/testsize"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// TestGuardAttack: what is fooled is flagged, its point holds what it promises, and the
// attack finds what it finds without a guard. With less time it finds no more.
func TestGuardAttack(t *testing.T) {
	if testsize.Small() {
		t.Skip("slow without vector kernels")
	}
	ctx, threshold := t.Context(), net.MustEpsilon("0.06")
	fooled, open := 0, 0
	for name, how := range map[string]attack.Method{
		"mnist-small-standard": attack.PGD{Steps: 10, Seed: 2},
		"mnist-small-pgd-0.1":  attack.Fast{Seed: 2},
		"mnist-small-ibp-0.1":  attack.Square{Queries: 100, Seed: 2},
	} {
		n := guardNet(t, name, net.Options{Backward: true})
		images := digits(t, 0, 24)
		o := GuardOptions{Threshold: threshold, Budget: Unlimited, Method: verify.MethodCROWNIBP, Resolution: net.MustEpsilon("0.02"), Max: net.MustEpsilon("0.1")}
		plain := newGuard(t, n, o)
		o.Attack = NewGuardAttack(how)
		g := newGuard(t, n, o)
		ball := net.Ball{Eps: threshold}
		direct, err := attack.New(n, attack.Config{Ball: ball, Method: how}, kernels.NewPool(1))
		require.NoError(t, err)
		runner := n.NewRunner(kernels.NewPool(1))
		for i := range images.Len() {
			x := images.Image(i)
			var without, v, again Verdict
			require.NoError(t, plain.Classify(ctx, x, &without))
			require.NoError(t, g.Classify(ctx, x, &v))
			require.NoError(t, g.Classify(ctx, x, &again))
			require.True(t, equalVerdicts(without, v), "%s, image %d: %+v, without attack %+v", name, i, v, without)
			require.Equal(t, v.Fooled, again.Fooled)
			require.Equal(t, v.Point, again.Point)
			require.False(t, v.CutShort)
			require.False(t, v.Fooled && !v.Flagged)
			require.Equal(t, v.Fooled, len(v.Point) > 0)
			if !v.Flagged {
				continue
			}
			var res attack.Result
			require.NoError(t, direct.Run(ctx, attack.Batch{X: x, Y: []int{v.Label}}, &res))
			require.Equal(t, res.Success[0], v.Fooled)
			if !v.Fooled {
				open++
				continue
			}
			fooled++
			require.Equal(t, res.Adv, v.Point)
			holds := func(v *Verdict) {
				t.Helper()
				z := make([]float32, n.Classes())
				require.NoError(t, runner.Logits(ctx, z, v.Point, 1))
				require.NotEqual(t, v.Label, net.Argmax(z))
				require.True(t, ball.Contains(x, v.Point))
				require.True(t, v.Flagged)
				require.False(t, v.Certified && net.Ball{Eps: v.Radius}.Contains(x, v.Point))
			}
			holds(&v)
			for _, budget := range []time.Duration{0, time.Microsecond, 200 * time.Microsecond, time.Millisecond, time.Hour} {
				g.o.Budget = budget
				var tight Verdict
				require.NoError(t, g.Classify(ctx, x, &tight))
				require.True(t, tight.Flagged)
				if tight.Fooled {
					holds(&tight)
				} else {
					require.True(t, tight.CutShort, "budget %v", budget)
				}
				require.True(t, budget > 0 || !tight.Fooled)
				require.True(t, budget < time.Hour || tight.Fooled)
			}
			g.o.Budget = Unlimited
		}
	}
	t.Logf("%d fooled, %d neither proved nor fooled", fooled, open)
	require.Positive(t, fooled)
	require.Positive(t, open)
}

// foolerFunc is a fooler of a test.
type foolerFunc func(ctx context.Context, x []float32, label []int) ([]float32, error)

func (f foolerFunc) fool(ctx context.Context, x []float32, label []int) ([]float32, error) {
	return f(ctx, x, label)
}

// withFooler is scripted with an attack that takes its time and then returns the point.
func withFooler(t *testing.T, s *script, o GuardOptions, takes time.Duration, point []float32) (g *Guard, calls *int) {
	g = newGuard(t, tinyNet(t), GuardOptions{Budget: o.Budget})
	g.prover, g.now = s, func() time.Time { return s.now }
	g.o, g.search, g.grid, g.z = o, o.Resolution.Float64() > 0, nil, make([]float32, 3)
	require.NoError(t, g.makeGrid())
	calls = new(int)
	g.fooler = foolerFunc(func(ctx context.Context, _ []float32, _ []int) ([]float32, error) {
		*calls++
		for range takes / ms {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			s.now = s.now.Add(ms)
		}
		return point, nil
	})
	return g, calls
}

// otherwise returns an image and a point not farther away than eps that the network gives
// another class.
func otherwise(t *testing.T, n *net.Network, eps float32) (x, point []float32) {
	runner := n.NewRunner(kernels.NewPool(1))
	class := func(x []float32) int {
		z := make([]float32, n.Classes())
		require.NoError(t, runner.Logits(t.Context(), z, x, 1))
		return net.Argmax(z)
	}
	s := kernels.NewStream(1, 2, 3)
	for range 100_000 {
		x, point = make([]float32, 4), make([]float32, 4)
		for i := range x {
			x[i] = s.Float32()
			point[i] = min(max(0, x[i]+(2*s.Float32()-1)*eps), 1)
		}
		if class(x) != class(point) {
			return x, point
		}
	}
	t.Fatal("the network has one class")
	return nil, nil
}

// TestGuardAttackBudget: the attack gets what the ladder leaves, also where a rung was
// left out for its time, and the search what the attack leaves.
func TestGuardAttackBudget(t *testing.T) {
	x, point := otherwise(t, tinyNet(t), 0.04)
	s := &script{takes: [4]time.Duration{2 * ms, 10 * ms}, reach: [4]int{-1, -1}}
	o := GuardOptions{Threshold: net.MustEpsilon("0.05"), Budget: 100 * ms, Method: verify.MethodCROWNIBP}
	for _, c := range []struct { // in the last, time is left for a search by intervals
		takes, elapsed time.Duration
		fooled, cut    bool
		resolution     string
	}{
		{takes: 20 * ms, elapsed: 32 * ms, fooled: true},
		{takes: time.Hour, elapsed: 100 * ms, cut: true},
		{takes: 80 * ms, elapsed: 96 * ms, fooled: true, cut: true, resolution: "0.01"},
	} {
		o.Resolution, o.Max = net.Epsilon{}, net.MustEpsilon("0.1")
		if c.resolution != "" {
			o.Resolution = net.MustEpsilon(c.resolution)
		}
		g, calls := withFooler(t, s, o, c.takes, point)
		var v Verdict
		require.NoError(t, g.Classify(t.Context(), x, &v))
		require.Equal(t, c.elapsed, v.Elapsed, "%+v", c)
		require.Equal(t, c.fooled, v.Fooled)
		require.Equal(t, c.cut, v.CutShort)
		require.True(t, v.Flagged)
		require.Equal(t, 1, *calls)
	}

	// A rung that is too slow is left out after a while, and the attack has its time.
	s = &script{takes: [4]time.Duration{2 * ms, time.Hour}, reach: [4]int{-1, -1}}
	o.Resolution = net.Epsilon{}
	g, calls := withFooler(t, s, o, 20*ms, point)
	var v Verdict
	require.NoError(t, g.Classify(t.Context(), x, &v))
	require.True(t, v.CutShort && !v.Fooled)
	require.Zero(t, *calls, "no time left")
	require.NoError(t, g.Classify(t.Context(), x, &v))
	require.True(t, v.CutShort && v.Fooled)
	require.Equal(t, 22*ms, v.Elapsed)

	// What is proved is not attacked.
	s.reach[0] = 5
	require.NoError(t, g.Classify(t.Context(), x, &v))
	require.True(t, !v.Flagged && !v.Fooled && len(v.Point) == 0)
	require.Equal(t, 1, *calls)
}

// TestGuardAttackContradiction: a proof and a point in its ball cannot both be right.
func TestGuardAttackContradiction(t *testing.T) {
	x, point := otherwise(t, tinyNet(t), 0.025)
	s := &script{takes: [4]time.Duration{ms}, reach: [4]int{3}}
	o := GuardOptions{Threshold: net.MustEpsilon("0.05"), Budget: Unlimited, Resolution: net.MustEpsilon("0.01"), Max: net.MustEpsilon("0.1")}
	g, _ := withFooler(t, s, o, ms, point)
	var v Verdict
	var bad *Contradiction
	require.ErrorAs(t, g.Classify(t.Context(), x, &v), &bad)
	require.True(t, v.Flagged && !v.Certified && !v.Fooled)
	require.Equal(t, "0.03", bad.Ball.Eps.String())

	// Nor is a point taken that is no proof: the image itself, or one outside the ball.
	far := []float32{1, 1, 1, 1}
	for _, p := range [][]float32{x, far} {
		g, _ = withFooler(t, s, o, ms, p)
		require.ErrorContains(t, g.Classify(t.Context(), x, &v), "report this")
		require.True(t, v.Flagged && !v.Certified && !v.Fooled)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g.fooler = foolerFunc(func(context.Context, []float32, []int) ([]float32, error) {
		cancel()
		return nil, context.Canceled
	})
	require.ErrorIs(t, g.Classify(ctx, x, &v), context.Canceled)
	require.True(t, v.Flagged && !v.Certified && v.Label >= 0)
}

// TestGuardAttackAllocatesNothing: from the first call on, but for the memory of the
// verdict.
func TestGuardAttackAllocatesNothing(t *testing.T) {
	n := guardNet(t, "mnist-small-standard", net.Options{Backward: true, Batches: net.SmallBatches})
	g := newGuard(t, n, GuardOptions{Threshold: net.MustEpsilon("0.3"), Budget: Unlimited, Attack: NewGuardAttack(attack.PGD{Steps: 3})})
	x := digits(t, 0, 1).X
	v := Verdict{Logits: make([]float32, 10), Point: make([]float32, 784)}
	var err error
	require.Zero(t, testing.AllocsPerRun(2, func() { err = g.Classify(context.Background(), x, &v) }))
	require.NoError(t, err)
	require.True(t, v.Fooled)
}

func TestGuardAttackOptions(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	with := guardNet(t, "mnist-small-ibp-0.1", net.Options{Backward: true})
	for want, c := range map[string]struct {
		n    *net.Network
		m    attack.Method
		norm net.Norm
	}{
		"attack: method: none":                    {with, nil, net.Linf},
		"attack: spatial: knows no ball":          {with, attack.Spatial{}, net.Linf},
		"attack: ddn: ":                           {with, attack.DDN{}, net.Linf},
		"attack: pgd: steps":                      {with, attack.PGD{Steps: -1}, net.Linf},
		"attack: pgd: follows gradients, and the": {guardNet(t, "mnist-small-ibp-0.1", net.Options{}), attack.PGD{}, net.Linf},
	} {
		_, err := NewGuard(c.n, pool, GuardOptions{Norm: c.norm, Threshold: net.MustEpsilon("0.1"), Attack: NewGuardAttack(c.m)})
		require.ErrorContains(t, err, want)
	}
	_, err := NewGuard(guardNet(t, "mnist-small-ibp-0.1", net.Options{}), pool, GuardOptions{Threshold: net.MustEpsilon("0.1"), Attack: NewGuardAttack(attack.Square{})})
	require.NoError(t, err, "needs no gradients")
}
