package audit

import (
	"slices"

	"github.com/epsball/epsball/net"
)

// Quantile says that a fraction Q of the images have at most this radius.
type Quantile struct {
	Q      float64 `json:"q"`
	Radius float64 `json:"radius"`
}

// CurvePoint says which fraction of the images has at least this radius.
type CurvePoint struct {
	Radius   float64 `json:"radius"`
	Fraction float64 `json:"fraction"`
}

// Radii sums up certified radii, one an image in units of the resolution (−1: not
// even 0 is proved, which counts as 0): the quantiles 10, 25, 50, 75, 90 and 100 %,
// and the fraction certified at up to ten round radii. Comparing integers, it never
// rounds. Without images both are empty.
func Radii(steps []int, resolution net.Epsilon) ([]Quantile, []CurvePoint) {
	sorted := slices.Sorted(slices.Values(steps))
	n := len(sorted)
	radius := func(k int) float64 { return resolution.Times(max(0, k)).Float64() }
	quantiles, curve := []Quantile{}, []CurvePoint{}
	if n == 0 {
		return quantiles, curve
	}
	for _, percent := range []int{10, 25, 50, 75, 90, 100} {
		i := max(0, (percent*n+99)/100-1)
		quantiles = append(quantiles, Quantile{float64(percent) / 100, radius(sorted[i])})
	}
	top := sorted[n-1]
	by := roundStep(top / 5)
	for k := by; k <= top; k += by {
		i, _ := slices.BinarySearch(sorted, k)
		curve = append(curve, CurvePoint{radius(k), float64(n-i) / float64(n)})
	}
	return quantiles, curve
}

// roundStep returns the largest of 1, 2, 5, 10, 20, … up to v, at least 1.
func roundStep(v int) int {
	unit := 1
	for unit*10 <= v {
		unit *= 10
	}
	for _, k := range []int{5, 2} {
		if k*unit <= v {
			return k * unit
		}
	}
	return unit
}
