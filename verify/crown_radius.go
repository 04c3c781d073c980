package verify

import (
	"context"

	"github.com/epsball/epsball/net"
)

// Radius is IBP.Radius by the rungs of the ladder. From the radius that IBP certifies
// on, it doubles until a ball is not certified, and bisects: a search that ends near
// the radius, for wide balls cost most. Each radius returned was itself certified; the
// search of an image depends on no other.
func (v *CROWN) Radius(ctx context.Context, norm net.Norm, resolution, max net.Epsilon, b Batch, res *RadiusResult) error {
	if err := v.check(b); err != nil {
		return err
	}
	most, err := radiusSteps(norm, resolution, max)
	if err != nil {
		return err
	}
	n := len(b.X) / v.g.net.Input().Size()
	if v.ibp != nil {
		if err := v.ibp.Radius(ctx, norm, resolution, max, b, res); err != nil {
			if v.cfg.Method != MethodIBP {
				clear(res.Done)
			}
			return err
		}
		if v.cfg.Method == MethodIBP {
			return nil
		}
	} else {
		res.resize(n)
		for i := range res.Steps {
			res.Steps[i] = -1
		}
	}
	clear(res.Done)
	v.todo = v.todo[:0]
	for i := range n {
		v.todo = append(v.todo, i)
	}
	return v.run(ctx, b, func(w *climber, i int) {
		certified := func(k int) bool {
			ball := net.Ball{Norm: norm, Eps: resolution.Times(k)}
			margin, _ := v.climb(w, i, ball, ball.Box(), -1)
			return margin > 0
		}
		lo, hi := res.Steps[i], most+1
		for step := 1; lo+step < hi; step *= 2 {
			if v.ctx.Err() != nil {
				return
			}
			if !certified(lo + step) {
				hi = lo + step
				break
			}
			lo += step
		}
		for hi-lo > 1 {
			if v.ctx.Err() != nil {
				return
			}
			if mid := (lo + hi) / 2; certified(mid) {
				lo = mid
			} else {
				hi = mid
			}
		}
		if v.ctx.Err() == nil { // if not, the last ball may have been given up
			res.set(i, lo, resolution)
		}
	})
}
