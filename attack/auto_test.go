package attack

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// names are the textual forms of stages.
func names(stages []CascadeStage) (all []string) {
	for _, s := range stages {
		if s.Method == nil {
			all = append(all, StageProofs)
		} else {
			all = append(all, s.Method.String())
		}
	}
	return all
}

// TestAutoStages: the published ensemble, by norm.
func TestAutoStages(t *testing.T) {
	standard := []string{"apgd:steps=100", "apgd:steps=100,targets=9,loss=dlr", "fab-t:steps=100,stop", "square:queries=5000"}
	l1 := []string{"apgd:steps=100,restarts=5,stages", "apgd:steps=100,targets=5,stages,loss=dlr", "fab-t:steps=100,stop", "square:queries=5000"}
	for norm, want := range map[net.Norm][]string{net.Linf: standard, net.L2: standard, net.L1: l1} {
		require.Equal(t, want, names(Auto{NoProofs: true}.Stages(norm)))
		require.Equal(t, append([]string{want[0], StageProofs}, want[1:]...), names(Auto{}.Stages(norm)))
		require.Equal(t, []string{"apgd:steps=100", "apgd:steps=100,loss=dlr"}, names(Auto{Version: "rand"}.Stages(norm)))
	}
	require.Equal(t, 20, Auto{Version: "rand"}.Plan().EOT)
	require.ErrorContains(t, Auto{}.Validate(ball(net.L0, "3"), 10), "norm l0: want linf or l2 or l1")
	require.ErrorContains(t, Auto{Version: "plus"}.Validate(ball(net.Linf, "0.1"), 10), `version: got "plus", want one of standard, rand`)
}

// TestAuto: it finds what its stages find, and fast about as much.
func TestAuto(t *testing.T) {
	const n = 40
	s := newSetup(t, tiny, 7, n, "")
	for _, b := range []net.Ball{ball(net.Linf, "0.012"), ball(net.L2, "0.1"), ball(net.L1, "0.5")} {
		r := s.run(t, Config{Ball: b, Method: Auto{Seed: 1}, Recheck: true}, Batch{X: s.x, Y: s.y}, 2)
		_, clean, robust := r.Count()
		require.Equal(t, n, clean)
		require.Len(t, r.Stages, 4, "no proofs without Config.Prove")
		left := n
		for _, stage := range r.Stages {
			require.Equal(t, left, stage.Images)
			left -= stage.Fooled
		}
		require.Equal(t, robust, left)
		require.Greater(t, robust, 5)
		require.Less(t, robust, n-5)
		_, _, fast := s.run(t, Config{Ball: b, Method: Fast{Seed: 1}, Recheck: true}, Batch{X: s.x, Y: s.y}, 2).Count()
		require.LessOrEqual(t, fast, robust+1, "%v", b)
		require.LessOrEqual(t, robust, fast+1, "%v", b)
	}
}

// TestAutoOfFewClasses: below four classes DLR is what net.DLR says, and there are fewer
// targets.
func TestAutoOfFewClasses(t *testing.T) {
	for classes := 2; classes <= 3; classes++ {
		s := newSetup(t, &model.Architecture{Input: model.Shape{C: 1, H: 3, W: 3}, Layers: []model.Layer{fc(12), relu, fc(classes)}}, 3, 30, "")
		for _, m := range []Method{Auto{}, Fast{}} {
			fooled := 0
			for _, ok := range s.run(t, Config{Ball: ball(net.Linf, "0.2"), Method: m}, Batch{X: s.x, Y: s.y}, 1).Success {
				if ok {
					fooled++
				}
			}
			require.Greater(t, fooled, 3, "%v, %d classes", m, classes)
		}
	}
}

// TestAutoRand: each step of a target that draws random numbers is a mean of 20 draws.
func TestAutoRand(t *testing.T) {
	s := newSetup(t, tiny, 2, 6, "")
	c := &counted{squeezed: squeezed{Network: s.n, noise: 0.05}}
	pool := kernels.NewPool(1)
	defer pool.Close()
	a, err := New(c, Config{Ball: ball(net.Linf, "0.02"), Method: Auto{Version: "rand"}}, pool)
	require.NoError(t, err)
	require.NoError(t, a.Run(t.Context(), Batch{X: s.x, Y: s.y}, new(Result)))
	require.Equal(t, 19, c.draw)
}

// counted remembers the last draw that it was asked for.
type counted struct {
	squeezed
	draw int
}

func (c *counted) Passes(images int, pool *kernels.Pool) Passes {
	return &countedPasses{c.squeezed.Passes(images, pool).(*noisyPasses), c}
}

type countedPasses struct {
	*noisyPasses
	c *counted
}

func (p *countedPasses) Seat(slots []Slot) {
	p.c.draw = max(p.c.draw, slots[0].Draw)
	p.noisyPasses.Seat(slots)
}
