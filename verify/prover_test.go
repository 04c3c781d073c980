package verify

import (
	"context"

	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
)

// prover is a verifier whose calls all have the same options.
type prover struct {
	*Verifier
	o    Options
	rows bool // Bounds are those of linear bounds even where intervals alone are asked for
}

func newProver(n *net.Network, pool *kernels.Pool, o Options) (*prover, error) {
	v, err := New(n, pool)
	if err != nil {
		return nil, err
	}
	return &prover{v, o, true}, v.Prepare(o)
}

// newIntervals is newProver for intervals alone.
func newIntervals(n *net.Network, pool *kernels.Pool) (*prover, error) {
	v, err := New(n, pool)
	if err == nil && v.outputs > 1 {
		err = v.Prepare(Options{})
	}
	return &prover{Verifier: v}, err
}

func (p *prover) compiled() *net.Network { return p.net }

func (p *prover) Certify(ctx context.Context, ball net.Ball, b Batch, res *Result) error {
	return p.Verifier.Certify(ctx, p.o, ball, b, res)
}

func (p *prover) CertifyRung(ctx context.Context, m Method, ball net.Ball, b Batch, res *Result) error {
	o := p.o
	o.Method = m
	return p.Verifier.CertifyRung(ctx, o, ball, b, res)
}

func (p *prover) Radius(ctx context.Context, norm net.Norm, resolution, most net.Epsilon, b Batch, res *RadiusResult) error {
	return p.Verifier.Radius(ctx, p.o, norm, resolution, most, b, res)
}

func (p *prover) intervalRadius(ctx context.Context, norm net.Norm, resolution, most net.Epsilon, b Batch, res *RadiusResult) error {
	return p.Verifier.Radius(ctx, Options{}, norm, resolution, most, b, res)
}

func (p *prover) Prove(ctx context.Context, ball net.Ball, x []float32, y int) (*Proof, error) {
	return p.Verifier.Prove(ctx, p.o, Around(ball, x), y)
}

func (p *prover) Bounds(ball net.Ball, x []float32, y int) ([]Interval, []float32, error) {
	if !p.rows {
		return p.Verifier.Bounds(context.Background(), p.o, Around(ball, x), y)
	}
	c, err := p.begin(context.Background(), &p.o)
	if err != nil {
		return nil, nil, err
	}
	defer c.end()
	if err := c.areas([]Region{Around(ball, x)}, []int{y}); err != nil {
		return nil, nil, err
	}
	return c.linearBounds()
}

// attempted bounds the rows of a goal over the ball around x by m.
func (w *linearWorker) attempted(m Method, ball net.Ball, x []float32, s goal, pure bool, low []float32) {
	a := area{norm: ball.Norm, box: ball.Box(), centre: x}
	w.load(&a)
	w.attempt(&attempt{goal: s, backward: m >= MethodCROWN, intervals: m == MethodIBP, pure: pure}, low)
}

// intervalOf returns the bounds of node i.
func (w *linearWorker) intervalOf(i int) Interval {
	return channelsFirst(w.g.maps[i+1], w.lo[i], w.hi[i])
}
