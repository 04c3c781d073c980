package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Gaussian is the cross-entropy on images with normal noise of standard deviation Sigma in
// every pixel value, drawn anew at each step (Cohen et al. 2019, section 4): it trains what
// package smooth smooths. Pixels may leave [0, 1], as they do there.
const Gaussian Method = "gaussian"

var gaussian = objective{
	name:     Gaussian,
	about:    "cross-entropy on images with normal noise, for randomised smoothing (Cohen et al. 2019)",
	defaults: func(c *Config) { c.Sigma = 0.25 },
	settings: []*Setting{&sigma, &labelSmoothing},
	needs: needs{
		clean: logits, points: gradient,
		attack: &inner{start: startGaussian, steps: noSteps, unclipped: true, probe: true},
	},
	loss: func(c *Config, e *example) {
		e.loss = crossEntropy(c, e.dPoints, e.points, e.y)
		scaleBy(e.dPoints, e.scale)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, false
	},
}

var sigma = Setting{
	Field: "sigma", Flag: "sigma", Usage: "standard deviation of the noise in pixel units", max: 4, above: true,
	Of: func(c *Config) any { return &c.Sigma },
}

func startGaussian(c *Config, _ point, s *kernels.Stream, x, _, _ float32) float32 {
	return x + normalNoise(c, s)
}

// normalNoise draws a number of standard deviation Sigma.
func normalNoise(c *Config, s *kernels.Stream) float32 { return float32(float32(c.Sigma) * s.Norm()) }
