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
	fmt.Println("| network | packed for | Classify MB | and Certify by IBP | and Attack |\n|---|---|---|---|---|")
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
		stored, err := net.Store(func(int) model.Storage { return model.Storage{Type: model.BF16, Tiles: true} })
		if err != nil {
			return err
		}
		file, err := stored.Encode()
		if err != nil {
			return err
		}
		few := []epsball.Option{epsball.Threads(1), epsball.FewImages()}
		for _, c := range []struct {
			packed string
			load   func() (*epsball.Model, error)
		}{
			{"all batches", func() (*epsball.Model, error) { return epsball.New(net, few[0]) }},
			{"few images", func() (*epsball.Model, error) { return epsball.New(net, few...) }},
			{"few images, bf16 tiles in place", func() (*epsball.Model, error) { return epsball.LoadBytes(file, name, few...) }},
		} {
			m, err := c.load()
			if err != nil {
				return err
			}
			x := epsball.Batch{X: make([]float32, a.Input.Size())}
			fmt.Printf("| %s | %s | %.1f |", name, c.packed, megabytes(m.Bytes()))
			if _, err := m.Certify(ctx, x.With([]int{0}), epsball.Linf(0), epsball.IBP); err != nil {
				return err
			}
			fmt.Printf(" %.1f |", megabytes(m.Bytes()))
			if _, err := m.Attack(ctx, x.With([]int{0}), epsball.Linf(0), epsball.FGSM{}); err != nil {
				return err
			}
			fmt.Printf(" %.1f |\n", megabytes(m.Bytes()))
			m.Close()
		}
	}
	return nil
}
