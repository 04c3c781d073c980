package audit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
	"github.com/epsball/epsball/verify/branch"
)

// Completion decides balls that bounds leave open, by an attack and by branch and bound, whose
// parts are looked at for adversarial examples as well. Make one with NewCompletion.
type Completion struct {
	o    CompleteOptions
	net  *net.Network
	v    *verify.Verifier
	pool *kernels.Pool
	run  *execution

	a    *attack.Attacker // of the last ball
	ball net.Ball
	res  attack.Result
}

// CompleteOptions say how a Completion works.
type CompleteOptions struct {
	// Attack is run first; nil: attack.Fast{}. It must stay in the ball.
	Attack attack.Method

	// Timeout is the time of an image, for all of its radii together; 0: no limit. What
	// it cuts short is Undecided: with a limit, results depend on the machine.
	Timeout time.Duration

	// Branch are those of the search; Point and Record are not used.
	Branch branch.Options
}

// NewCompletion prepares the decision of balls around images for n, compiled with
// Options.Backward. The verifier must be of n and pool; neither may be used during a call.
func NewCompletion(n *net.Network, v *verify.Verifier, pool *kernels.Pool, o CompleteOptions) (*Completion, error) {
	if v.Network() != n {
		return nil, errors.New("verifier: of another network")
	}
	if o.Timeout < 0 {
		return nil, fmt.Errorf("timeout: got %v, want at least 0", o.Timeout)
	}
	if o.Attack == nil {
		o.Attack = attack.Fast{}
	}
	if o.Attack.Plan().Anywhere {
		return nil, fmt.Errorf("%s: knows no ball, want an attack that stays in it", o.Attack.Name())
	}
	return &Completion{o: o, net: n, v: v, pool: pool, run: newExecution(n, pool)}, nil
}

// Timeout is that of CompleteOptions.
func (c *Completion) Timeout() time.Duration { return c.o.Timeout }

// Decide decides one ball around an image x, channels first, pixels in [0, 1]. index picks
// the attack's random numbers. The ball Holds if none of its images, real or float32, is
// misclassified at either level, and low is then a lower bound of the margin; it is Violated if
// one is, as executed, or the image itself. When ctx ends, the error is the context's.
func (c *Completion) Decide(ctx context.Context, ball net.Ball, x []float32, label, index int) (a Answer, low float32, err error) {
	limited, cancel := c.limit(ctx, 1)
	defer cancel()
	return c.decide(ctx, limited, ball, x, label, index, nil)
}

// decide is Decide until limited ends.
func (c *Completion) decide(ctx, limited context.Context, ball net.Ball, x []float32, label, index int, r *branch.Record) (Answer, float32, error) {
	low := float32(math.Inf(-1))
	fooled, err := c.attack(limited, ball, attack.Batch{X: x, Y: []int{label}, Index: []int{index}})
	switch {
	case limited.Err() != nil:
		return Undecided, low, ctx.Err()
	case err != nil:
		return Undecided, low, err
	case fooled[0]:
		return Violated, low, nil
	}
	return c.search(ctx, limited, ball, x, label, r)
}

// limit is ctx within a share of the time of an image.
func (c *Completion) limit(ctx context.Context, share float64) (context.Context, context.CancelFunc) {
	if c.o.Timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(share*float64(c.o.Timeout)))
}

// attack says which images are misclassified somewhere in the ball.
func (c *Completion) attack(ctx context.Context, ball net.Ball, b attack.Batch) ([]bool, error) {
	if c.a == nil || c.ball.Norm != ball.Norm || c.ball.Eps.Cmp(ball.Eps) != 0 {
		a, err := attack.New(c.net, attack.Config{Ball: ball, Method: c.o.Attack}, c.pool)
		if err != nil {
			return nil, err
		}
		c.a, c.ball = a, ball
	}
	if err := c.a.Run(ctx, b, &c.res); err != nil {
		return nil, err
	}
	fooled := make([]bool, len(b.Y))
	for i := range fooled {
		fooled[i] = c.res.Success[i] || !c.res.Clean[i]
	}
	return fooled, nil
}

// search goes on by branch and bound until limited ends. The proof is taken down in r, if
// that is not nil.
func (c *Completion) search(ctx, limited context.Context, ball net.Ball, x []float32, label int, r *branch.Record) (Answer, float32, error) {
	found := false
	p := newBallPoints(c, ball, x)
	o := c.o.Branch
	o.Record = r
	o.Point = func(at []float32) bool {
		found = found || p.fools(at, label)
		return found
	}
	property := net.LabelProperty(c.net.Classes(), label)
	res, err := branch.Prove(limited, c.v, verify.Around(ball, x), property, o)
	switch {
	case err != nil:
		return Undecided, res.Low, err
	case found:
		return Violated, res.Low, nil
	case res.Proved:
		return Holds, res.Low, nil
	}
	return Undecided, res.Low, ctx.Err()
}

// ProofMethods lists the names that ParseProofMethod knows: those of package verify, and bab.
func ProofMethods() []string { return append(verify.Methods(), verify.MethodBaB.String()) }

// ParseProofMethod returns the method of the given name.
func ParseProofMethod(name string) (verify.Method, error) {
	if i := slices.Index(ProofMethods(), name); i >= 0 {
		return verify.Method(i), nil
	}
	return 0, fmt.Errorf("method %q: want one of %s", name, strings.Join(ProofMethods(), ", "))
}

// ballPoints executes the network at points of a ball.
type ballPoints struct {
	c      *Completion
	ball   net.Ball
	centre []float32
	lo, hi []float32 // the float32 of the box around it
	x, z   []float32
}

func newBallPoints(c *Completion, ball net.Ball, centre []float32) *ballPoints {
	n := len(centre)
	p := &ballPoints{c: c, ball: ball, centre: centre, lo: make([]float32, n), hi: make([]float32, n), x: make([]float32, n), z: make([]float32, c.net.Classes())}
	box := ball.Box()
	box.Inner(p.lo, p.hi, centre)
	return p
}

// fools reports whether the point of the ball near the input at of the first node is
// misclassified.
func (p *ballPoints) fools(at []float32, label int) bool {
	p.c.run.nearest(p.x, at, p.lo, p.hi)
	if p.ball.Norm != net.Linf && !p.pull() || !p.ball.Contains(p.centre, p.x) {
		return false
	}
	p.c.run.run(p.z, p.x)
	return net.Argmax(p.z) != label
}

// pull moves x towards the centre until it lies in the ball.
func (p *ballPoints) pull() bool {
	for range 4 {
		if p.ball.Contains(p.centre, p.x) {
			return true
		}
		length := 0.0
		for k, v := range p.x {
			d := math.Abs(float64(v) - float64(p.centre[k]))
			if p.ball.Norm == net.L2 {
				d *= d
			}
			length += d
		}
		if p.ball.Norm == net.L2 {
			length = math.Sqrt(length)
		}
		s := float32(p.ball.Eps.Float64() / length * (1 - 1e-6))
		for k, v := range p.x {
			p.x[k] = p.centre[k] + float32(s*(v-p.centre[k]))
		}
	}
	return false
}
