package attack

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/internal/golden"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TestStepsGolden follows the runs of make_steps.py, by other packages, point by point.
func TestStepsGolden(t *testing.T) {
	arrays, _ := readGolden(t, "steps.npz")
	runs := map[string]struct {
		network string
		norm    net.Norm
		m       Method
	}{
		"bim":            {"dense", net.Linf, BIM{Steps: 9, StepSize: 0.02}},
		"rfgsm":          {"strided", net.Linf, RFGSM{}},
		"mifgsm":         {"strided", net.Linf, MIFGSM{Steps: 9, StepSize: 0.02, Decay: 0.9}},
		"mifgsm.l2":      {"dense", net.L2, MIFGSM{Steps: 9, StepSize: 0.04, Decay: 0.9}},
		"nifgsm":         {"residual", net.Linf, NIFGSM{Steps: 8, StepSize: 0.01, Decay: 0.8}},
		"pifgsm":         {"padded", net.Linf, PIFGSM{Steps: 8, Amplification: 2.5}},
		"apgd.l1":        {"strided", net.L1, APGD{Steps: 60}},
		"apgd.l1.dlr":    {"residual", net.L1, APGD{Steps: 50, Loss: net.DLR}},
		"apgd.l1.stages": {"padded", net.L1, APGD{Steps: 50, Loss: net.DLR, Targeted: true, Stages: true}},
	}
	for name := range arrays {
		if run, ok := strings.CutSuffix(name, ".path"); ok {
			require.Contains(t, runs, run)
		}
	}
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			g, err := golden.Load(run.network)
			require.NoError(t, err)
			eps := arrays[name+".eps"].([]float64)[0]
			ints := func(key string) (v []int) {
				for _, i := range arrays[name+key].([]int32) {
					v = append(v, int(i))
				}
				return v
			}
			b := Batch{X: arrays[name+".x"].([]float32), Y: ints(".y"), Start: arrays[name+".start"].([]float32)}
			if run.m.Plan().Targeted {
				b.Targets = ints(".target")
			}
			path, length, size := arrays[name+".path"].([]float32), ints(".length"), len(b.X)/len(b.Y)
			for _, isa := range kernels.Available() {
				n, err := net.Compile(g.Model, net.Options{ISA: isa.Name(), Backward: true})
				require.NoError(t, err)
				m := &recorder{run.m, g.Model.Arch.Input, map[uint64][]visit{}}
				a, err := New(n, Config{Ball: ball(run.norm, strconv.FormatFloat(eps, 'g', -1, 64)), Method: m}, kernels.NewPool(1))
				require.NoError(t, err)
				var res Result
				require.NoError(t, a.Run(context.Background(), b, &res))
				for i := range b.Y {
					seen := m.seen[uint64(i)]
					if res.Success[i] { // ends the run: no rule sees the point
						seen = append(seen, visit{x: res.Adv[i*size : (i+1)*size]})
					}
					for k, v := range seen {
						want := path[(k*len(b.Y)+i)*size:][:size]
						require.InDeltaSlice(t, want, v.x, 3e-6, "image %d, point %d", i, k)
					}
					require.Len(t, seen, length[i], "image %d", i)
				}
			}
		})
	}
}
