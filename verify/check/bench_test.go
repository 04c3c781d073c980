package check_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/epsball/epsball/verify/check"
)

// BenchmarkCheck: certificates a second on one thread, of test images in turn.
func BenchmarkCheck(b *testing.B) {
	for _, c := range []struct{ model, eps, method string }{
		{"mnist-small-standard", "0.02", check.CROWN},
		{"mnist-small-pgd-0.1", "0.02", check.CROWN},
		{"mnist-small-ibp-0.1", "0.1", check.CROWN},
		{"mnist-small-pgd-0.1", "0.02", check.CROWNIBP},
		{"mnist-small-ibp-0.1", "0.1", check.IBP},
	} {
		b.Run(c.method+"/"+c.model+"/"+c.eps, func(b *testing.B) {
			m, set := zooModel(b, c.model, 24)
			k := newChecker(b, m)
			var certs []*check.Certificate
			var images []int
			for i := range set.Len() {
				one := claim(m, set.Image(i), set.Y[i], "linf", c.eps, c.method)
				if verdict(b, k, one, set.Image(i), set.Y[i]).Valid {
					certs, images = append(certs, one), append(images, i)
				}
			}
			n := 0
			for b.Loop() {
				i := images[n%len(images)]
				require.True(b, verdict(b, k, certs[n%len(images)], set.Image(i), set.Y[i]).Valid)
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "certificates/s")
		})
	}
}
