package audit

import (
	"context"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// checkCertified: nothing attacked is proved robust. It bounds images that were fooled in
// the same ball, first by intervals and a few by linear bounds. If the attack left images
// out that were proved robust, it attacks some of them.
func checkCertified(ctx context.Context, c *Case) Finding {
	n, ok := c.network()
	if !ok {
		return skip("the target is more than a network, so nothing is proved of it")
	}
	switch {
	case c.anywhere():
		return noBall
	case c.Config.Ball.Norm == net.L0:
		return skip("l0 has no bounds")
	}
	if len(c.proved) > 0 {
		if f := c.attackProved(ctx); f.Verdict != OK {
			return f
		}
	}
	if len(c.fooled) == 0 {
		return skip("the attack fooled no image")
	}
	v, err := verify.New(n, c.Pool)
	if err != nil {
		return skip("%v", err)
	}
	v.JoinBalls()
	linear := verify.MethodCROWNIBP
	if c.Level == LevelFull {
		linear = verify.MethodCROWN
	}
	var both []int
	looked := c.first(c.fooled, 64)
	for _, rung := range []struct {
		method verify.Method
		places []int
	}{{verify.MethodIBP, looked}, {linear, c.first(c.fooled, 4)}} {
		var res verify.Result
		b := verify.Batch{X: c.pick(c.Batch.X, rung.places), Y: c.part(rung.places).Y}
		if err := v.CertifyRungs(ctx, verify.Options{Method: rung.method}, c.Config.Ball, b, &res); err != nil {
			return broken(ctx, err)
		}
		for k, i := range rung.places {
			if res.Certified[k] && !slices.Contains(both, i) {
				both = append(both, i)
			}
		}
	}
	if len(both) == 0 {
		return fine("none of %s that the attack fooled is proved robust", count(len(looked), "image"))
	}
	return c.say(Fail, both, "%s both fooled and proved robust in %v: neither result can be trusted, please report this", count(len(both), "image"), c.Config.Ball)
}

// attackProved attacks images that were not attacked because of a proof.
func (c *Case) attackProved(ctx context.Context) Finding {
	looked := c.first(c.proved, 16)
	m := attack.PGD{Steps: 10, Loss: net.Margin, Seed: 1, Targeted: c.Batch.Targets != nil}
	broke, _, err := c.attack(ctx, c.Target, c.config(m), looked)
	if err != nil {
		return unable(ctx, err)
	}
	if len(broke) > 0 {
		return c.say(Fail, broke, "%v fools %d of %s proved robust in %v: neither result can be trusted, please report this", m, len(broke), count(len(looked), "image"), c.Config.Ball)
	}
	return fine("%v fools none of %s proved robust", m, count(len(looked), "image"))
}
