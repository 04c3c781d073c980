// Command training trains the same small network on MNIST by several methods and sets
// what each gives up beside what it gains: the accuracy on clean images, under attack,
// and proved.
//
//	go run ./examples/learn/training
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/train"
)

func main() {
	data := flag.String("data", "testdata/mnist#train", "training data, 1×28×28")
	n := flag.Int("n", 6000, "number of training images")
	epochs := flag.Int("epochs", 6, "times that training goes through them")
	tested := flag.Int("test-n", 500, "number of test images")
	methods := flag.String("methods", "standard pgd trades ibp", "training methods, separated by spaces")
	flag.Parse()
	log.SetFlags(0)
	if err := compare(os.Stdout, *data, *n, *epochs, *tested, strings.Fields(*methods)); err != nil {
		log.Fatal(err)
	}
}

const eps = "0.1"

func compare(out io.Writer, data string, n, epochs, tested int, methods []string) error {
	training, err := dataset.LoadWith(data, dataset.Options{N: n})
	if err != nil {
		return err
	}
	test, err := mnist.Test()
	if err != nil {
		return err
	}
	if tested < 1 || tested > test.Len() {
		return fmt.Errorf("-test-n: got %d, want 1 … %d", tested, test.Len())
	}
	images := test.Slice(0, tested)
	x := epsball.Batch{X: images.X, Y: images.Y}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "trained by\tloss\tclean\tattacked\tproved")
	for _, name := range methods {
		method, err := train.ParseMethod(name)
		if err != nil {
			return err
		}
		file, loss, err := fit(training, method, epochs)
		if err != nil {
			return err
		}
		clean, attacked, proved, err := measure(file, x)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%.3f\t%.1f%%\t%.1f%%\t%.1f%%\n", name, loss, clean, attacked, proved)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "linf ε = %s, %d training images, %d epochs; first %d test images of MNIST\n", eps, n, epochs, tested)
	return nil
}

// fit trains a network of two convolutions from the same first weights, and returns it
// with the loss of the last epoch.
func fit(training *dataset.Set, method train.Method, epochs int) (*model.Model, float64, error) {
	conv := func(out int) model.Layer {
		return model.Layer{Kind: model.Conv, Out: out, Kernel: [2]int{4, 4}, Stride: [2]int{2, 2}, Padding: [2]int{1, 1}}
	}
	relu := model.Layer{Kind: model.ReLU}
	start, err := model.Random(&model.Architecture{
		Name: "tiny", Input: model.Shape{C: training.C, H: training.H, W: training.W},
		Layers: []model.Layer{conv(8), relu, conv(16), relu, {Kind: model.FC, Out: 64}, relu, {Kind: model.FC, Out: 10}},
	}, 1)
	if err != nil {
		return nil, 0, err
	}
	c := train.DefaultConfig(method)
	c.Epochs, c.BatchSize = epochs, 50
	if method.Radius() {
		// The radius grows to ε in the first half; there it stays.
		c.TrainEps, c.WarmupEpochs, c.RampEpochs = net.MustEpsilon(eps), 0, float64(epochs)/2
	}
	t, err := train.New(start, training, c)
	if err != nil {
		return nil, 0, err
	}
	m, history, err := t.Run(context.Background())
	if err != nil {
		return nil, 0, err
	}
	return m, history[len(history)-1].Loss, nil
}

// measure returns percentages of the images: classified correctly, still so under attack,
// and proved to be so.
func measure(file *model.Model, x epsball.Batch) (clean, attacked, proved float64, err error) {
	m, err := epsball.New(file)
	if err != nil {
		return 0, 0, 0, err
	}
	defer m.Close()
	ctx := context.Background()
	ball, err := epsball.ParseBall("linf", eps)
	if err != nil {
		return 0, 0, 0, err
	}
	adv, err := m.Attack(ctx, x, ball, epsball.Fast{Seed: 1})
	if err != nil {
		return 0, 0, 0, err
	}
	cert, err := m.Certify(ctx, x, ball, epsball.CROWNIBP)
	if err != nil {
		return 0, 0, 0, err
	}
	one := 100 / float64(len(x.Y))
	for i := range x.Y {
		if adv.Clean[i] {
			clean += one
		}
		if adv.Clean[i] && !adv.Success[i] {
			attacked += one
		}
		if cert.Robust[i] {
			proved += one
		}
	}
	return clean, attacked, proved, nil
}
