package train

import "github.com/epsball/epsball/net"

// Free is cross-entropy on x + δ, each batch several times in a row; one backward pass
// gives the weights' gradient and that of δ, which takes a step and is kept, from batch to
// batch too (Shafahi et al. 2019, algorithm 1).
const Free Method = "free"

var free = objective{
	name:  Free,
	about: "cross-entropy on points that move as each batch is replayed (Shafahi et al. 2019)",
	defaults: func(c *Config) {
		c.Epochs, c.TrainEps = 12, net.MustEpsilon("0.12")
		c.PGDStepSize, c.Replays = 1, 4
	},
	settings: []*Setting{&replays, &pgdStepSize, &norm, &overfitting, &labelSmoothing},
	needs: needs{
		clean: logits, points: gradient,
		attack: &inner{carried: true, ascend: ascendCrossEntropy, steps: noSteps, length: stepOfRadius},
	},
	loss: pgd.loss,
}

var replays = Setting{
	Field: "replays", Flag: "replays", Usage: "steps in a row on each batch; --epochs counts them all", min: 1, max: 1000,
	Of: func(c *Config) any { return &c.Replays },
}

func noSteps(*Config) int { return 0 }
