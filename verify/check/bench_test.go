package check_test

import (
	"testing"

	"github.com/epsball/epsball/verify/check"
)

// BenchmarkCheck: images a second on one thread.
func BenchmarkCheck(b *testing.B) {
	for _, c := range []struct{ model, eps, method string }{
		{"mnist-small-standard", "0.02", check.CROWN},
		{"mnist-small-pgd-0.1", "0.02", check.CROWN},
		{"mnist-small-ibp-0.1", "0.1", check.CROWN},
		{"mnist-small-standard", "0.02", check.CROWNIBP},
		{"mnist-small-ibp-0.1", "0.1", check.IBP},
	} {
		b.Run(c.method+"/"+c.model+"/"+c.eps, func(b *testing.B) {
			m, set := zooModel(b, c.model, 16)
			k := newChecker(b, m)
			var certs []*check.Certificate
			for i := range set.Len() {
				certs = append(certs, claim(m, set.Image(i), set.Y[i], "linf", c.eps, c.method))
			}
			valid, i := 0, 0
			for b.Loop() {
				if verdict(b, k, certs[i%16], set.Image(i%16), set.Y[i%16]).Valid {
					valid++
				}
				i++
			}
			b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "images/s")
			b.ReportMetric(float64(valid)/float64(i), "valid")
		})
	}
}
