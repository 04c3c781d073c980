package train

import "github.com/epsball/epsball/net"

// LogitPairing is adversarial logit pairing, ½·CE(f(x), y) + ½·CE(f(x′), y) +
// β·‖f(x) − f(x′)‖₂² (Kannan, Kurakin & Goodfellow 2018, eq. 2), with the points x′ of pgd.
// It bends the loss away from first-order attacks more than it makes networks robust
// (Engstrom, Ilyas & Athalye 2018; Mosbach et al. 2018).
const LogitPairing Method = "logit-pairing"

var logitPairing = objective{
	name:  LogitPairing,
	about: "cross-entropy with and without attack, and the logits' distance (Kannan et al. 2018)",
	defaults: func(c *Config) {
		pgd.defaults(c)
		c.Beta = 0.5
	},
	settings: []*Setting{&pgdSteps, &pgdStepSize, &beta, &norm, &overfitting},
	needs: needs{
		clean: gradient, points: gradient,
		attack: pgd.needs.attack,
	},
	loss: func(c *Config, e *example) {
		e.loss = net.CrossEntropy.Gradient(e.dClean, e.clean, e.y, net.Untargeted)
		e.loss = (e.loss + net.CrossEntropy.Gradient(e.dPoints, e.points, e.y, net.Untargeted)) / 2
		b := float32(c.Beta)
		for j, z := range e.clean {
			d := z - e.points[j]
			e.loss += float32(b * float32(d*d))
			pull := float32(2 * float32(b*d))
			e.dClean[j] = float32(e.dClean[j]/2) + pull
			e.dPoints[j] = float32(e.dPoints[j]/2) - pull
		}
		scaleBy(e.dClean, e.scale)
		scaleBy(e.dPoints, e.scale)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, net.Argmax(e.points) == e.y
	},
}
