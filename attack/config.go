package attack

import (
	"fmt"
	"math"
	"strings"

	"github.com/epsball/epsball/net"
)

// Config is an attack. FGSM and PGD give the usual ones.
type Config struct {
	Ball  net.Ball
	Steps int // gradient steps a restart; 0 evaluates the start points alone

	// StepSize is the length of a step, in pixel units, measured in the norm
	// of the ball; 0 means ε for one step and ε/4 for several.
	StepSize float64

	// RandomStart begins each restart at a random point of the ball: uniform
	// for Linf; for L2 a random direction and a radius ε·u^(1/d).
	RandomStart bool

	// Restarts is the number of runs an image gets until one fools it; 0
	// means 1. More than one needs RandomStart or Targeted.
	Restarts int

	// Targeted climbs towards a class instead of away from the label: the one
	// the batch names, else, in restart r, the r-th most likely wrong class of
	// the clean image.
	Targeted bool

	Loss net.Loss
	Seed uint64

	// Progress, if not nil, is called after each finished image with the
	// number finished so far, from any goroutine.
	Progress func(done int)
}

// FGSM is the fast gradient sign method: one step of length ε (Goodfellow et
// al. 2015). With a random start its step is 1.25·ε (Wong et al. 2020).
func FGSM(b net.Ball, randomStart bool, seed uint64) Config {
	c := Config{Ball: b, Steps: 1, RandomStart: randomStart, Seed: seed}
	if randomStart {
		c.StepSize = 1.25 * b.Eps.Float64()
	}
	return c
}

// PGD is projected gradient descent with one random start and steps of ε/4
// (Madry et al. 2018).
func PGD(b net.Ball, steps int, seed uint64) Config {
	return Config{Ball: b, Steps: steps, RandomStart: true, Restarts: 1, Seed: seed}
}

func (c *Config) restarts() int { return max(1, c.Restarts) }

func (c *Config) alpha() float32 {
	if c.StepSize > 0 {
		return float32(min(c.StepSize, 1e30)) // across any ball, and far from overflow
	}
	if c.Steps <= 1 {
		return float32(c.Ball.Eps.Float64())
	}
	return float32(c.Ball.Eps.Float64() / 4)
}

// Validate names the first field that makes no sense for a network of the
// given number of classes.
func (c *Config) Validate(classes int) error {
	if c.Ball.Norm != net.Linf && c.Ball.Norm != net.L2 {
		return fmt.Errorf("norm %s: attacks know linf and l2", c.Ball.Norm)
	}
	if err := c.Ball.Validate(); err != nil {
		return err
	}
	switch {
	case c.Steps < 0 || c.Steps > 1<<20:
		return fmt.Errorf("steps: %d, want 0 … %d", c.Steps, 1<<20)
	case c.Restarts < 0 || c.Restarts > 1<<20:
		return fmt.Errorf("restarts: %d, want 0 … %d", c.Restarts, 1<<20)
	case !(c.StepSize >= 0) || math.IsInf(c.StepSize, 0):
		return fmt.Errorf("step size: %v, want a finite value ≥ 0", c.StepSize)
	case c.restarts() > 1 && !c.RandomStart && !c.Targeted:
		return fmt.Errorf("restarts: %d of an attack that always starts at the image repeat one run; want a random start", c.Restarts)
	case c.Loss < net.CrossEntropy || c.Loss > net.DLR:
		return fmt.Errorf("loss %d: want one of %s", int(c.Loss), strings.Join(net.Losses(), ", "))
	case classes < c.Loss.MinClasses(c.Targeted):
		return fmt.Errorf("loss %v: needs at least %d classes, the network has %d", c.Loss, c.Loss.MinClasses(c.Targeted), classes)
	}
	return nil
}
