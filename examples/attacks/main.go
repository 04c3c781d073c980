// Command attacks compares attacks on a built-in network: the two cascades, with what each
// of their stages found and cost, and an attack that looks for the smallest distance.
//
//	go run ./examples/attacks -n 200
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
	"time"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/zoo"
)

func main() {
	model := flag.String("model", "mnist-small-standard", "built-in model")
	n := flag.Int("n", 100, "number of test images")
	eps := flag.String("eps", "0.1", "radius of the Linf ball")
	attacks := flag.String("attacks", "pgd fast auto", "attacks in the ball, separated by spaces")
	flag.Parse()
	log.SetFlags(0)
	if err := compare(os.Stdout, *model, *n, *eps, strings.Fields(*attacks)); err != nil {
		log.Fatal(err)
	}
}

// compare prints a table of attacks in the Linf ball, then how far DDN has to go in L2.
func compare(out io.Writer, name string, n int, eps string, attacks []string) error {
	file, err := zoo.Load(name)
	if err != nil {
		return err
	}
	m, err := epsball.New(file)
	if err != nil {
		return err
	}
	defer m.Close()
	test, err := mnist.Test()
	if err != nil {
		return err
	}
	if n < 1 || n > test.Len() {
		return fmt.Errorf("-n: got %d, want 1 … %d", n, test.Len())
	}
	images := test.Slice(0, n)
	x := epsball.Batch{X: images.X, Y: images.Y}
	ball, err := epsball.ParseBall("linf", eps)
	if err != nil {
		return fmt.Errorf("-eps: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "attack\timages\tfooled\tproved\tsteps\tseconds")
	for _, text := range attacks {
		how, err := epsball.ParseMethod(text)
		if err != nil {
			return err
		}
		start := time.Now()
		r, err := m.Attack(context.Background(), x, ball, how)
		if err != nil {
			return err
		}
		t, proved := r.Tally(), 0
		for _, p := range r.Proved {
			if p {
				proved++
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.2f\n", how, n, t.Fooled, proved, r.ImageSteps, time.Since(start).Seconds())
		for _, s := range r.Stages {
			fmt.Fprintf(w, "  %s\t%d\t%d\t%d\t%d\t%.2f\n", s.Method, s.Images, s.Fooled, s.Proved, s.Steps, s.Seconds)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	all, err := m.LargestBall("l2")
	if err != nil {
		return err
	}
	r, err := m.Attack(context.Background(), x, all, epsball.DDN{})
	if err != nil {
		return err
	}
	sum, fooled := 0.0, r.Tally().Fooled
	for i, ok := range r.Success {
		if ok {
			sum += r.L2[i]
		}
	}
	fmt.Fprintf(out, "ddn: %d of %d fooled, at a mean l2 distance of %.3f\n", fooled, n, sum/float64(max(1, fooled)))
	fmt.Fprintf(out, "%s, linf ε = %s, first %d test images of MNIST\n", name, eps, n)
	return nil
}
