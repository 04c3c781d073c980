package train

import "github.com/epsball/epsball/net"

// Standard is cross-entropy on clean images.
const Standard Method = "standard"

var standard = objective{
	name:     Standard,
	about:    "cross-entropy on clean images",
	defaults: func(*Config) {},
	needs:    needs{clean: gradient},
	loss: func(_ *Config, e *example) {
		e.loss = net.CrossEntropy.Gradient(e.dClean, e.clean, e.y, net.Untargeted)
		scaleBy(e.dClean, e.scale)
		e.cleanRight = net.Argmax(e.clean) == e.y
	},
}
