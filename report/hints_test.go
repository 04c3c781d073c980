package report_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/epsball/epsball/report"
	"github.com/epsball/epsball/verify"
)

func TestRadiusHint(t *testing.T) {
	half, one := 0.5, 1.0
	low := 0.1
	hints := func(b ...report.Bracket) []string { return report.CertifyHints(verify.MethodIBP, 2, 10, 1, 0, b) }
	assert.Len(t, hints(report.Bracket{Certified: &low, Attacked: &one}, report.Bracket{Certified: &low, Attacked: nil}), 1)
	assert.Empty(t, hints(report.Bracket{Certified: &half, Attacked: &one}, report.Bracket{Certified: &low, Attacked: nil}), "half of what is not fooled is proved")
	assert.Empty(t, hints(report.Bracket{Certified: &low, Attacked: nil}), "nothing to compare with")
}
