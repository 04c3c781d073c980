package main

import (
	"math/rand/v2"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/defend"
	"github.com/epsball/epsball/model"
	"github.com/epsball/epsball/net"
)

// defences attacks networks behind defences, in grey and in colour.
func defences(p *printer) error {
	for _, channels := range []int{1, 3} {
		m, err := model.Random(&model.Architecture{Name: "tiny", Input: model.Shape{C: channels, H: 10, W: 9}, Layers: []model.Layer{{Kind: model.FC, Out: 4}}}, 6)
		if err != nil {
			return err
		}
		n, err := net.Compile(m, net.Options{Backward: true})
		if err != nil {
			return err
		}
		x, y := pixels(rand.New(rand.NewPCG(7, uint64(channels))), 5*m.Arch.Input.Size()), make([]int, 5)
		for _, text := range []string{"bits", "median", "gaussian:sigma=0.8", "jpeg", "tv", "resize-pad", "noise", "noise+jpeg+tv:steps=3"} {
			c, err := defend.Parse(text)
			if err != nil {
				return err
			}
			t, err := defend.New(n, c, defend.BPDA)
			if err != nil {
				return err
			}
			z := make([]float32, 5*4)
			if err := attack.Logits(ctx, t, pool, z, attack.Batch{X: x}); err != nil {
				return err
			}
			p.floats(z)
			for i := range y {
				y[i] = net.Argmax(z[4*i : 4*i+4])
			}
			if err := addAttack(p, t, x, y, net.Ball{Eps: net.MustEpsilon("0.02")}, usualPGD(3)); err != nil {
				return err
			}
		}
	}
	return nil
}
