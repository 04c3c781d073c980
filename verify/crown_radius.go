package verify

import (
	"context"

	"github.com/epsball/epsball/net"
)

// Radius is IBP.Radius by the rungs of the ladder, one after the other: each goes on
// from the radius that the cheaper ones certified (Search, near), so that the dearest
// does the last few steps alone. Without Ladder there is one rung. Each radius returned
// was itself certified; the search of an image depends on no other.
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
	v.all(n)
	return v.run(ctx, b, func(w *climber, i int) {
		proved := res.Steps[i]
		for rung := v.first(); rung <= v.cfg.Method; rung++ {
			s := NewSearch(proved, most+1, true)
			for k, open := s.Next(); open; k, open = s.Next() {
				ball := net.Ball{Norm: norm, Eps: resolution.Times(k)}
				margin := v.attempt(w, rung, i, ball, ball.Box())
				if w.gaveUp || v.ctx.Err() != nil {
					return
				}
				s.Tell(margin > 0)
			}
			proved = s.Proved()
		}
		res.set(i, proved, resolution)
	})
}
