package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// SmoothAdv is adversarial training of the smoothed classifier (Salman et al. 2019, SmoothAdv
// with PGD). Draws copies of an image get normal noise each; projected steps in an L2 ball
// ascend −log of the mean over them of the label's probability (eq. 6), the noise staying the
// same; then the cross-entropy of all copies of the point found is trained on (algorithm 1).
// Noise may lead out of the pixel range, points may not.
const SmoothAdv Method = "smoothadv"

var smoothAdv = objective{
	name:  SmoothAdv,
	about: "cross-entropy on points against the smoothed classifier, with noise (Salman et al. 2019)",
	defaults: func(c *Config) {
		c.Epochs, c.RampEpochs, c.TrainEps, c.Norm = 12, 3, net.MustEpsilon("0.5"), net.L2.String()
		c.Sigma, c.Draws, c.PGDSteps, c.PGDStepSize = 0.25, 2, 4, 0.5
	},
	settings: []*Setting{&sigma, &draws, &pgdSteps, &pgdStepSize, &norm, &labelSmoothing},
	needs: needs{
		clean: logits, points: gradient,
		attack: &inner{
			start:  startThere,
			copies: func(c *Config) int { return c.Draws }, blur: normalNoise,
			ascend: ascendMeanProbability, length: stepOfRadius,
		},
	},
	loss: func(c *Config, e *example) {
		classes := len(e.spare)
		clear(e.spare) // the sum of all copies' gradients, then of their probabilities
		e.loss = 0
		for at := 0; at < len(e.points); at += classes {
			d := e.dPoints[at:][:classes]
			e.loss += crossEntropy(c, d, e.points[at:][:classes], e.y)
			for j, v := range d {
				e.spare[j] += v
			}
		}
		// A probability is the gradient and the target, which is s/C for every class.
		e.spare[e.y] += float32(float32(c.Draws) * (1 - float32(c.LabelSmoothing)))
		e.loss /= float32(c.Draws)
		scaleBy(e.dPoints, e.scale/float32(c.Draws))
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, net.Argmax(e.spare) == e.y
	},
}

// mostDraws is the largest number of copies.
const mostDraws = 64

var draws = Setting{
	Field: "draws", Flag: "draws", Usage: "draws of the noise for each image", min: 1, max: mostDraws,
	Of: func(c *Config) any { return &c.Draws },
}

// startThere starts at the image.
func startThere(_ *Config, _ point, _ *kernels.Stream, x, _, _ float32) float32 { return x }

// ascendMeanProbability ascends −log of the mean of the label's probabilities p_k over the
// copies k. Its gradient to the logits of a copy is that of the copy's cross-entropy times
// p_k/Σp, here a softmax of log p_k: it does not vanish where all p_k underflow.
func ascendMeanProbability(dz, z, clean []float32, y int) {
	classes := len(clean)
	copies := len(z) / classes
	var share [mostDraws]float32
	least := float32(0)
	for k := range copies {
		share[k] = net.CrossEntropy.Gradient(dz[k*classes:][:classes], z[k*classes:][:classes], y, net.Untargeted)
		if k == 0 || share[k] < least {
			least = share[k]
		}
	}
	var sum float32
	for k := range copies {
		share[k] = kernels.Exp(least - share[k])
		sum += share[k]
	}
	for k := range copies {
		scaleBy(dz[k*classes:][:classes], share[k]/sum)
	}
}
