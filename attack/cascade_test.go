package attack

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// relay is a small cascade: one step, then runs that go on from there, then APGD.
type relay struct{}

func (relay) Name() string                 { return "relay" }
func (relay) String() string               { return "relay" }
func (relay) Validate(net.Ball, int) error { return nil }
func (relay) Plan() Plan                   { return Plan{Restarts: 1} }
func (relay) NewRule(*Space) Rule          { panic("attack: relay has no rule") }

func (relay) stages() []Method {
	return []Method{FGSM{}, PGD{Steps: 4, Seed: 1, Restarts: 2}, APGD{Steps: 15, Seed: 2, Loss: net.DLR, Targeted: true, Restarts: 3}}
}

func (r relay) NewRun(t Target, c Config, pool *kernels.Pool) (Run, error) {
	var stages []CascadeStage
	for k, m := range r.stages() {
		stages = append(stages, CascadeStage{Method: m, Warm: k == 1})
	}
	return NewCascade(t, c, pool, stages)
}

// TestCascade: stages attack what is left, and what they find adds up.
func TestCascade(t *testing.T) {
	const n = 1100 // more than a block
	s := newSetup(t, tiny, 3, n, "")
	s.y[5] = (s.y[5] + 1) % 5
	c := Config{Ball: ball(net.Linf, "0.03"), Method: relay{}, Recheck: true}
	var done []int
	c.Progress = func(d int) { done = append(done, d) }
	finished := make([]int, n)
	b := Batch{X: s.x, Y: s.y, Finished: func(i, steps int) { finished[i]++ }}
	r := s.run(t, c, b, 1)
	require.Len(t, done, n)
	require.Equal(t, n, slices.Max(done))
	for i, times := range finished {
		require.Equal(t, 1, times, "image %d", i)
	}
	require.Len(t, r.Stages, 3)
	require.Equal(t, n, r.Stages[0].Images)
	fooled, steps := 0, int64(0)
	for k, stage := range r.Stages {
		require.Equal(t, relay{}.stages()[k].String(), stage.Method)
		require.Positive(t, stage.Fooled)
		if k > 0 {
			left := r.Stages[k-1].Images - r.Stages[k-1].Fooled
			if k == 1 {
				left-- // wrong from the start
			}
			require.Equal(t, left, stage.Images)
		}
		fooled += stage.Fooled
		steps += stage.Steps
	}
	_, clean, robust := r.Count()
	require.Equal(t, n-1, clean)
	require.Equal(t, clean-fooled, robust)
	require.Equal(t, steps, r.ImageSteps)

	// It finds what its first stage alone finds, and nothing less than any other.
	first := s.run(t, Config{Ball: c.Ball, Method: FGSM{}}, Batch{X: s.x, Y: s.y}, 1)
	last := s.run(t, Config{Ball: c.Ball, Method: relay{}.stages()[2]}, Batch{X: s.x, Y: s.y}, 1)
	for i := range n {
		if first.Success[i] {
			require.Equal(t, s.image(first.Adv, i), s.image(r.Adv, i))
		}
		require.False(t, last.Success[i] && !r.Success[i], "image %d", i)
		require.True(t, r.Success[i] || i == 5 || r.Margin[i] <= last.Margin[i] && r.Margin[i] <= first.Margin[i])
	}
}

// TestRobust: images that are proved are classified, and not attacked.
func TestRobust(t *testing.T) {
	const n = 60
	s := newSetup(t, tiny, 3, n, "")
	s.y[4] = (s.y[4] + 1) % 5
	robust := make([]bool, n)
	for i := range robust {
		robust[i] = i%3 == 1
	}
	for _, m := range []Method{PGD{Steps: 5, Seed: 1}, relay{}} {
		c := Config{Ball: ball(net.Linf, "0.05"), Method: m}
		whole := s.run(t, c, Batch{X: s.x, Y: s.y}, 2)
		r := s.run(t, c, Batch{X: s.x, Y: s.y, Robust: robust}, 2)
		for i := range n {
			require.True(t, r.Done[i])
			require.Equal(t, i != 4, r.Clean[i])
			require.Equal(t, robust[i] && i != 4, r.Proved[i])
			if robust[i] || i == 4 {
				require.False(t, r.Success[i])
				require.Equal(t, s.image(s.x, i), s.image(r.Adv, i))
			} else {
				require.Equal(t, s.image(whole.Adv, i), s.image(r.Adv, i))
			}
		}
	}
	pool := kernels.NewPool(1)
	defer pool.Close()
	a, err := New(s.n, Config{Ball: ball(net.Linf, "0.05"), Method: PGD{}}, pool)
	require.NoError(t, err)
	require.ErrorContains(t, a.Run(context.Background(), Batch{X: s.x, Y: s.y, Robust: robust[:3]}, new(Result)), "robust: 3")
}
