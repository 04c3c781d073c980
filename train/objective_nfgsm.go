package train

// NFGSM is cross-entropy on points that one sign step of length ε finds from x plus noise
// of up to k·ε, cut to the pixel range but not to the ball (de Jorge et al. 2022,
// algorithm 1).
const NFGSM Method = "n-fgsm"

var nfgsm = objective{
	name:  NFGSM,
	about: "cross-entropy on points of one step from strong noise, not cut to the ball (de Jorge et al. 2022)",
	defaults: func(c *Config) {
		fgsm.defaults(c)
		c.PGDStepSize, c.Noise = 1, 2
	},
	settings: fgsm.settings,
	needs: needs{
		clean: logits, points: gradient,
		attack: &inner{start: startNoise, noise: noiseOf, ascend: ascendCrossEntropy, crossEntropy: true, steps: oneStep, length: stepOfRadius, unclipped: true},
	},
	loss: pgd.loss,
}
