package main

import (
	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
)

// graphSearches runs the attacks without gradients, and one perturbation for all images.
func graphSearches(p *printer, g *graph) error {
	for _, c := range []struct {
		norm net.Norm
		eps  string
		how  attack.Method
	}{
		{net.Linf, "1/70", attack.Square{Queries: 40, Seed: 5}},
		{net.L2, "1/7", attack.Square{Queries: 40, Seed: 5}},
		{net.L1, "2/3", attack.Square{Queries: 40, Seed: 5}},
		{net.L0, "6", attack.SparseRS{Queries: 40, Seed: 5}},
		{net.Linf, "1/70", attack.Spatial{Rotations: 5, Translations: 3}},
		{net.Linf, "1/70", attack.Spatial{Random: 5, Seed: 5}},
		{net.Linf, "1/70", attack.Universal{Epochs: 3, Batch: 4, Seed: 5}},
		{net.L2, "1/7", attack.Universal{Epochs: 3, Batch: 4, Seed: 5}},
	} {
		if err := addAttack(p, g.n, g.x, g.y, net.Ball{Norm: c.norm, Eps: net.MustEpsilon(c.eps)}, c.how); err != nil {
			return err
		}
	}
	return nil
}
