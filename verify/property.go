package verify

import (
	"math"

	"github.com/epsball/epsball/net"
)

// Property is what to prove of the outputs of a network.
//
// Over a region it is proved if in every clause one row is proved to be positive on all
// of the region. That is enough, not necessary: where one row holds on a part of the
// region and another one on the rest, the clause is true but not proved until the
// region is divided.
type Property = net.Property

// LabelProperty says that output y is larger than each of the others.
func LabelProperty(outputs, y int) *Property { return net.LabelProperty(outputs, y) }

// otherLabel is the k-th label of those that are not y.
func otherLabel(y, k int) int {
	if k >= y {
		k++
	}
	return k
}

func smallest(list []float32) float32 {
	m := float32(math.Inf(1))
	for _, v := range list {
		m = min(m, v)
	}
	return m
}
