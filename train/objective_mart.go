package train

import (
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// MART is BCE(f(x′), y) + β·KL(f(x) ‖ f(x′))·(1 − p_y(x)) (Wang et al. 2020, eq. 11), p being
// the softmax of f and BCE(f, y) = −log p_y − log(1 − max_{k≠y} p_k): images that are
// classified wrong weigh most. PGD ascends the cross-entropy to x′ from x with a little
// noise; x′ then counts as constant, while the gradient flows through all the rest.
const MART Method = "mart"

var mart = objective{
	name:  MART,
	about: "boosted cross-entropy under attack, and divergence (Wang et al. 2020)",
	defaults: func(c *Config) {
		trades.defaults(c)
		c.Beta = 5
	},
	settings: []*Setting{&pgdSteps, &pgdStepSize, &beta, &norm, &overfitting, &awp, &awpWarmup},
	needs: needs{
		clean: gradient, points: gradient,
		attack: &inner{start: startNear, ascend: ascendCrossEntropy, crossEntropy: true},
	},
	loss: func(c *Config, e *example) {
		b := float32(c.Beta)
		kl := divergence(e.dClean, e.dPoints, e.clean, e.points)
		net.CrossEntropy.Gradient(e.spare, e.clean, e.y, net.Untargeted) // p − 1_y
		wrong := -e.spare[e.y]
		scaleBy(e.dPoints, float32(b*wrong))
		for j, d := range e.spare { // ∂(1 − p_y)/∂z = p_y·(p − 1_y)
			e.dClean[j] = float32(wrong*e.dClean[j]) + float32(float32(kl*(1-wrong))*d)
		}
		e.loss = float32(float32(b*kl) * wrong)
		e.loss += boosted(e.spare, e.points, e.y)
		for j, d := range e.spare {
			e.dPoints[j] += d
		}
		scaleBy(e.dClean, e.scale*b)
		scaleBy(e.dPoints, e.scale)
		e.cleanRight, e.robustRight = net.Argmax(e.clean) == e.y, net.Argmax(e.points) == e.y
	},
}

// boosted returns the boosted cross-entropy −log p_y − log(1 − p_k), k being the likeliest
// class but y, and writes its gradient to the logits into d. The second term is
// log Σ e^z_j − log Σ_{j≠k} e^z_j, finite however near p_k is to 1, with the gradient p_k
// to z_k and −p_k·q_j to the others, q being the softmax without k.
func boosted(d, z []float32, y int) float32 {
	ce := net.CrossEntropy.Gradient(d, z, y, net.Untargeted)
	k := (y + 1) % len(z)
	for j, v := range z {
		if j != y && v > z[k] {
			k = j
		}
	}
	_, top, sum := spread(z)
	second := z[y] // the largest but z_k
	for j, v := range z {
		if j != k {
			second = max(second, v)
		}
	}
	var rest float32
	for j, v := range z {
		if j != k {
			rest += kernels.Exp(v - second)
		}
	}
	pk := kernels.Exp(z[k]-top) / sum
	for j, v := range z {
		if j == k {
			d[j] += pk
			continue
		}
		d[j] -= float32(pk * (kernels.Exp(v-second) / rest))
	}
	return ce + max(0, (top-second)+(kernels.Log(sum)-kernels.Log(rest)))
}
