package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// FGSM is cross-entropy on points that one step of the fast gradient sign method finds
// from a random point of the ball (Wong, Rice & Kolter 2020). The step is longer than the
// radius; the point is cut to the ball.
const FGSM Method = "fgsm"

var fgsm = objective{
	name:  FGSM,
	about: "cross-entropy on points of one step from a random start (Wong, Rice & Kolter 2020)",
	defaults: func(c *Config) {
		c.Epochs, c.TrainEps = 10, net.MustEpsilon("0.12")
		c.LR, c.LRFinal, c.Schedule = 5e-3, 0, "one-cycle" // as the authors on MNIST
		c.PGDStepSize, c.Noise = 1.25, 1
	},
	settings: []*Setting{&pgdStepSize, &noiseRadius, &norm, &overfitting, &awp, &awpWarmup, &labelSmoothing},
	needs: needs{
		clean: logits, points: gradient,
		attack: &inner{start: startNoise, noise: noiseOf, ascend: ascendCrossEntropy, crossEntropy: true, steps: oneStep, length: stepOfRadius},
	},
	loss: pgd.loss,
}

// noiseRadius is that of the start: 0 for none.
var noiseRadius = Setting{
	Field: "noise", Flag: "noise", Usage: "radius of the random start as a multiple of the radius", max: 10,
	Of: func(c *Config) any { return &c.Noise },
}

func noiseOf(c *Config) float64 { return c.Noise }

// startNoise draws from x ± the noise, and cuts that to the box: on black and white pixels
// half of the starts do not move.
func startNoise(c *Config, at point, s *kernels.Stream, x, lo, hi float32) float32 {
	r := float32(float64(c.Noise * at.eps))
	return min(max(x+float32(r*(2*s.Float32()-1)), lo), hi)
}

func oneStep(*Config) int { return 1 }

// stepOfRadius is a part of the radius as the schedule has it.
func stepOfRadius(c *Config, at point) float64 { return c.PGDStepSize * at.eps }
