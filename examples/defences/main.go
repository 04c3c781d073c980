// Command defences shows why a defence must be attacked as it is. It puts preprocessing in
// front of a built-in network and prints how many test images each remains right about:
// as they are, and under attacks that account for the defence less or more.
//
//	go run ./examples/defences -n 500
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

const usual = "bits:depth=4 jpeg jpeg:quality=25 median gaussian tv:weight=0.3 resize-pad noise noise:sigma=0.3"

func main() {
	model := flag.String("model", "mnist-small-standard", "built-in model")
	n := flag.Int("n", 200, "number of test images")
	eps := flag.String("eps", "0.1", "radius of the Linf ball")
	method := flag.String("attack", "pgd:steps=40,seed=1", "attack")
	eot := flag.Int("eot", 10, "draws a step averages in the last column")
	defences := flag.String("defences", usual, "defences, separated by spaces")
	flag.Parse()
	log.SetFlags(0)
	s, err := newStudy(*model, *n, *eps, *method)
	if err != nil {
		log.Fatal(err)
	}
	defer s.pool.Close()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "defence\tclean\tnaive\texact\tbpda\tbpda, eot %d\n", *eot)
	bare, err := s.robust(s.net, nil, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(w, "none\t%s\t%s\t\t\t\n", s.clean, bare)
	for text := range strings.FieldsSeq(*defences) {
		row, err := s.row(text, *eot)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintln(w, row)
	}
	w.Flush()
	fmt.Printf("accuracy in %%, %s, %s ε = %s, %v, first %d test images of MNIST\n", *model, net.Linf, *eps, s.attack.Method, *n)
}

// study is what all rows share.
type study struct {
	net    *net.Network
	pool   *kernels.Pool
	images attack.Batch
	attack attack.Config
	clean  string
}

func newStudy(name string, n int, eps, method string) (*study, error) {
	m, err := zoo.Load(name)
	if err != nil {
		return nil, err
	}
	s := &study{pool: kernels.NewPool(0)}
	if s.net, err = net.Compile(m, net.Options{Backward: true}); err != nil {
		return nil, err
	}
	test, err := mnist.Test()
	if err != nil {
		return nil, err
	}
	if n < 1 || n > test.Len() {
		return nil, fmt.Errorf("-n: got %d, want 1 … %d", n, test.Len())
	}
	s.images = attack.Batch{X: test.X[:n*s.net.Input().Size()], Y: test.Y[:n]}
	if s.attack.Ball.Eps, err = net.ParseEpsilon(eps); err != nil {
		return nil, fmt.Errorf("-eps: %w", err)
	}
	if s.attack.Method, err = attack.Parse(method); err != nil {
		return nil, err
	}
	s.clean, err = s.accuracy(s.net)
	return s, err
}

// row attacks the network behind one defence.
func (s *study) row(text string, eot int) (string, error) {
	chain, err := defend.Parse(text)
	if err != nil {
		return "", err
	}
	bpda, err := defend.New(s.net, chain, defend.BPDA)
	if err != nil {
		return "", err
	}
	exact, err := defend.New(s.net, chain, defend.Exact)
	if err != nil {
		return "", err
	}
	clean, err := s.accuracy(bpda)
	if err != nil {
		return "", err
	}
	row := []string{chain.String(), clean}
	for _, a := range []struct {
		attacked attack.Target
		eot      int
	}{{s.net, 1}, {exact, 1}, {bpda, 1}, {bpda, eot}} {
		if a.eot > 1 && !bpda.Random() {
			row = append(row, "")
			continue
		}
		robust, err := s.robust(a.attacked, bpda, a.eot)
		if err != nil {
			return "", err
		}
		row = append(row, robust)
	}
	return strings.Join(row, "\t"), nil
}

// robust is the share of images that an attack leaves, as the network behind the defence
// (deployed; nil: none) classifies them.
func (s *study) robust(attacked, deployed attack.Target, eot int) (string, error) {
	c := s.attack
	c.EOT = eot
	a, err := attack.New(attacked, c, s.pool)
	if err != nil {
		return "", err
	}
	var r attack.Result
	if err := a.Run(context.Background(), s.images, &r); err != nil {
		return "", err
	}
	if deployed != nil {
		if err := attack.Judge(context.Background(), deployed, s.pool, s.images, &r); err != nil {
			return "", err
		}
	}
	_, _, left := r.Count()
	return percent(left, len(s.images.Y)), nil
}

func (s *study) accuracy(of attack.Target) (string, error) {
	c, n := of.Classes(), len(s.images.Y)
	z := make([]float32, n*c)
	if err := attack.Logits(context.Background(), of, s.pool, z, s.images); err != nil {
		return "", err
	}
	right := 0
	for i, y := range s.images.Y {
		if net.Argmax(z[i*c:(i+1)*c]) == y {
			right++
		}
	}
	return percent(right, n), nil
}

func percent(part, n int) string { return fmt.Sprintf("%.1f", 100*float64(part)/float64(n)) }
