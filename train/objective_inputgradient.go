package train

import "github.com/epsball/epsball/net"

// InputGradient is CE(f(x), y) + β·‖∇ₓCE(f(x), y)‖₂² (Ross & Doshi-Velez 2018, eq. 4), the
// norm by a finite difference along the gradient (see probe).
const InputGradient Method = "input-gradient"

var inputGradient = objective{
	name:     InputGradient,
	about:    "cross-entropy, and its gradient to the pixels (Ross & Doshi-Velez 2018)",
	defaults: func(c *Config) { c.Beta, c.Probe = 1, 0.1 },
	settings: []*Setting{&beta, &probeLength},
	needs: needs{
		clean: gradient, points: gradient,
		attack: probe(inner{ascend: ascendCrossEntropy}),
	},
	loss: func(c *Config, e *example) {
		h := float32(c.Probe)
		ce := net.CrossEntropy.Gradient(e.dClean, e.clean, e.y, net.Untargeted)
		slope := (net.CrossEntropy.Gradient(e.dPoints, e.points, e.y, net.Untargeted) - ce) / h
		b := float32(float32(c.Beta) * slope)
		e.loss = ce + float32(b*slope)
		back := float32(2*b) / h
		scaleBy(e.dClean, float32(e.scale*(1-back)))
		scaleBy(e.dPoints, float32(e.scale*back))
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, false
	},
}
