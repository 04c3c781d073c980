// Command fgsm attacks a built-in network with attacks written out: the fast gradient
// sign method, one step (Goodfellow et al. 2015, section 4), and projected gradient
// descent, many small ones (Madry et al. 2018, section 2.1). Beside them are those of
// the library, which take the same steps from the same points.
//
//	go run ./examples/learn/fgsm
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"text/tabwriter"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

func main() {
	name := flag.String("model", "mnist-small-standard", "built-in model")
	n := flag.Int("n", 200, "number of test images")
	eps := flag.Float64("eps", 0.1, "radius of the Linf ball")
	flag.Parse()
	log.SetFlags(0)
	if err := compare(os.Stdout, *name, *n, *eps); err != nil {
		log.Fatal(err)
	}
}

func compare(out io.Writer, name string, n int, eps float64) error {
	file, err := zoo.Load(name)
	if err != nil {
		return err
	}
	test, err := mnist.Test()
	if err != nil {
		return err
	}
	if n < 1 || n > test.Len() {
		return fmt.Errorf("-n: got %d, want 1 … %d", n, test.Len())
	}
	images := test.Slice(0, n)
	m, err := epsball.New(file)
	if err != nil {
		return err
	}
	defer m.Close()
	network, err := net.Compile(file, net.Options{Backward: true})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "attack\tfooled, written out\tfooled, library")
	for _, a := range []struct {
		name  string
		steps int
		size  float64
		how   epsball.Method
	}{
		{"fgsm", 1, eps, epsball.FGSM{}},
		{"pgd, 10 steps of ε/4", 10, eps / 4, epsball.PGD{Steps: 10, FixedStart: true}},
		{"pgd, 40 steps of ε/4", 40, eps / 4, epsball.PGD{Steps: 40, FixedStart: true}},
	} {
		own := 0
		for i := range n {
			if climb(network, images, i, a.steps, float32(a.size), float32(eps)) {
				own++
			}
		}
		r, err := m.Attack(context.Background(), epsball.Batch{X: images.X, Y: images.Y}, epsball.Linf(eps), a.how)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%d\t%d\n", a.name, own, r.Tally().Fooled)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s, linf ε = %v, first %d test images of MNIST\n", name, eps, n)
	return nil
}

// climb takes steps of a size along the sign of the gradient of the cross-entropy from
// image i, and reports whether it is classified correctly and a point on the way is not.
func climb(network *net.Network, images *dataset.Set, i, steps int, size, eps float32) bool {
	pass := network.NewWorkspace(1, true) // one image in a group of lanes
	layout, in := pass.Layout(), network.Input()
	x, y := images.Image(i), images.Y[i]
	adv, gradient := append([]float32{}, x...), make([]float32, len(x))
	packed := make([]float32, layout.Len(1, in.Size()))
	logits, d := make([]float32, network.Classes()), make([]float32, network.Classes())
	for k := 0; ; k++ {
		layout.Pack(packed, adv, in, 0)
		layout.Gather(logits, layout.Slot(pass.Forward(packed, 1), len(logits), 0), 0)
		if net.Argmax(logits) != y {
			return k > 0
		}
		if k == steps {
			return false
		}
		net.CrossEntropy.Gradient(d, logits, y, net.Untargeted)
		layout.Scatter(pass.LogitGradient(), d, 0)
		layout.Unpack(gradient, pass.Backward(1), in, 0)
		for j, g := range gradient {
			switch {
			case g > 0:
				adv[j] += size
			case g < 0:
				adv[j] -= size
			}
			adv[j] = min(max(adv[j], x[j]-eps, 0), x[j]+eps, 1) // back into the ball and the pixel range
		}
	}
}
