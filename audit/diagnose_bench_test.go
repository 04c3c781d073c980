package audit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// BenchmarkDiagnose tells what the checks cost: their time over that of the attack, all of
// them and each. The attack is PGD with 40 steps on 1,000 images.
func BenchmarkDiagnose(b *testing.B) {
	test, err := mnist.Test()
	require.NoError(b, err)
	images := test.Slice(0, 1000)
	pool := kernels.NewPool(1)
	defer pool.Close()
	nets := map[string]*net.Network{}
	for _, name := range zoo.Overview() {
		m, err := zoo.Load(name)
		require.NoError(b, err)
		nets[name], err = net.Compile(m, net.Options{Backward: true})
		require.NoError(b, err)
	}
	for _, name := range zoo.Overview() {
		b.Run(name, func(b *testing.B) {
			c := Case{
				Target: nets[name], Pool: pool, Batch: attack.Batch{X: images.X, Y: images.Y}, Result: new(attack.Result),
				Config: attack.Config{Ball: net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}, Method: attack.PGD{Seed: 1}},
			}
			for _, other := range zoo.Overview() {
				if other != name {
					c.Surrogates = append(c.Surrogates, Surrogate{other, nets[other]})
				}
			}
			for _, d := range Diagnostics() {
				d := d
				run := d.Run
				d.Run = func(ctx context.Context, c *Case) Finding {
					start := time.Now()
					f := run(ctx, c)
					b.Logf("%-18s %6.1f ms  %s: %s", d.Name, 1e3*time.Since(start).Seconds(), f.Verdict, f.Detail)
					return f
				}
				c.Diagnostics = append(c.Diagnostics, d)
			}
			var attacks, checks time.Duration
			for b.Loop() {
				a, err := attack.New(c.Target, c.Config, pool)
				require.NoError(b, err)
				start := time.Now()
				require.NoError(b, a.Run(context.Background(), c.Batch, c.Result))
				attacks += time.Since(start)
				start = time.Now()
				Diagnose(context.Background(), c)
				checks += time.Since(start)
			}
			b.ReportMetric(attacks.Seconds()/float64(b.N), "attack-s")
			b.ReportMetric(float64(checks)/float64(attacks), "of-attack")
		})
	}
}
