package audit

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// BenchmarkGuard is the time of a prediction with its proof, one image on one thread:
// by intervals, by the ladder where they fail, and with the search for the radius.
func BenchmarkGuard(b *testing.B) {
	for name, c := range map[string]struct {
		model string
		o     GuardOptions
	}{
		"ibp":        {"mnist-small-ibp-0.1", GuardOptions{Threshold: net.MustEpsilon("0.1")}},
		"ibp-radius": {"mnist-small-ibp-0.1", GuardOptions{Threshold: net.MustEpsilon("0.1"), Resolution: net.MustEpsilon("1/500")}},
		"crown":      {"mnist-small-pgd-0.1", GuardOptions{Threshold: net.MustEpsilon("0.05"), Method: verify.MethodCROWN}},
		"crown-radius": {"mnist-small-pgd-0.1", GuardOptions{
			Threshold: net.MustEpsilon("0.05"), Method: verify.MethodCROWN, Resolution: net.MustEpsilon("1/500"),
		}},
	} {
		c.o.Budget = Unlimited
		g := newGuard(b, guardNet(b, c.model, net.Options{Batches: net.SmallBatches}), c.o)
		images := digits(b, 0, 32)
		b.Run(name, func(b *testing.B) {
			var v Verdict
			b.ReportAllocs()
			k, proved := 0, 0
			for b.Loop() {
				require.NoError(b, g.Classify(context.Background(), images.Image(k%32), &v))
				k++
				if !v.Flagged {
					proved++
				}
			}
			b.ReportMetric(float64(proved)/float64(k), "proved")
		})
	}
}

// BenchmarkGuardOverrun is by how much calls overrun their budget when it ends within
// CROWN, where that takes seconds: how soon a proof is given up.
func BenchmarkGuardOverrun(b *testing.B) {
	arch, err := model.Preset("cifar-large")
	require.NoError(b, err)
	m, err := model.Random(arch, 1)
	require.NoError(b, err)
	n, err := net.Compile(m, net.Options{Batches: net.SmallBatches})
	require.NoError(b, err)
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, arch.Input.Size())
	for i := range x {
		x[i] = r.Float32()
	}
	for name, method := range map[string]verify.Method{"crown": verify.MethodCROWN, "alpha-crown": verify.MethodAlphaCROWN} {
		g := newGuard(b, n, GuardOptions{Threshold: net.MustEpsilon("8/255"), Method: method})
		b.Run(name, func(b *testing.B) {
			var v Verdict
			var most, sum time.Duration
			k := 0
			for b.Loop() {
				g.expected = [4]expectation{}
				g.o.Budget = 200*time.Millisecond + time.Duration(r.IntN(2000))*time.Millisecond
				require.NoError(b, g.Classify(context.Background(), x, &v))
				require.True(b, v.CutShort)
				over := v.Elapsed - g.o.Budget
				most, sum = max(most, over), sum+over
				k++
			}
			b.ReportMetric(float64(sum.Microseconds())/1e3/float64(k), "ms-over")
			b.ReportMetric(float64(most.Microseconds())/1e3, "ms-over-max")
		})
	}
}
