package attack

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/internal/redteam"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// universals are cases that all tests go through.
func universals() []Config {
	return []Config{
		{Ball: ball(net.Linf, "0.1"), Method: Universal{Epochs: 5, Batch: 16, Seed: 1}, Recheck: true},
		{Ball: ball(net.L2, "0.8"), Method: Universal{Epochs: 5, Batch: 16, Seed: 2, Loss: net.Margin, Height: 1}, Recheck: true},
	}
}

// TestUniversal checks every claim of a result: one perturbation, in the ball, is added to
// all images but those that were wrong or are proved.
func TestUniversal(t *testing.T) {
	const n = 70
	s := newSetup(t, tiny, 1, n, "")
	s.y[3] = (s.y[3] + 1) % 5
	robust := make([]bool, n)
	robust[7] = true
	for _, c := range universals() {
		finished := 0
		b := Batch{X: s.x, Y: s.y, Robust: robust, Finished: func(i, steps int) {
			finished++
			require.Equal(t, i != 3 && i != 7, steps == 5)
		}}
		r := s.run(t, c, b, 2)
		require.Equal(t, n, finished)
		z := s.logits(t, r.Adv, n)
		zero, fooled := make([]float32, s.size), 0
		half := make([]float32, s.size) // inside the pixel box
		for k, d := range r.Universal {
			half[k] = 0.5 + d
			zero[k] = 0.5
		}
		require.True(t, redteam.Inside(net.Ball{Norm: c.Ball.Norm, Eps: net.MustEpsilon("1")}, zero, half))
		for i := range s.y {
			x, adv, zi := s.image(s.x, i), s.image(r.Adv, i), z[i*5:(i+1)*5]
			require.True(t, redteam.Inside(c.Ball, x, adv), "image %d", i)
			require.Equal(t, net.Argmax(zi), r.Label[i])
			require.Equal(t, net.MarginOf(zi, s.y[i]), r.Margin[i])
			require.Equal(t, i != 3, r.Clean[i])
			require.Equal(t, i != 3 && r.Label[i] != s.y[i], r.Success[i])
			require.True(t, r.Done[i] && r.Begun[i])
			if i == 3 || i == 7 {
				require.Equal(t, x, adv)
				continue
			}
			for k, d := range r.Universal {
				require.InDelta(t, min(max(x[k]+d, 0), 1), adv[k], 1e-7)
			}
			if r.Success[i] {
				fooled++
			}
		}
		t.Logf("%v: %d of %d fooled", c.Ball, fooled, n)
		require.Greater(t, fooled, 10)
		require.EqualValues(t, 5*(n-2), r.ImageSteps)
	}
}

// TestUniversalSameBits: the perturbation does not depend on threads, on how images are
// laid out, or on the kernel set.
func TestUniversalSameBits(t *testing.T) {
	const n = 58
	s := newSetup(t, tiny, 3, n, "")
	for _, c := range universals() {
		want := s.run(t, c, Batch{X: s.x, Y: s.y}, 1)
		require.Contains(t, want.Success, true)
		compare := func(have *Result) {
			t.Helper()
			require.Equal(t, want.Universal, have.Universal)
			require.Equal(t, want.Adv, have.Adv)
			require.Equal(t, want.Margin, have.Margin)
			require.Equal(t, want.Success, have.Success)
		}
		compare(s.run(t, c, Batch{X: s.x, Y: s.y}, 2))
		compare(s.run(t, c, Batch{X: s.x, Y: s.y}, 3))
		for _, batches := range []net.Batches{net.SmallBatches, net.LargeBatches} {
			compare(s.compiled(t, net.Options{Backward: true, Batches: batches}).run(t, c, Batch{X: s.x, Y: s.y}, 2))
		}
		for _, isa := range kernels.Available()[1:] {
			compare(newSetup(t, tiny, 3, n, isa.Name()).run(t, c, Batch{X: s.x, Y: s.y}, 1))
		}
	}
}

func TestUniversalDoesNotAllocate(t *testing.T) {
	s := newSetup(t, tiny, 8, 70, "")
	for _, c := range universals() {
		c.Recheck = false
		for _, n := range []int{70, 3} {
			pool := kernels.NewPool(2)
			defer pool.Close()
			a, err := New(s.n, c, pool)
			require.NoError(t, err)
			var r Result
			b := Batch{X: s.x[:n*s.size], Y: s.y[:n]}
			require.NoError(t, a.Run(context.Background(), b, &r))
			require.Zero(t, testing.AllocsPerRun(3, func() { _ = a.Run(context.Background(), b, &r) }))
		}
	}
}

// TestUniversalCancel: a run that is stopped says so, and what it claims of images is
// true.
func TestUniversalCancel(t *testing.T) {
	const n = 40
	s := newSetup(t, tiny, 3, n, "")
	c := universals()[0]
	for _, stop := range []int64{0, 1, 3, 9, 30} {
		ctx := &countdown{Context: context.Background(), left: stop}
		a, err := New(s.n, c, kernels.NewPool(1))
		require.NoError(t, err)
		var r Result
		require.ErrorIs(t, a.Run(ctx, Batch{X: s.x, Y: s.y}, &r), context.Canceled, "%d", stop)
		require.NotContains(t, r.Done, true)
		z := s.logits(t, r.Adv, n)
		for i := range s.y {
			if !r.Begun[i] {
				require.Equal(t, s.image(s.x, i), s.image(r.Adv, i))
				continue
			}
			require.Equal(t, net.Argmax(z[i*5:(i+1)*5]), r.Label[i])
			require.Equal(t, r.Label[i] != s.y[i], r.Success[i])
		}
	}
}

// countdown is a context that ends when it has been asked so many times.
type countdown struct {
	context.Context
	left int64
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestUniversalZeroEpsilon(t *testing.T) {
	s := newSetup(t, tiny, 2, 11, "")
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		r := s.run(t, Config{Ball: ball(norm, "0"), Method: Universal{Epochs: 2}}, Batch{X: s.x, Y: s.y}, 1)
		require.Equal(t, s.x, r.Adv)
		require.NotContains(t, r.Success, true)
	}
}

func TestUniversalRefuses(t *testing.T) {
	s := newSetup(t, tiny, 2, 3, "")
	pool := kernels.NewPool(1)
	c := Config{Ball: ball(net.Linf, "0.1"), Method: Universal{}}
	a, err := New(s.n, c, pool)
	require.NoError(t, err)
	for _, b := range []Batch{{X: s.x, Y: s.y, Start: s.x}, {X: s.x, Y: s.y, Index: []int{4, 5, 6}}} {
		require.ErrorContains(t, a.Run(context.Background(), b, new(Result)), "all images at once")
	}
	search, err := NewRadiusSearch(s.n, c, net.MustEpsilon("0.01"), net.MustEpsilon("0.1"), pool)
	require.NoError(t, err)
	require.ErrorContains(t, search.Run(context.Background(), Batch{X: s.x, Y: s.y}, nil, new(RadiusResult)), "all images at once")
	c.Lattice = 8
	_, err = New(s.n, c, pool)
	require.ErrorContains(t, err, "universal: lattice")
	c = Config{Ball: ball(net.L1, "1"), Method: Universal{}}
	_, err = New(s.n, c, pool)
	require.ErrorContains(t, err, "universal: norm l1: want linf or l2")
}

// TestUniversalGolden compares with make_universal.py, whose random numbers are the same.
func TestUniversalGolden(t *testing.T) {
	arrays, runs := readGolden(t, "universal.npz")
	require.Len(t, runs, 3)
	for _, run := range runs {
		part := strings.Split(run, ".") // network, norm
		g, err := golden.Load(part[0])
		require.NoError(t, err)
		norm, err := net.ParseNorm(part[1])
		require.NoError(t, err)
		eps := strconv.FormatFloat(arrays[run+".eps"].([]float64)[0], 'g', -1, 64)
		n, err := net.Compile(g.Model, net.Options{Backward: true})
		require.NoError(t, err)
		m := Universal{Epochs: 6, Batch: 5, Height: 3, Seed: 23}
		a, err := New(n, Config{Ball: ball(norm, eps), Method: m, Recheck: true}, kernels.NewPool(1))
		require.NoError(t, err)
		var r Result
		require.NoError(t, a.Run(context.Background(), Batch{X: arrays[run+".x"].([]float32), Y: ints(arrays[run+".y"])}, &r))
		fooled := 0
		for i, want := range arrays[run+".delta"].([]float64) {
			require.InDelta(t, want, r.Universal[i], 1e-5, "%s, pixel %d", run, i)
		}
		for _, ok := range r.Success {
			if ok {
				fooled++
			}
		}
		require.EqualValues(t, arrays[run+".fooled"].([]int32)[0], fooled, run)
		require.False(t, math.IsNaN(float64(r.Margin[0])))
	}
}
