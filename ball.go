package epsball

import (
	"fmt"
	"math"
	"strconv"

	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// Ball is a set of images around each image: all at most ε away in a norm,
// with pixels in [0, 1]. Linf, L2, L1, ParseBall and ParseLinf make one.
type Ball struct {
	ball net.Ball
	err  error
	more *more // of bounds in its norm; nil: nothing
}

// more is what bounds of some norms want of a verifier. (Programs that make no such ball need not
// carry it.)
type more struct{ of func(v *verify.Verifier) }

var joined = &more{(*verify.Verifier).JoinBalls}

// Linf is the ball in which every pixel may change by up to eps. A float64
// stands for its shortest decimal: Linf(0.1) has ε = 1/10 exactly.
func Linf(eps float64) Ball { return newBall(net.Linf, eps) }

// L2 is the ball in which the root of the summed squares of the changes is at
// most eps.
func L2(eps float64) Ball { return newBall(net.L2, eps).with(joined) }

// L1 is the ball in which the changes of all pixels, without their signs, add up to at
// most eps.
func L1(eps float64) Ball { return newBall(net.L1, eps).with(joined) }

// L0 is the ball in which at most n values of an image may change, to any other in [0, 1];
// a pixel with colours has three values. It is for attacks: no bound knows it.
func L0(n int) Ball { return newBall(net.L0, float64(n)) }

// ParseBall makes a ball of the given norm ("linf", "l2", "l1", "l0") from an exact
// decimal or fraction, such as "8/255".
func ParseBall(norm, eps string) (Ball, error) {
	n, err := net.ParseNorm(norm)
	if err != nil {
		return Ball{}, err
	}
	b, err := parse(n, eps)
	if n == net.L2 || n == net.L1 {
		b.more = joined
	}
	return b, err
}

// ParseLinf is ParseBall for linf: a program that makes balls of no other norm is smaller.
func ParseLinf(eps string) (Ball, error) { return parse(net.Linf, eps) }

func parse(norm net.Norm, eps string) (Ball, error) {
	e, err := net.ParseEpsilon(eps)
	if err != nil {
		return Ball{}, err
	}
	b := Ball{ball: net.Ball{Norm: norm, Eps: e}}
	return b, b.ball.Validate()
}

func (b Ball) with(m *more) Ball {
	b.more = m
	return b
}

func newBall(norm net.Norm, eps float64) Ball {
	if math.IsNaN(eps) || math.IsInf(eps, 0) {
		return Ball{err: fmt.Errorf("epsilon %v: want a finite value ≥ 0", eps)}
	}
	e, err := net.ParseEpsilon(strconv.FormatFloat(eps, 'g', -1, 64))
	if err != nil {
		return Ball{err: err}
	}
	b := net.Ball{Norm: norm, Eps: e}
	return Ball{ball: b, err: b.Validate()}
}

// Times returns the ball of k times the radius, exactly; k ≥ 0.
func (b Ball) Times(k int) Ball {
	if b.err != nil {
		return b
	}
	if k < 0 {
		return Ball{err: fmt.Errorf("epsilon: %d times %s, want at least 0 times", k, b.ball.Eps)}
	}
	b.ball.Eps = b.ball.Eps.Times(k)
	b.err = b.ball.Validate()
	return b
}

// Eps returns the radius as an exact decimal or fraction; "invalid" for a ball that
// every function refuses.
func (b Ball) Eps() string {
	if b.err != nil {
		return "invalid"
	}
	return b.ball.Eps.String()
}
