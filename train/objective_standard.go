package train

import "github.com/epsball/epsball/net"

// Standard is cross-entropy on clean images.
const Standard Method = "standard"

var standard = objective{
	name:     Standard,
	about:    "cross-entropy on clean images",
	defaults: func(*Config) {},
	settings: []*Setting{&labelSmoothing},
	needs:    needs{clean: gradient},
	loss: func(c *Config, e *example) {
		e.loss = crossEntropy(c, e.dClean, e.clean, e.y)
		scaleBy(e.dClean, e.scale)
		e.cleanRight = net.Argmax(e.clean) == e.y
	},
}
