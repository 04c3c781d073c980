package attack

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestAPGDGolden follows the runs of make_apgd.py point by point.
func TestAPGDGolden(t *testing.T) {
	arrays, _ := readGolden(t, "apgd.npz")
	runs := []string{}
	for name := range arrays {
		if run, ok := strings.CutSuffix(name, ".path"); ok {
			runs = append(runs, run)
		}
	}
	require.Len(t, runs, 5)
	for _, run := range runs {
		t.Run(run, func(t *testing.T) {
			part := strings.Split(run, ".") // network, norm, loss
			g, err := golden.Load(part[0])
			require.NoError(t, err)
			norm, err := net.ParseNorm(part[1])
			require.NoError(t, err)
			loss, err := net.ParseLoss(part[2])
			require.NoError(t, err)
			eps := arrays[run+".eps"].([]float64)[0]
			x, start, path := arrays[run+".x"].([]float32), arrays[run+".start"].([]float32), arrays[run+".path"].([]float32)
			length, halvings := arrays[run+".length"].([]int32), arrays[run+".halvings"].([]int32)
			y := make([]int, len(length))
			for i, v := range arrays[run+".y"].([]int32) {
				y[i] = int(v)
			}
			size := len(x) / len(y)
			steps := len(path)/len(x) - 1
			for _, isa := range kernels.Available() {
				n, err := net.Compile(g.Model, net.Options{ISA: isa.Name(), Backward: true})
				require.NoError(t, err)
				m := &recorder{APGD{Steps: steps, Loss: loss}, g.Model.Arch.Input, map[uint64][]visit{}}
				a, err := New(n, Config{Ball: ball(norm, strconv.FormatFloat(eps, 'g', -1, 64)), Method: m}, kernels.NewPool(1))
				require.NoError(t, err)
				var res Result
				require.NoError(t, a.Run(context.Background(), Batch{X: x, Y: y, Start: start}, &res))
				halved := 0
				for i := range y {
					seen := m.seen[uint64(i)]
					points := len(seen)
					if res.Success[i] {
						points++ // ends the run: no rule sees it
						seen = append(seen, visit{x: res.Adv[i*size : (i+1)*size]})
					}
					require.EqualValues(t, length[i], points, "image %d", i)
					for k, v := range seen {
						want := path[(k*len(y)+i)*size:][:size]
						for j := range want {
							require.InDelta(t, want[j], v.x[j], 3e-6, "image %d, point %d", i, k)
						}
					}
					halved += int(halvings[i])
				}
				require.Positive(t, halved)
			}
		})
	}
}

// TestCheckpoints: those of the paper for 100 steps, and that they stay apart for few.
func TestCheckpoints(t *testing.T) {
	require.Equal(t, []int{22, 41, 57, 70, 80, 87, 93, 99}, checkpoints(100))
	require.Equal(t, []int{3, 5, 6, 7, 8, 9}, checkpoints(10))
	require.Empty(t, checkpoints(1))
	for steps := range 2000 {
		for i, w := range checkpoints(steps) {
			require.True(t, w > 0 && w < steps && (i == 0 || w > checkpoints(steps)[i-1]))
		}
	}
}

// TestAPGDNeedsNoStepSize: APGD finds worse points than PGD with steps that are too
// long or too short, and hardly better ones are found with steps that suit.
func TestAPGDNeedsNoStepSize(t *testing.T) {
	const n, steps = 60, 40
	s := newSetup(t, tiny, 6, n, "")
	for _, norm := range []net.Norm{net.Linf, net.L2} {
		b := ball(norm, []string{"0.01", "0.04"}[norm])
		margin := func(m Method) (sum float64) {
			r := s.run(t, Config{Ball: b, Method: m}, Batch{X: s.x, Y: s.y}, 1)
			for i := range s.y {
				sum += math.Max(0, float64(r.Margin[i]))
			}
			return sum / n
		}
		eps := b.Eps.Float64()
		apgd := margin(APGD{Steps: steps, Loss: net.Margin, Seed: 1})
		suits, short := margin(PGD{Steps: steps, Loss: net.Margin, Seed: 1}), margin(PGD{Steps: steps, StepSize: eps / 200, Loss: net.Margin, Seed: 1})
		long := margin(PGD{Steps: steps, StepSize: 2 * eps, FixedStart: true, Loss: net.Margin})
		t.Logf("%v: mean margin %.6f by APGD; by PGD %.6f with steps of ε/4, %.6f with ε/200, %.6f with 2ε", norm, apgd, suits, short, long)
		require.Less(t, apgd, short)
		require.Less(t, apgd, suits+0.002)
		require.LessOrEqual(t, apgd, long)
	}
}
