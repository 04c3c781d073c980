package defend_test

import (
	"context"
	"fmt"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

// A network behind JPEG compression, attacked through it.
func ExampleNew() {
	pool := kernels.NewPool(1)
	model, err := epsball.LoadBytes(zoo.MNISTSmallStandard(), "mnist-small-standard", epsball.Pool(pool))
	if err != nil {
		panic(err)
	}
	network, err := model.Target()
	if err != nil {
		panic(err)
	}
	defences, err := defend.Parse("jpeg:quality=75")
	if err != nil {
		panic(err)
	}
	target, err := defend.New(network, defences, defend.BPDA)
	if err != nil {
		panic(err)
	}
	ball := net.Ball{Norm: net.Linf, Eps: net.MustEpsilon("0.1")}
	attacker, err := attack.New(target, attack.Config{Ball: ball, Method: attack.PGD{Steps: 10}}, pool)
	if err != nil {
		panic(err)
	}
	test, err := mnist.Test()
	if err != nil {
		panic(err)
	}
	var found attack.Result
	err = attacker.Run(context.Background(), attack.Batch{X: test.X[:50*784], Y: test.Y[:50]}, &found)
	if err != nil {
		panic(err)
	}
	_, correct, robust := found.Count()
	fmt.Println(correct, "of 50 correct, more than half of them fooled:", robust < correct/2)
	// Output: 50 of 50 correct, more than half of them fooled: true
}
