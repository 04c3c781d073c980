package main

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/net"
)

// check is one thing verified about an attack's result without the attack's
// own code.
type check struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
	stopped bool   // by ^C, before it could fail
}

func (c *check) verdict() string {
	switch {
	case c.OK:
		return "ok"
	case c.stopped:
		return "not decided"
	}
	return "FAILED"
}

// stopGrace is what ^C leaves the checks: those not done by then are reported
// as not done.
const stopGrace = 250 * time.Millisecond

// checkAttack checks the images that are begun: what is said of them holds even
// where the attack goes on.
func (s *subject) checkAttack(ctx context.Context, ball net.Ball, res *attack.Result, bar *bar) []check {
	checked, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()

	if countTrue(res.Begun) == 0 {
		return []check{}
	}
	finite := s.each(checked, "finite", "", res, bar, func(i int) bool {
		for _, v := range s.image(res.Adv, i) {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return false
			}
		}
		return true
	})
	inside := s.each(checked, "inside", " in "+ball.String()+" and [0,1]", res, bar, func(i int) bool {
		return ball.Contains(s.image(s.x, i), s.image(res.Adv, i))
	})
	return []check{finite, inside, s.checkPredictions(checked, res, bar)}
}

// checkPredictions compares with a fresh forward pass what the attack says of
// the images and of the adversarial ones.
func (s *subject) checkPredictions(ctx context.Context, res *attack.Result, bar *bar) check {
	const name = "predictions"
	adv, err := s.predictSome(ctx, res.Adv, res.Begun)
	var clean []int
	if err == nil {
		clean, err = s.predictSome(ctx, s.x, res.Begun)
	}
	if ctx.Err() != nil {
		return check{name, false, "stopped before the forward pass was done", true}
	}
	if err != nil {
		return check{name, false, "forward pass: " + err.Error(), false}
	}
	return s.each(ctx, name, " the same in a fresh forward pass", res, bar, func(i int) bool {
		y := s.y[i]
		return adv[i] == res.Label[i] && (clean[i] == y) == res.Clean[i] &&
			res.Success[i] == (clean[i] == y && adv[i] != y)
	})
}

// predictSome is predict for some images.
func (s *subject) predictSome(ctx context.Context, x []float32, which []bool) ([]int, error) {
	if countTrue(which) == len(which) {
		return s.predict(ctx, x, len(which))
	}
	var some []float32
	var at []int
	for i, w := range which {
		if w {
			some, at = append(some, s.image(x, i)...), append(at, i)
		}
	}
	p, err := s.predict(ctx, some, len(at))
	if err != nil {
		return nil, err
	}
	pred := make([]int, len(which))
	for k, i := range at {
		pred[i] = p[k]
	}
	return pred, nil
}

// each runs ok on every image that is begun, on all workers. What it finds reads
// "5 of 7 images" and then what.
func (s *subject) each(ctx context.Context, name, what string, res *attack.Result, bar *bar, ok func(i int) bool) check {
	var looked, good atomic.Int64
	const block = 16
	n, all := len(res.Begun), countTrue(res.Begun)
	s.pool.Run((n+block-1)/block, func(_, task int) {
		for i := task * block; i < min((task+1)*block, n); i++ {
			if !res.Begun[i] || ctx.Err() != nil {
				continue
			}
			bar.show("check "+name, int(looked.Add(1)), all)
			if ok(i) {
				good.Add(1)
			}
		}
	})
	l, g := int(looked.Load()), int(good.Load())
	if l < all && g == l {
		return check{name, false, fmt.Sprintf("stopped after %d of %s", l, count(all, "image")), true}
	}
	return check{name, g == all, fmt.Sprintf("%d of %s%s", g, count(all, "image"), what), false}
}
