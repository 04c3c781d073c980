package train

import "math"

// Defaults that an unset field of Config stands for.
const (
	defaultLRDecay   = 0.2
	defaultCyclePeak = 0.4
)

var defaultMilestones = []float64{0.7, 0.85}

// point is where the schedules stand at one step.
type point struct{ lr, eps, kappa, awp float64 }

// at returns the schedules' values for step number step (from 0) of perEpoch
// steps an epoch. Every operation rounds once, so all machines agree.
func (c *Config) at(step, perEpoch int) point {
	epoch := float64(step) / float64(perEpoch)
	p := point{kappa: 1}
	hold := 0.0
	o := objectiveOf(c.Method)
	if o.uses(&awp) && epoch >= c.AWPWarmup {
		p.awp = c.AWP
	}
	if o.radius() {
		hold = c.hold()
		ramp := 0.0
		switch {
		case epoch >= hold:
			ramp = 1
		case epoch > c.WarmupEpochs:
			ramp = c.bend((epoch - c.WarmupEpochs) / c.RampEpochs)
		}
		p.eps = float64(ramp * c.TrainEps.Float64())
		if o.uses(&kappaFinal) {
			p.kappa = c.KappaStart - float64(ramp*float64(c.KappaStart-c.KappaFinal))
		}
	}
	p.lr = c.rateAt(epoch, float64(step+1)/float64(perEpoch), hold)
	return p
}

// hold is the number of epochs before the radius is TrainEps.
func (c *Config) hold() float64 {
	if !objectiveOf(c.Method).radius() {
		return 0
	}
	return c.WarmupEpochs + c.RampEpochs
}

// bend turns the fraction t of the ramp's time into a fraction of its height. The smooth
// ramp grows with t⁴ in the first quarter and goes on in a line, without a kink (Xu et al.
// 2020, SmoothedScheduler of auto_LiRPA with its defaults).
func (c *Config) bend(t float64) float64 {
	if rampShape.choice(c) == "linear" {
		return t
	}
	if t < 0.25 {
		return float64(float64(t*t)*float64(t*t)) * 256 / 13
	}
	return (float64(16*t) - 3) / 13
}

// EndsLow reports whether the learning rate goes to LRFinal, which other schedules do not
// look at.
func (c *Config) EndsLow() bool {
	s := schedule.choice(c)
	return s != "constant" && s != "step"
}

// rateAt returns the learning rate of a step from one fraction of epochs to another.
func (c *Config) rateAt(epoch, end, hold float64) float64 {
	all := float64(c.Epochs)
	switch schedule.choice(c) {
	case "step":
		lr, milestones, decay := c.LR, c.Milestones, c.LRDecay
		if len(milestones) == 0 {
			milestones = defaultMilestones
		}
		if decay == 0 {
			decay = defaultLRDecay
		}
		for _, m := range milestones {
			if epoch >= float64(m*all) {
				lr = float64(lr * decay)
			}
		}
		return lr
	case "one-cycle": // as the authors' code, a step has the rate of its end
		peak := c.CyclePeak
		if peak == 0 {
			peak = defaultCyclePeak
		}
		peak = float64(peak * all)
		if end <= peak {
			return c.LR * end / peak
		}
		return c.LR - float64(float64(c.LR-c.LRFinal)*((end-peak)/(all-peak)))
	case "smooth", "cosine":
		rest := all - hold
		if epoch <= hold || rest <= 0 {
			break
		}
		t := math.Min(1, (epoch-hold)/rest)
		// 1 − 3t² + 2t³ is within 0.01 of half a cosine, without a library's
		// last bits.
		fall := float64(float64(t*t) * (3 - float64(2*t)))
		if schedule.choice(c) == "cosine" {
			fall = (1 - cosine(t)) / 2
		}
		return c.LR - float64(fall*float64(c.LR-c.LRFinal))
	}
	return c.LR
}

// cosine returns cos(πt) for 0 ≤ t ≤ 1 to within 1e-14, with the same bits everywhere: by
// Taylor's series around the right angle.
func cosine(t float64) float64 {
	a := float64(math.Pi * (0.5 - t)) // cos(πt) = sin(a)
	term, sum := a, 0.0
	for k := 1; k <= 23; k += 2 {
		sum += term
		term = -float64(float64(term*a)*a) / float64((k+1)*(k+2))
	}
	return sum
}
