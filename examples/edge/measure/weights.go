package main

import (
	"context"
	"fmt"

	"github.com/epsball/epsball"
	"github.com/epsball/epsball/model"
)

// weights prints the memory of the reference networks' weights by what is asked of
// them: Model.Bytes, which is the same on every machine.
func weights() error {
	fmt.Println("| network | packed for | parameters MB | Classify | and Certify by IBP | and Attack |\n|---|---|---|---|---|---|")
	ctx, megabytes := context.Background(), func(n int) float64 { return float64(n) / 1e6 }
	for _, name := range []string{"mnist-small", "mnist-medium", "cifar-large"} {
		a, err := model.Preset(name)
		if err != nil {
			return err
		}
		net, err := model.Random(a, 1)
		if err != nil {
			return err
		}
		for _, few := range []bool{true, false} {
			opts, packed := []epsball.Option{epsball.Threads(1)}, "all batches"
			if few {
				opts, packed = append(opts, epsball.FewImages()), "few images"
			}
			m, err := epsball.New(net, opts...)
			if err != nil {
				return err
			}
			x := epsball.Batch{Data: make([]float32, a.Input.Size()), N: 1}
			fmt.Printf("| %s | %s | %.1f | %.1f |", name, packed, megabytes(4*int(a.Parameters())), megabytes(m.Bytes()))
			if _, err := epsball.Certify(ctx, m, x, []int{0}, epsball.Linf(0), epsball.IBP); err != nil {
				return err
			}
			fmt.Printf(" %.1f |", megabytes(m.Bytes()))
			if _, err := epsball.Attack(ctx, m, x, []int{0}, epsball.Linf(0), epsball.FGSM{}); err != nil {
				return err
			}
			fmt.Printf(" %.1f |\n", megabytes(m.Bytes()))
			m.Close()
		}
	}
	return nil
}
