package train

import "github.com/epsball/epsball/kernels"

// adamW is Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): each
// step first multiplies the weights by 1 − lr·WeightDecay.
var adamW = rule{
	name: "adamw", states: 2,
	prepare: func(u *update, c *Config, lr float64, t int) {
		u.adam = adamConstants(lr, t)
		u.shrink = float32(1 - float64(lr*c.WeightDecay))
	},
	step: func(u *update, isa *kernels.ISA, sc *kernels.Scratch, b *block) {
		if b.decays && u.shrink != 1 {
			scaleBy(b.w, u.shrink)
		}
		adamStep(u, isa, sc, b)
	},
}
