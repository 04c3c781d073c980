package kernels

import (
	"sync"

	"github.com/epsball/epsball/asm"
)

// gradSet has the kernels of weight gradients of an ISA: apart from it, so that programs that do
// not train do not carry them.
type gradSet struct {
	kernels [tileChannels + 1][gradWeights + 1]func(*asm.GradArgs) // by channels, weights
	weights [tileChannels + 1][]int                                // by channels: their tiles, descending to 1
}

// grads returns those of a set.
func (i *ISA) grads() *gradSet {
	if s := nativeGrads(i); s != nil {
		return s
	}
	genericGrads.once.Do(func() {
		s := &genericGrads.set
		s.weights = narrowWeights
		for r := range s.kernels {
			for k := range s.kernels[r] {
				s.kernels[r][k] = genericGrad(r, k)
			}
		}
	})
	return &genericGrads.set
}

var genericGrads struct {
	once sync.Once
	set  gradSet
}
