package train

import "github.com/epsball/epsball/model"

// CROWNIBP is κ·CE(clean) + (1−κ)·CE(interval and linear bounds) (Zhang et al. 2020).
const CROWNIBP Method = "crown-ibp"

var betaFinal = Setting{
	Field: "betaFinal", Flag: "beta-final", Usage: "share of linear bounds at the end", max: 1,
	Of: func(c *Config) any { return &c.BetaFinal },
}

var crownIBP = objective{
	name:  CROWNIBP,
	about: "cross-entropy on clean images and on linear bounds (Zhang et al. 2020)",
	defaults: func(c *Config) {
		ibp.defaults(c)
		c.Init, c.Tightness = string(model.InitIBP), 0.5
	},
	settings: []*Setting{&kappaFinal, &betaFinal, &tightness},
	accepts:  acceptsLinear,
	needs: needs{
		clean:  gradient,
		boxes:  wholeBall,
		boxed:  ibp.needs.boxed,
		linear: shareOfLinear,
	},
	loss: ibp.loss,
}

// shareOfLinear falls from 1 to BetaFinal as the radius rises.
func shareOfLinear(c *Config, at point) float64 {
	ramp := 1.0
	if full := c.TrainEps.Float64(); full > 0 {
		ramp = at.eps / full
	}
	return 1 - float64(ramp*(1-c.BetaFinal))
}
