package audit

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/epsball/epsball/net"
)

func TestRadii(t *testing.T) {
	quantiles, curve := Radii([]int{-1, 0, 3, 100, 50, 50, 70, 20, 99, 10}, net.MustEpsilon("0.001"))
	assert.Equal(t, []Quantile{{0.1, 0}, {0.25, 0.003}, {0.5, 0.02}, {0.75, 0.07}, {0.9, 0.099}, {1, 0.1}}, quantiles)
	assert.Equal(t, []CurvePoint{{0.02, 0.6}, {0.04, 0.5}, {0.06, 0.3}, {0.08, 0.2}, {0.1, 0.1}}, curve)
	_, curve = Radii([]int{-1}, net.MustEpsilon("0.001"))
	assert.Empty(t, curve)
	quantiles, _ = Radii(nil, net.MustEpsilon("0.001"))
	assert.Empty(t, quantiles)
	for v, want := range map[int]int{0: 1, 1: 1, 4: 2, 5: 5, 19: 10, 20: 20, 999: 500} {
		assert.Equal(t, want, roundStep(v))
	}
}
