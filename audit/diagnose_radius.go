package audit

import (
	"context"
	"slices"
	"strconv"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
)

// checkIdentity: in a ball of radius 0 there is only the image.
func checkIdentity(ctx context.Context, c *Case) Finding {
	if c.anywhere() {
		return noBall
	}
	looked := c.first(slices.Concat(c.survivors, c.fooled), 8)
	if len(looked) == 0 {
		return skip("no image was classified correctly")
	}
	cfg := c.at(net.MustEpsilon("0"))
	fooled, res, err := c.attack(ctx, c.Target, cfg, looked)
	if err != nil {
		return unable(ctx, err)
	}
	moved := fooled
	if c.randomised() { // what fools does so by luck
		moved = nil
	}
	for k, i := range looked {
		if !slices.Equal(c.image(res.Adv, k), c.image(c.Batch.X, i)) && !slices.Contains(moved, i) {
			moved = append(moved, i)
		}
	}
	if len(moved) == 0 {
		return fine("ε = 0 leaves %s as they are", count(len(looked), "image"))
	}
	return c.say(Fail, moved, "ε = 0 moves %d of %s, or fools them", len(moved), count(len(looked), "image"))
}

// at is the attack in another ball.
func (c *Case) at(eps net.Epsilon) attack.Config {
	cfg := c.config(c.Config.Method)
	cfg.Ball.Eps = eps
	return cfg
}

// checkRadius: what fools in a ball fools in a larger one (Carlini et al. 2019). It tries
// half the radius on images that the attack left, and twice the radius on those that it
// fooled.
func checkRadius(ctx context.Context, c *Case) Finding {
	eps := c.Config.Ball.Eps
	switch {
	case c.anywhere():
		return noBall
	case eps.IsZero():
		return skip("the radius is 0")
	}
	half := net.MustEpsilon(strconv.FormatFloat(eps.Float64()/2, 'g', -1, 64))
	twice := eps.Times(2)
	if c.Config.Ball.Norm == net.Linf && twice.Float64() > 1 {
		twice = net.MustEpsilon("1")
	}
	left := c.left()
	left = left[:(len(left)+1)/2]
	fooled := c.first(c.fooled, 16)
	var broke, lost []int
	if len(left) > 0 {
		var err error
		if broke, _, err = c.attack(ctx, c.Target, c.at(half), left); err != nil {
			return unable(ctx, err)
		}
	}
	if len(fooled) > 0 {
		still, _, err := c.attack(ctx, c.Target, c.at(twice), fooled)
		if err != nil {
			return unable(ctx, err)
		}
		for _, i := range fooled {
			if !slices.Contains(still, i) {
				lost = append(lost, i)
			}
		}
	}
	switch {
	case len(left)+len(fooled) == 0:
		return skip("no image was classified correctly")
	case len(broke) > 0:
		return c.compare("half the radius", left, broke)
	case len(lost) == 0:
		return fine("half the radius fools none of %s that the attack left, twice the radius all of %d that it fooled", count(len(left), "image"), len(fooled))
	}
	v := Warn
	if len(lost) >= 3 && 4*len(lost) > len(fooled) && !c.oneStep(ctx) {
		v = Fail
	}
	return c.say(v, lost, "twice the radius fools %d of %s that the attack fools", len(fooled)-len(lost), count(len(fooled), "image"))
}

// checkLargeRadius: an attack without limits fools every image (Carlini et al. 2019).
func checkLargeRadius(ctx context.Context, c *Case) Finding {
	switch left := c.left(); {
	case c.anywhere():
		return noBall
	case c.oneStep(ctx):
		return skip("the attack has one step: it may overshoot")
	case c.Config.Method.Plan().FixedLengths:
		return skip("the attack's steps do not grow with the ball")
	case len(left) == 0:
		return nothingLeft
	default:
		whole := c.Config.Ball.Norm.Largest(c.Target.Input().Size()).Eps
		broke, _, err := c.attack(ctx, c.Target, c.at(whole), left)
		if err != nil {
			return unable(ctx, err)
		}
		var robust []int
		for _, i := range left {
			if !slices.Contains(broke, i) {
				robust = append(robust, i)
			}
		}
		v := OK
		switch {
		case len(robust) >= 3 && 10*len(robust) > len(left) && c.Batch.Targets == nil:
			v = Fail
		case len(robust) > 0:
			v = Warn
		}
		return c.say(v, robust, "ε = %v, which holds every image there is, leaves %d of %s", whole, len(robust), count(len(left), "image"))
	}
}
