package audit

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

func TestCal(t *testing.T) {
	test, err := mnist.Test()
	require.NoError(t, err)
	images := test.Slice(0, 1000)
	pool := kernels.NewPool(1)
	nets := map[string]*net.Network{}
	for _, name := range zoo.Names() {
		m, err := zoo.Load(name)
		require.NoError(t, err)
		nets[name], err = net.Compile(m, net.Options{Backward: true})
		require.NoError(t, err)
	}
	for _, how := range strings.Fields(os.Getenv("HOW")) {
		text, ball, _ := strings.Cut(how, "@")
		norm, eps, _ := strings.Cut(ball, ",")
		m, err := attack.Parse(text)
		require.NoError(t, err)
		nn, err := net.ParseNorm(norm)
		require.NoError(t, err)
		cfg := attack.Config{Ball: net.Ball{Norm: nn, Eps: net.MustEpsilon(eps)}, Method: m}
		for _, name := range zoo.Names() {
			a, err := attack.New(nets[name], cfg, pool)
			require.NoError(t, err)
			b := attack.Batch{X: images.X, Y: images.Y}
			res := new(attack.Result)
			start := time.Now()
			require.NoError(t, a.Run(context.Background(), b, res))
			took := time.Since(start).Seconds()
			c := Case{Target: nets[name], Pool: pool, Config: cfg, Batch: b, Result: res}
			for _, other := range zoo.Names() {
				if other != name {
					c.Surrogates = append(c.Surrogates, Surrogate{other, nets[other]})
				}
			}
			var last time.Time
			lastName := ""
			times := map[string]float64{}
			note := func(check string) {
				if check != lastName {
					if lastName != "" {
						times[lastName] = time.Since(last).Seconds()
					}
					last, lastName = time.Now(), check
				}
			}
			c.Progress = func(check string, d, n int) { note(check) }
			start = time.Now()
			f := Diagnose(context.Background(), c)
			note("")
			_, cl, left := res.Count()
			t.Logf("%s %s: clean %d left %d, attack %.2fs, checks %.2fs = %.0f%%", name, how, cl, left, took, time.Since(start).Seconds(), 100*time.Since(start).Seconds()/took)
			for _, f := range f {
				t.Logf("  %-18s %-7s %5.1f%% %s %v", f.Name, f.Verdict, 100*times[f.Name]/took, f.Detail, f.Images)
			}
		}
	}
}
