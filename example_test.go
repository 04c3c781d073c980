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
	x := epsball.Batch{X: images.X}

	ctx := context.Background()
	pred, err := m.Classify(ctx, x)
	if err != nil {
		log.Fatal(err)
	}
	ball := epsball.Linf(0.1)
	adv, err := m.Attack(ctx, x.With(images.Y), ball, epsball.PGD{Steps: 40, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	cert, err := m.Certify(ctx, x.With(images.Y), ball, epsball.IBP)
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

// A model inside of the program: what it sees, and how far that is proved.
func Example_embed() {
	ctx, file := context.Background(), zoo.MNISTSmallIBP()
	test, err := mnist.Test()
	if err != nil {
		log.Fatal(err)
	}
	pixels := test.Slice(0, 1).X
	m, err := epsball.LoadBytes(file, "model.safetensors", epsball.Threads(1), epsball.FewImages())
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	x := epsball.Batch{X: pixels} // float32 in [0, 1], channels first
	pred, err := m.Classify(ctx, x)
	if err != nil {
		log.Fatal(err)
	}
	r, err := m.Radius(ctx, x.With(pred.Label), epsball.Linf(0.001), 0, epsball.IBP)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("class", pred.Label[0], "even if all pixels change at once, each by up to", r.Eps[0])
	// Output: class 7 even if all pixels change at once, each by up to 0.165
}

// The largest ε, as a multiple of 1/255, at which the predictions are proved.
func ExampleModel_Radius() {
	m, err := epsball.LoadBytes(zoo.MNISTSmallIBP(), "mnist-small-ibp-0.1")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	test, err := mnist.Test()
	if err != nil {
		log.Fatal(err)
	}
	images := test.Slice(0, 3)
	step, err := epsball.ParseBall("linf", "1/255")
	if err != nil {
		log.Fatal(err)
	}
	x := epsball.Batch{X: images.X}
	r, err := m.Radius(context.Background(), x.With(images.Y), step, 0, epsball.IBP)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Steps, r.Eps)
	// Output: [42 41 38] [14/85 41/255 38/255]
}

// The strongest attack at little cost, on pictures of 8 bits, and whether it is any good.
func ExampleModel_Diagnose() {
	file, err := zoo.Load("mnist-small-standard")
	if err != nil {
		log.Fatal(err)
	}
	m, err := epsball.New(file)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	test, err := mnist.Test()
	if err != nil {
		log.Fatal(err)
	}
	images, ctx := test.Slice(0, 50), context.Background()
	x := epsball.Batch{X: images.X}.With(images.Y)
	ball, how, bits := epsball.Linf(0.1), epsball.Fast{Seed: 1}, epsball.Lattice(8)
	adv, err := m.Attack(ctx, x, ball, how, bits)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range adv.Stages {
		fmt.Printf("%s: fooled %d, proved %d of %d\n", s.Method, s.Fooled, s.Proved, s.Images)
	}
	found, err := m.Diagnose(ctx, x, ball, how, adv, epsball.QuickChecks, bits)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range found {
		if f.Verdict == epsball.CheckWarn || f.Verdict == epsball.CheckFail {
			fmt.Println(f.Name, f.Verdict, f.Detail)
		}
	}
	// Output:
	// pgd:steps=10,random-start=false,loss=margin: fooled 35, proved 0 of 50
	// proofs: fooled 0, proved 0 of 15
	// apgd:steps=50,seed=1: fooled 4, proved 0 of 15
	// apgd:steps=20,targets=5,loss=dlr,seed=1: fooled 1, proved 0 of 11
	// apgd:steps=100,targets=5,loss=dlr,seed=1: fooled 0, proved 0 of 2
	// square:queries=5000,seed=1: fooled 0, proved 0 of 0
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
	x := epsball.Batch{X: make([]float32, 784)}
	x.X[3] = float32(math.NaN())
	_, err = model.Certify(context.Background(), x.With([]int{0}), epsball.Linf(-1), epsball.IBP)
	fmt.Println(err)
	_, err = model.Classify(context.Background(), x)
	fmt.Println(err)
	// Output:
	// epsilon "-1": want a value ≥ 0
	// images: pixel 3 of image 0 is NaN, want a value in [0, 1]
}
