package train

import (
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// Certified is an experiment.
func Certified(m *model.Model, d *dataset.Set, eps float64, pool *kernels.Pool) int {
	n, err := net.Compile(m, net.Options{Backward: true})
	if err != nil {
		panic(err)
	}
	c := DefaultConfig(IBP)
	c.BatchSize = 80
	s := newStepper(&c, n, &data{d.X, d.Y}, pool)
	res := 0
	idx := make([]int32, 80)
	for i := 0; i+80 <= d.Len(); i += 80 {
		for k := range idx {
			idx[k] = int32(i + k)
		}
		s.losses(0, point{1, eps, 0.5}, idx)
		for _, r := range s.robust {
			res += count(r)
		}
	}
	return res
}
