// Command certify proves built-in networks robust: by each bound at several radii, then
// image by image up to the largest radius, and last on paper, as certificates that an
// independent checker proves anew. An attack runs beside the proofs; what it fools is
// never proved.
//
//	go run ./examples/learn/certify
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/dataset/mnist"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/verify/cert"
	"github.com/epsball/epsball/verify/check"
	"github.com/epsball/epsball/zoo"
)

func main() {
	models := flag.String("models", "mnist-small-standard mnist-small-pgd-0.1 mnist-small-ibp-0.1", "built-in models, separated by spaces")
	n := flag.Int("n", 10, "number of test images")
	radii := flag.String("eps", "0.02 0.05 0.1", "radii of the Linf ball")
	flag.Parse()
	log.SetFlags(0)
	for _, name := range strings.Fields(*models) {
		if err := study(os.Stdout, name, *n, strings.Fields(*radii)); err != nil {
			log.Fatal(err)
		}
	}
}

func study(out io.Writer, name string, n int, radii []string) error {
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
	fmt.Fprintf(out, "%s, first %d test images of MNIST\n", name, n)
	if err := table(out, m, x, radii); err != nil {
		return err
	}

	// How far each image is proved: steps of 1/100 up to 0.3.
	step, err := epsball.ParseBall("linf", "1/100")
	if err != nil {
		return err
	}
	r, err := m.Radius(context.Background(), x, step, 30, epsball.CROWNIBP)
	if err != nil {
		return err
	}
	steps := slices.Sorted(slices.Values(r.Steps))
	fmt.Fprintf(out, "proved by crown-ibp up to: least %v, median %v, most %v\n", radius(steps[0]), radius(steps[n/2]), radius(steps[n-1]))

	proved, valid, forged, err := certificates(file, m, x)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "certificates at ε = 0.05: %d, checked and valid %d; with ε made 0.5: %d valid\n\n", proved, valid, forged)
	return err
}

func radius(steps int) string {
	if steps < 0 {
		return "nothing" // not even the image as it is: it is misclassified
	}
	return fmt.Sprintf("%.2f", float64(steps)/100)
}

// table prints how many images are proved by each bound, and how many an attack leaves.
func table(out io.Writer, m *epsball.Model, x epsball.Batch, radii []string) error {
	ctx := context.Background()
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "ε\tibp\tcrown-ibp\tcrown\talpha-crown\tattacked")
	for _, eps := range radii {
		ball, err := epsball.ParseBall("linf", eps)
		if err != nil {
			return fmt.Errorf("-eps: %w", err)
		}
		adv, err := m.Attack(ctx, x, ball, epsball.Fast{Seed: 1})
		if err != nil {
			return err
		}
		fmt.Fprint(w, eps)
		for _, bound := range []epsball.Bound{epsball.IBP, epsball.CROWNIBP, epsball.CROWN, epsball.AlphaCROWN} {
			c, err := m.Certify(ctx, x, ball, bound)
			if err != nil {
				return err
			}
			proved := 0
			for i, ok := range c.Robust {
				if !ok {
					continue
				}
				if proved++; adv.Success[i] {
					return fmt.Errorf("image %d is proved robust by %v, and fooled", i, bound)
				}
			}
			fmt.Fprintf(w, "\t%d", proved)
		}
		fmt.Fprintf(w, "\t%d\n", adv.Tally().Robust)
	}
	return w.Flush()
}

// certificates writes a certificate for each image that intervals prove at ε = 0.05, as
// a line of text, and has it proved anew; and once more after the line was made to claim
// ten times the radius.
func certificates(file *model.Model, m *epsball.Model, x epsball.Batch) (proved, valid, forged int, err error) {
	ctx := context.Background()
	c, err := m.Certify(ctx, x, epsball.Linf(0.05), epsball.IBP)
	if err != nil {
		return 0, 0, 0, err
	}
	checker, err := check.New(file)
	if err != nil {
		return 0, 0, 0, err
	}
	size := len(x.X) / len(x.Y)
	for i, ok := range c.Robust {
		if !ok {
			continue
		}
		proved++
		image := x.X[i*size : (i+1)*size]
		claim := &check.Certificate{
			Model: m.Hash(), Level: check.Executed, Data: "builtin:mnist", Index: i, Input: check.InputHash(image),
			Norm: "linf", Eps: "0.05", Run: "example", Method: check.IBP, Certified: true,
			Label: x.Y[i], Margin: cert.Margin(float64(c.Margin[i])),
		}
		for _, eps := range []string{"0.05", "0.5"} {
			claim.Eps = eps
			line, err := cert.Append(nil, claim)
			if err != nil {
				return 0, 0, 0, err
			}
			read, err := check.Parse(bytes.TrimSuffix(line, []byte("\n")))
			if err != nil {
				return 0, 0, 0, err
			}
			v, err := checker.Check(ctx, read, image, x.Y[i])
			if err != nil {
				return 0, 0, 0, err
			}
			switch {
			case v.Valid && eps == "0.05":
				valid++
			case v.Valid:
				forged++
			}
		}
	}
	return proved, valid, forged, nil
}
