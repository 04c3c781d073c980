package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// TRADES is CE(f(x), y) + β·KL(f(x) ‖ f(x′)) (Zhang et al. 2019, eq. 5, β = 1/λ).
// PGD ascends the divergence to x′ from x with a little noise; x′ then counts as
// constant, while the gradient flows through f(x) and f(x′) (algorithm 1).
const TRADES Method = "trades"

// tradesNoise is the standard deviation of the noise: at x itself the divergence
// has no gradient.
const tradesNoise = 0.001

var trades = objective{
	name:  TRADES,
	about: "cross-entropy, and divergence under attack (Zhang et al. 2019)",
	defaults: func(c *Config) {
		c.Epochs, c.TrainEps = 12, net.MustEpsilon("0.12")
		c.PGDSteps, c.PGDStepSize, c.Beta = 10, 0.25, 6
	},
	settings: []*Setting{&pgdSteps, &pgdStepSize, &beta, &norm, &overfitting, &awp, &awpWarmup, &labelSmoothing},
	needs: needs{
		clean: gradient, points: gradient,
		attack: &inner{start: startNear, ascend: ascendDivergence},
	},
	loss: func(c *Config, e *example) {
		b := float32(c.Beta)
		ce := crossEntropy(c, e.dClean, e.clean, e.y)
		kl := divergence(e.spare, e.dPoints, e.clean, e.points)
		e.loss = ce + float32(b*kl)
		for j, d := range e.spare {
			e.dClean[j] += float32(b * d)
		}
		scaleBy(e.dClean, e.scale)
		scaleBy(e.dPoints, e.scale*b)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, net.Argmax(e.points) == e.y
	},
}

// startNear draws from x plus noise, kept in the box.
func startNear(_ *Config, _ point, s *kernels.Stream, x, lo, hi float32) float32 {
	return min(max(x+float32(tradesNoise*s.Norm()), lo), hi)
}

func ascendDivergence(dz, z, clean []float32, _ int) { divergence(nil, dz, clean, z) }
