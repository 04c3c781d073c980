package train

import "github.com/epsball/epsball/kernels"

// sgd is gradient descent with momentum, as PyTorch writes it (Sutskever et al. 2013):
//
//	v = Momentum·v + g
//	w −= lr·v, with Nesterov lr·(g + Momentum·v)
//
// Weight decay is an L2 penalty.
var sgd = rule{
	name: "sgd", states: 1, coupled: true,
	prepare: func(u *update, c *Config, lr float64, _ int) {
		u.rate, u.momentum, u.nesterov = float32(lr), float32(c.Momentum), c.Nesterov
	},
	step: func(u *update, _ *kernels.ISA, _ *kernels.Scratch, b *block) {
		velocity, w := b.state[0][:len(b.g)], b.w[:len(b.g)]
		for i, g := range b.g {
			v := float32(u.momentum*velocity[i]) + g
			velocity[i] = v
			if u.nesterov {
				v = float32(u.momentum*v) + g
			}
			w[i] -= float32(u.rate * v)
		}
	},
}
