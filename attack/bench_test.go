package attack

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// BenchmarkMethods reports how many image-steps a second each method makes on network A of
// docs/benchmarks.md with random weights, on one thread, and what share that is of PGD's,
// run in turns with it.
func BenchmarkMethods(b *testing.B) {
	arch, err := model.Preset("mnist-small")
	require.NoError(b, err)
	s := newSetup(b, arch, 1, 128, "")
	pool := kernels.NewPool(1)
	defer pool.Close()
	make := func(norm net.Norm, eps, text string) *Attacker {
		m, err := Parse(text)
		require.NoError(b, err)
		a, err := New(s.n, Config{Ball: ball(norm, eps), Method: m}, pool)
		require.NoError(b, err)
		return a
	}
	steps := func(b *testing.B, a *Attacker) (float64, float64) {
		var r Result
		batch := Batch{X: s.x, Y: s.y}
		start := b.Elapsed()
		require.NoError(b, a.Run(context.Background(), batch, &r))
		return float64(r.ImageSteps), (b.Elapsed() - start).Seconds()
	}
	for _, c := range []struct {
		norm      net.Norm
		eps, text string
	}{
		{net.Linf, "1e-4", "apgd:steps=40"},
		{net.Linf, "1e-4", "apgd-t:steps=10,targets=4"},
		{net.Linf, "1e-4", "fab-t:steps=10,targets=4,stop"},
		{net.Linf, "1e-4", "square:queries=40"},
		{net.L2, "1e-4", "apgd:steps=40"},
		{net.L1, "1e-4", "apgd:steps=40"},
		{net.L2, "28", "ddn:steps=40"},
		{net.L2, "28", "fmn:steps=40"},
	} {
		b.Run(c.norm.String()+"/"+c.text, func(b *testing.B) {
			pgd, a := make(net.Linf, "1e-4", "pgd:steps=40"), make(c.norm, c.eps, c.text)
			var n, seconds, base, baseSeconds float64
			for b.Loop() {
				k, t := steps(b, a)
				n, seconds = n+k, seconds+t
				k, t = steps(b, pgd)
				base, baseSeconds = base+k, baseSeconds+t
			}
			b.ReportMetric(n/seconds, "image-steps/s")
			b.ReportMetric(n/seconds/(base/baseSeconds), "of-pgd")
		})
	}
}
