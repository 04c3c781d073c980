package train

import (
	"math"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// Jacobian is CE(f(x), y) + β/2·‖J(x)‖²_F for the Jacobian J of the logits f (Hoffman,
// Roberts & Yaida 2019, eq. 6). For v uniform on the unit sphere of the C logits,
// ‖J‖²_F = C·E‖Jᵀv‖²: one v an image and step is drawn, their algorithm 1 with n_proj = 1.
// The norm is by a finite difference of v·f along Jᵀv (see probe).
const Jacobian Method = "jacobian"

var jacobian = objective{
	name:     Jacobian,
	about:    "cross-entropy, and the Jacobian of the logits (Hoffman, Roberts & Yaida 2019)",
	defaults: func(c *Config) { c.Beta, c.Probe = 0.01, 0.1 },
	settings: []*Setting{&beta, &probeLength},
	needs: needs{
		clean: gradient, points: gradient,
		attack: probe(inner{draw: drawUnit}),
	},
	loss: func(c *Config, e *example) {
		e.loss = net.CrossEntropy.Gradient(e.dClean, e.clean, e.y, net.Untargeted)
		var rise float64
		for j, v := range e.drawn {
			rise += float64(v) * float64(e.points[j]-e.clean[j])
		}
		slope := float32(rise / c.Probe)
		b := float32(float32(c.Beta) * float32(len(e.drawn)) * slope)
		e.loss += float32(float32(b*slope) / 2)
		back := b / float32(c.Probe)
		for j, v := range e.drawn {
			e.dPoints[j] = float32(back * v)
			e.dClean[j] -= e.dPoints[j]
		}
		scaleBy(e.dClean, e.scale)
		scaleBy(e.dPoints, e.scale)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, false
	},
}

// drawUnit draws a vector of length 1 whose direction is uniform: one of normal numbers.
func drawUnit(v []float32, s *kernels.Stream) {
	var squares float64
	for squares == 0 {
		for j := range v {
			v[j] = s.Norm()
			squares += float64(v[j]) * float64(v[j])
		}
	}
	for j := range v {
		v[j] = float32(float64(v[j]) / math.Sqrt(squares))
	}
}
