package audit

import (
	"context"
	"math"
	"slices"

	"github.com/epsball/epsball/attack"
	"github.com/epsball/epsball/kernels"
	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// WithProofs returns c with Proofs, if its method has a stage for them and the target is a
// *net.Network: others have no proofs.
func WithProofs(t attack.Target, pool *kernels.Pool, c attack.Config) (attack.Config, error) {
	m, ok := c.Method.(interface {
		Stages(net.Norm) []attack.CascadeStage
	})
	n, network := t.(*net.Network)
	if !ok || !network || c.Prove != nil || !slices.ContainsFunc(m.Stages(c.Ball.Norm), func(s attack.CascadeStage) bool { return s.Method == nil }) {
		return c, nil
	}
	var err error
	_, costly := c.Method.(attack.Auto)
	c.Prove, err = Proofs(n, pool, costly)
	return c, err
}

// Proofs returns the Config.Prove of attacks on n, in any ball: images that it marks are
// certified, so that an attack on them would be in vain. It climbs the ladder of bounds
// while that looks cheaper than the attack: CROWN is tried only where the gap between
// CROWN-IBP and the lowest margin found so far is not large. Where the attack to come is
// costly, CROWN is tried on all images, and α-CROWN where that gap is small after CROWN.
// In a norm that has no bounds, nothing is proved.
//
// What it says of an image depends on that image alone.
func Proofs(n *net.Network, pool *kernels.Pool, costly bool) (func(ctx context.Context, ball net.Ball, b attack.Batch, res *attack.Result, images []int, proofs []attack.Proof) error, error) {
	v, err := verify.New(n, pool)
	if err != nil {
		return nil, err
	}
	v.JoinBalls()
	p := &prover{v: v, size: n.Input().Size(), costly: costly}
	return p.prove, nil
}

type prover struct {
	v      *verify.Verifier
	size   int
	costly bool
	x      []float32 // of the images that are left
	y      []int
	at     []int // their places in proved
	res    verify.Result
}

// nearly is how far below zero the bound of intervals may lie, in units of the lowest margin
// found, for an image to be nearly proved.
const nearly = 30

// hopeful says for each rung how far below zero its bound may lie, in units of the lowest
// margin found, for the next rung to be worth its time.
func (p *prover) hopeful(m verify.Method) float32 {
	switch {
	case m == verify.MethodIBP || p.costly && m == verify.MethodCROWNIBP:
		return float32(math.Inf(1))
	case m == verify.MethodCROWNIBP:
		return 2
	case p.costly && m == verify.MethodCROWN:
		return 0.25
	}
	return 0
}

func (p *prover) prove(ctx context.Context, ball net.Ball, b attack.Batch, found *attack.Result, images []int, proofs []attack.Proof) error {
	if ball.Norm == net.L0 {
		return nil
	}
	p.x, p.y, p.at = p.x[:0], p.y[:0], p.at[:0]
	for k, i := range images {
		p.x, p.y, p.at = append(p.x, b.X[i*p.size:(i+1)*p.size]...), append(p.y, b.Y[i]), append(p.at, k)
	}
	for m := verify.MethodIBP; m <= verify.MethodAlphaCROWN && len(p.at) > 0; m++ {
		err := p.v.CertifyRungs(ctx, verify.Options{Method: m, Ladder: true}, ball, verify.Batch{X: p.x, Y: p.y}, &p.res)
		if err != nil {
			return err
		}
		left := 0
		for k, at := range p.at {
			if p.res.Done[k] && p.res.Certified[k] {
				proofs[at] = attack.Proved
				continue
			}
			if m == verify.MethodIBP && p.res.Margin[k] > -nearly*found.Margin[images[at]] {
				proofs[at] = attack.NearlyProved
			}
			if share := p.hopeful(m); !(p.res.Margin[k] > -share*found.Margin[images[at]]) && !math.IsInf(float64(share), 1) {
				continue
			}
			copy(p.x[left*p.size:], p.x[k*p.size:(k+1)*p.size])
			p.y[left], p.at[left] = p.y[k], at
			left++
		}
		p.x, p.y, p.at = p.x[:left*p.size], p.y[:left], p.at[:left]
	}
	return nil
}
