// Command masking makes a network look robust without making it so: it multiplies the
// last layer by a factor. The largest logit stays the largest, so every image keeps its
// class and every adversarial image fools as before. But softmax saturates, the gradient
// of the cross-entropy becomes zero in float32, and an attack that climbs it stands still
// (Carlini & Wagner 2017, on defensive distillation). An attack on the margin does not
// mind.
//
//	go run ./examples/learn/masking -out masked.safetensors
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
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/zoo"
)

func main() {
	name := flag.String("model", "mnist-small-standard", "built-in model, or a file")
	file := flag.String("out", "", "file for the masked model (.safetensors)")
	factor := flag.Float64("factor", 1000, "by which the logits grow")
	n := flag.Int("n", 200, "number of test images")
	flag.Parse()
	log.SetFlags(0)
	if err := study(os.Stdout, *name, *file, float32(*factor), *n); err != nil {
		log.Fatal(err)
	}
}

func study(out io.Writer, name, path string, factor float32, n int) error {
	plain, err := zoo.Load(name)
	if err != nil {
		if plain, err = model.Load(name); err != nil {
			return err
		}
	}
	masked, err := scale(plain, factor)
	if err != nil {
		return err
	}
	if path != "" {
		if err := masked.Save(path); err != nil {
			return err
		}
	}
	test, err := mnist.Test()
	if err != nil {
		return err
	}
	if n < 1 || n > test.Len() {
		return fmt.Errorf("-n: got %d, want 1 … %d", n, test.Len())
	}
	images := test.Slice(0, n)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "attack\tplain\tmasked")
	for _, how := range []epsball.Method{
		nil,
		epsball.PGD{Seed: 1},
		epsball.PGD{Seed: 1, Loss: net.Margin},
		epsball.Square{Seed: 1, Queries: 500},
	} {
		line := "none"
		if how != nil {
			line = fmt.Sprint(how)
		}
		for _, file := range []*model.Model{plain, masked} {
			right, err := accuracy(file, epsball.Batch{X: images.X, Y: images.Y}, how)
			if err != nil {
				return err
			}
			line += fmt.Sprintf("\t%.1f%%", 100*float64(right)/float64(n))
		}
		fmt.Fprintln(w, line)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "accuracy at linf ε = 0.1, first %d test images of MNIST\n", n)
	return nil
}

// scale returns m with logits that are factor times as large.
func scale(m *model.Model, factor float32) (*model.Model, error) {
	c := m.Clone()
	last := len(c.Params) - 1
	if c.Arch.Layers[last].Kind != model.FC {
		return nil, fmt.Errorf("layer %d: got %s, want a model that ends in fc", last, c.Arch.Layers[last].Kind)
	}
	p := &c.Params[last]
	p.W, p.Stored = append([]float32{}, p.Rows()...), nil
	for i := range p.W {
		p.W[i] *= factor
	}
	for i := range p.B {
		p.B[i] *= factor
	}
	return c, nil
}

// accuracy counts the images classified correctly, and still so under the attack.
func accuracy(file *model.Model, x epsball.Batch, how epsball.Method) (int, error) {
	m, err := epsball.New(file)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	ctx := context.Background()
	if how != nil {
		r, err := m.Attack(ctx, x, epsball.Linf(0.1), how)
		if err != nil {
			return 0, err
		}
		return r.Tally().Robust, nil
	}
	pred, err := m.Classify(ctx, x)
	if err != nil {
		return 0, err
	}
	right := 0
	for i, y := range x.Y {
		if pred.Label[i] == y {
			right++
		}
	}
	return right, nil
}
