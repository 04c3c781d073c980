package epsball_test

import (
	"context"
	"fmt"
	"log"
	"math"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/zoo"
)

// The whole façade: classify, attack, certify.
func Example() {
	net, err := zoo.Load("mnist-small-ibp-0.1") // or epsball.Load("model.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	m, err := epsball.New(net)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	test, err := mnist.Test()
	if err != nil {
		log.Fatal(err)
	}
	images := test.Slice(0, 5)
	x := epsball.Batch{Data: images.X, N: images.Len()}

	ctx := context.Background()
	pred, err := m.Classify(ctx, x)
	if err != nil {
		log.Fatal(err)
	}
	ball := epsball.Linf(0.1)
	adv, err := epsball.Attack(ctx, m, x, images.Y, ball, epsball.PGD{Steps: 40, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	cert, err := epsball.Certify(ctx, m, x, images.Y, ball, epsball.IBP)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("labels   ", images.Y)
	fmt.Println("predicted", pred.Label)
	fmt.Println("fooled   ", adv.Success)
	fmt.Println("proved   ", cert.Robust)
	// Output:
	// labels    [7 2 1 0 4]
	// predicted [7 2 1 0 4]
	// fooled    [false false false false false]
	// proved    [true true true true true]
}

// Bad input is an error that names what is wrong, never a wrong number.
func ExampleLinf() {
	m, err := zoo.Load("mnist-small-standard")
	if err != nil {
		log.Fatal(err)
	}
	model, err := epsball.New(m, epsball.Threads(1))
	if err != nil {
		log.Fatal(err)
	}
	x := epsball.Batch{Data: make([]float32, 784), N: 1}
	x.Data[3] = float32(math.NaN())
	_, err = epsball.Certify(context.Background(), model, x, []int{0}, epsball.Linf(-1), epsball.IBP)
	fmt.Println(err)
	_, err = model.Classify(context.Background(), x)
	fmt.Println(err)
	// Output:
	// epsilon "-1": want a value ≥ 0
	// images: pixel 3 of image 0 is NaN, want a value in [0, 1]
}
