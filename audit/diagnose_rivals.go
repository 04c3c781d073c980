package audit

import (
	"context"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// checkNoise: random points of the ball are the weakest attack of all (Carlini et al. 2019).
func checkNoise(ctx context.Context, c *Case) Finding {
	switch {
	case c.Config.Method.Name() == attack.Noise{}.Name():
		return skip("the attack is noise itself")
	case c.Batch.Targets != nil:
		return skip("noise has no target")
	}
	return c.rival(ctx, "random noise", c.Target, attack.Noise{Draws: 16, Seed: 1}, c.first(c.survivors, 48))
}

// checkOneStep: steps are there to do better than one (Carlini et al. 2019). An attack of one
// step is itself compared with ten.
func checkOneStep(ctx context.Context, c *Case) Finding {
	targeted := c.Batch.Targets != nil
	if c.oneStep(ctx) {
		return c.rival(ctx, "pgd:steps=10", c.Target, attack.PGD{Steps: 10, Seed: 1, Targeted: targeted}, c.left())
	}
	return c.rival(ctx, "a single step", c.Target, attack.FGSM{Targeted: targeted}, c.first(c.survivors, 256))
}

// checkMoreEffort: an attack that is done gains nothing from twice the steps and other
// random numbers (Carlini et al. 2019).
func checkMoreEffort(ctx context.Context, c *Case) Finding {
	more, err := attack.Builtin().Twice(c.Config.Method)
	if err != nil {
		return skip("%v", err)
	}
	looked := c.left()
	switch {
	case c.anywhere():
		return noBall
	case len(looked) == 0:
		return nothingLeft
	}
	broke, _, err := c.attack(ctx, c.Target, c.config(more), looked)
	if err != nil {
		return unable(ctx, err)
	}
	return c.compare(more.String(), looked, broke) // never a failure: the attack is not wrong, but short
}

// checkBlackBox: an attack that sees no gradients cannot be the better one (Carlini et al.
// 2019; auto-attack's check of Square).
func checkBlackBox(ctx context.Context, c *Case) Finding {
	if c.Config.Method.Name() == (attack.Square{}).Name() {
		return skip("the attack is the black box itself")
	}
	m := attack.Square{Queries: 100, Seed: 1, Targeted: c.Batch.Targets != nil}
	return c.rival(ctx, "a black box ("+m.String()+")", c.Target, m, c.left())
}

// checkTransfer: points found by the gradients of another classifier fool the target where
// its own gradients lead nowhere (Carlini et al. 2019). The target judges every point of the
// way.
func checkTransfer(ctx context.Context, c *Case) Finding {
	if len(c.Surrogates) == 0 {
		return skip("there is no other model of these images")
	}
	worst := skip("no surrogate goes with the target")
	m := attack.PGD{Steps: 10, Seed: 1, Targeted: c.Batch.Targets != nil}
	for _, s := range c.Surrogates {
		if s.Target.Input() != c.Target.Input() || s.Target.Classes() != c.Target.Classes() || s.Target.Few(1) != c.Target.Few(1) ||
			s.Target.Few(1<<20) != c.Target.Few(1<<20) || !s.Target.HasBackward() {
			continue
		}
		f := c.rival(ctx, "the gradient of "+s.Name, &lent{c.Target, s.Target}, m, c.left())
		if rank(f.Verdict) > rank(worst.Verdict) || f.Verdict == worst.Verdict && f.Count > worst.Count {
			worst = f
		}
	}
	return worst
}

func rank(v Outcome) int {
	return map[Outcome]int{Skipped: 0, OK: 1, Warn: 2, Fail: 3, Stopped: 4}[v]
}

// lent is a target that follows the gradient of another one.
type lent struct {
	attack.Target
	lender attack.Target
}

func (l *lent) HasBackward() bool { return true }

func (l *lent) Passes(images int, pool *kernels.Pool) attack.Passes {
	p := &lentPasses{Passes: l.Target.Passes(images, pool), lender: l.lender.Passes(images, pool)}
	p.z, p.dz = make([]float32, l.Classes()), make([]float32, l.Classes())
	return seated(p, p.Passes, p.lender)
}

// lentPasses climb the lender's cross-entropy.
type lentPasses struct {
	attack.Passes
	lender attack.Passes
	slots  []attack.Slot
	z, dz  []float32
}

func (p *lentPasses) Observe(slots []attack.Slot) { p.slots = slots }

func (p *lentPasses) Forward(x []float32, blocks int) []float32 {
	p.lender.Forward(x, blocks)
	return p.Passes.Forward(x, blocks)
}

func (p *lentPasses) Backward(blocks int) []float32 {
	for k := range p.slots {
		s := &p.slots[k]
		clear(p.dz)
		if !s.Empty() && s.Moves {
			p.lender.Layout().Gather(p.z, p.lender.Logits(), k)
			net.CrossEntropy.Gradient(p.dz, p.z, s.Y, s.Target)
		}
		p.lender.Layout().Scatter(p.lender.LogitGradient(), p.dz, k)
	}
	return p.lender.Backward(blocks)
}
