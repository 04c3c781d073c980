package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// GuardAttack is an attack that a guard may try. It is a type of its own so that programs
// whose guards have none do not contain the attacks.
type GuardAttack struct {
	prepare func(n *net.Network, pool *kernels.Pool, ball net.Ball) (fooler, error)
}

// fooler attacks one image at a time.
type fooler interface {
	// fool returns a point of the ball that is not classified as the label says, or nil.
	// Memory is used again. If ctx ends first the error is the context's.
	fool(ctx context.Context, x []float32, label []int) ([]float32, error)
}

// NewGuardAttack returns the attack m for a guard. It must stay in the ball.
func NewGuardAttack(m attack.Method) *GuardAttack {
	return &GuardAttack{func(n *net.Network, pool *kernels.Pool, ball net.Ball) (fooler, error) {
		if m != nil && m.Plan().Anywhere {
			return nil, fmt.Errorf("%s: knows no ball, want an attack that stays in it", m.Name())
		}
		a, err := attack.New(n, attack.Config{Ball: ball, Method: m}, pool)
		if err != nil {
			return nil, err
		}
		f := &methodFooler{a: a}
		// Make the buffers now, and not within the time of the first call.
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := f.fool(ended, make([]float32, n.Input().Size()), []int{0}); !errors.Is(err, context.Canceled) {
			return nil, err
		}
		return f, nil
	}}
}

type methodFooler struct {
	a   *attack.Attacker
	res attack.Result
}

func (f *methodFooler) fool(ctx context.Context, x []float32, label []int) ([]float32, error) {
	err := f.a.Run(ctx, attack.Batch{X: x, Y: label}, &f.res)
	if len(f.res.Success) == 1 && f.res.Success[0] { // be it the last thing that was done
		return f.res.Adv, nil
	}
	return nil, err
}

// attack looks for a point that shows that the flag is right, in what the budget leaves.
func (g *Guard) attack(v *Verdict) error {
	if g.limit.Err() == nil {
		ball := net.Ball{Norm: g.o.Norm, Eps: g.o.Threshold}
		point, err := g.fooler.fool(&g.limit, g.x, g.y[:])
		ended := g.limit.Context.Err()
		switch {
		case ended != nil:
			return ended
		case point != nil:
			return g.fooled(v, ball, point)
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	} else if err := g.limit.Context.Err(); err != nil {
		return err
	}
	return errCut
}

// fooled notes a point that was found, after another look at it.
func (g *Guard) fooled(v *Verdict, ball net.Ball, point []float32) error {
	// With budgets, an attack may end late: what it found is true all the same.
	if err := g.runner.Logits(g.limit.Context, g.z, point, 1); err != nil {
		return err
	}
	if !ball.Contains(g.x, point) || net.Argmax(g.z) == v.Label {
		return errors.New("attack: its point lies outside the ball or is given the same class; please report this")
	}
	v.Fooled, v.Point = true, append(v.Point[:0], point...)
	return nil
}
