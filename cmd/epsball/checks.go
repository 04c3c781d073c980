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

// checkAttack checks the images that are done.
func (s *subject) checkAttack(ctx context.Context, ball net.Ball, res *attack.Result, bar *bar) []check {
	checked, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()

	if countTrue(res.Done) == 0 {
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
	adv, err := s.predictDone(ctx, res.Adv, res.Done)
	var clean []int
	if err == nil {
		clean, err = s.predictDone(ctx, s.x, res.Done)
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

// predictDone is predict for the images that are done.
func (s *subject) predictDone(ctx context.Context, x []float32, done []bool) ([]int, error) {
	if countTrue(done) == len(done) {
		return s.predict(ctx, x, len(done))
	}
	var some []float32
	var at []int
	for i, d := range done {
		if d {
			some, at = append(some, s.image(x, i)...), append(at, i)
		}
	}
	p, err := s.predict(ctx, some, len(at))
	if err != nil {
		return nil, err
	}
	pred := make([]int, len(done))
	for k, i := range at {
		pred[i] = p[k]
	}
	return pred, nil
}

// each runs ok on every image that is done, on all workers. What it finds reads
// "5 of 7 images" and then what.
func (s *subject) each(ctx context.Context, name, what string, res *attack.Result, bar *bar, ok func(i int) bool) check {
	var looked, good atomic.Int64
	const block = 16
	n, done := len(res.Done), countTrue(res.Done)
	s.pool.Run((n+block-1)/block, func(_, task int) {
		for i := task * block; i < min((task+1)*block, n); i++ {
			if !res.Done[i] || ctx.Err() != nil {
				continue
			}
			bar.show("check "+name, int(looked.Add(1)), done)
			if ok(i) {
				good.Add(1)
			}
		}
	})
	l, g := int(looked.Load()), int(good.Load())
	if l < done && g == l {
		return check{name, false, fmt.Sprintf("stopped after %d of %s", l, count(done, "image")), true}
	}
	return check{name, g == done, fmt.Sprintf("%d of %s%s", g, count(done, "image"), what), false}
}
