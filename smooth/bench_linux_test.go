package smooth_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/smooth"
)

// cpuTime is that of the process: other programs do not count.
func cpuTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// BenchmarkPredict draws samples of an image, in turn with the forward pass of as many
// images that are there, on one thread. Of the CPU time of both, of-forward is the median of
// the ratios: what is left of the forward pass's rate.
func BenchmarkPredict(b *testing.B) {
	const samples = 192
	for _, name := range model.Presets() {
		b.Run(name, func(b *testing.B) {
			arch, err := model.Preset(name)
			require.NoError(b, err)
			m, err := model.Random(arch, 1)
			require.NoError(b, err)
			n, err := net.Compile(m, net.Options{})
			require.NoError(b, err)
			pool := kernels.NewPool(1)
			defer pool.Close()
			o := smooth.Options{Sigma: net.MustEpsilon("0.25"), Samples: samples}
			s, err := smooth.New(n, pool, o)
			require.NoError(b, err)
			runner, ctx, size := n.NewRunner(pool), context.Background(), n.Input().Size()
			x, z := make([]float32, samples*size), make([]float32, samples*n.Classes())
			r := kernels.NewStream(1, 0, 0)
			for i := range x {
				x[i] = float32(r.Intn(256)) / 255
			}
			clock := func(f func() error) time.Duration {
				before := cpuTime()
				require.NoError(b, f())
				return cpuTime() - before
			}
			var ratios []float64
			var sum time.Duration
			repeat := max(1, int(1e9/float64(n.MACs()*samples)))
			for b.Loop() {
				forward := clock(func() (err error) {
					for range repeat {
						err = runner.Logits(ctx, z, x, samples)
					}
					return err
				})
				smoothed := clock(func() (err error) {
					for range repeat {
						_, err = s.Predict(ctx, smooth.Batch{X: x[:size]})
					}
					return err
				})
				sum += smoothed
				ratios = append(ratios, float64(forward)/float64(smoothed))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "of-forward")
			b.ReportMetric(float64(samples*repeat*len(ratios))/sum.Seconds(), "samples/cpu-s")
		})
	}
}
