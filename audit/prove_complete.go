package audit

import (
	"context"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// complete decides the ball of Eps of those images at that are open.
func (p *Proving) complete(ctx context.Context, at []int) error {
	var open []int
	for _, i := range at {
		if !p.Proved[i] {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return nil
	}
	if err := p.fool(ctx, open); err != nil {
		return err
	}
	for _, i := range open {
		p.Done[i] = p.Fooled[i]
	}
	for _, i := range open {
		if p.Fooled[i] {
			continue
		}
		p.Progress("prove", i, len(p.y))
		limited, cancel := p.Complete.limit(ctx, 1)
		r := p.record()
		o, low, err := p.Complete.search(ctx, limited, p.Ball(0), p.x[i*p.size:(i+1)*p.size], p.y[i], r)
		cancel()
		if o, err = p.state(ctx, i, 0, r, o, err); err != nil {
			return err
		}
		p.Done[i], p.Proved[i], p.Fooled[i] = true, o == Holds, o == Violated
		p.Method[i], p.Margin[i] = verify.MethodBaB, float64(low)
	}
	return nil
}

// foolKnown attacks the images that were tried before the run and not proved: a file of
// certificates does not say which of them are attacked.
func (p *Proving) foolKnown(ctx context.Context, at []int) error {
	at = slices.DeleteFunc(slices.Clone(at), func(i int) bool { return p.Proved[i] })
	for block := range slices.Chunk(at, 64) {
		p.Progress("attack", block[0], len(p.y))
		if err := p.fool(ctx, block); err != nil {
			return err
		}
	}
	return nil
}

// fool attacks the images at in the ball of Eps.
func (p *Proving) fool(ctx context.Context, at []int) error {
	b := p.batch(at)
	fooled, err := p.Complete.attack(ctx, p.Ball(0), attack.Batch{X: b.X, Y: b.Y, Index: p.index(at)})
	for k, f := range fooled {
		p.Fooled[at[k]] = f
	}
	return err
}

// record returns one for the next search, if records are asked for.
func (p *Proving) record() *branch.Record {
	if p.State == nil {
		return nil
	}
	return &branch.Record{}
}

// state hands on the record of a search that ended with an answer and an error, and returns
// what counts: a proof that cannot be certified does not.
func (p *Proving) state(ctx context.Context, i, steps int, r *branch.Record, a Answer, err error) (Answer, error) {
	if err == nil && a == Holds && r != nil && p.State(ctx, i, steps, r) != nil {
		return Undecided, ctx.Err()
	}
	return a, err
}

// probeShare is the share of an image's time that one radius may take.
const probeShare = 0.25

// narrow closes in on the radii between those that are proved and those that are attacked.
func (p *Proving) narrow(ctx context.Context, at []int) error {
	most, err := net.RadiusSteps(p.Resolution, p.Max)
	if err != nil {
		return err
	}
	for _, i := range at {
		p.Before.Steps[i], p.Before.Attacked[i] = p.Steps[i], p.Attacked[i]
		p.Progress("prove", i, len(p.y))
		if err := p.narrowOne(ctx, i, p.x[i*p.size:(i+1)*p.size], p.y[i], most); err != nil {
			return err
		}
		p.Done[i] = true
	}
	return nil
}

// narrowOne tries radii above the one that is proved, in steps that double while that goes
// well, since proofs get hard quickly. What is open in its time is taken for too large.
func (p *Proving) narrowOne(ctx context.Context, i int, x []float32, y, most int) error {
	c := p.Complete
	limited, cancel := c.limit(ctx, 1)
	defer cancel()
	high := most + 1
	if p.Attacked[i] >= 0 {
		high = p.Attacked[i]
	}
	for ahead := 1; p.Steps[i]+1 < high && limited.Err() == nil; {
		k := p.Steps[i] + min(ahead, (high-p.Steps[i])/2)
		probe, cancel := c.limit(limited, probeShare)
		r := p.record()
		o, _, err := c.decide(ctx, probe, p.Ball(k), x, y, p.First+i, r)
		cancel()
		o, err = p.state(ctx, i, k, r, o, err)
		switch {
		case err != nil:
			return err
		case o == Holds:
			p.Steps[i], p.Proved[i], p.Method[i] = k, true, verify.MethodBaB
			ahead *= 2
			continue
		case o == Violated:
			p.Attacked[i] = k
		}
		high, ahead = k, 1
	}
	return ctx.Err()
}
