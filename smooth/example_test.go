package smooth_test

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/smooth"
	"github.com/epsball/epsball/zoo"
)

// One radius, decided of three images with as few samples as that takes.
func ExampleSmoother_Certify() {
	model, err := zoo.Load("mnist-small-pgd-0.1")
	if err != nil {
		panic(err)
	}
	network, err := net.Compile(model, net.Options{})
	if err != nil {
		panic(err)
	}
	test, err := mnist.Test()
	if err != nil {
		panic(err)
	}
	s, err := smooth.New(network, kernels.NewPool(1), smooth.Options{
		Sigma: net.MustEpsilon("0.25"), Radius: net.MustEpsilon("0.25"), Seed: 1,
	})
	if err != nil {
		panic(err)
	}
	results, err := s.Certify(context.Background(), smooth.Batch{X: test.X[:3*784]})
	if err != nil {
		panic(err)
	}
	for i, r := range results {
		fmt.Printf("class %d (label %d) inside radius %.2f, decided by %d samples\n", r.Class, test.Y[i], r.Radius, r.Drawn)
	}
	// Output:
	// class 7 (label 7) inside radius 0.25, decided by 196 samples
	// class 2 (label 2) inside radius 0.25, decided by 196 samples
	// class 1 (label 1) inside radius 0.25, decided by 196 samples
}
