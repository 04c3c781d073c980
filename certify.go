package epsball

import (
	"context"
	"fmt"

	"github.com/epsball/epsball/net"
	"github.com/epsball/epsball/verify"
)

// Bound is a way to prove robustness.
type Bound = verify.Method

// The ways to prove, the cheaper and looser first; each includes those before it,
// which are tried first. All are sound in float32 (docs/verification.md).
const (
	IBP        = verify.MethodIBP        // interval bound propagation
	CROWNIBP   = verify.MethodCROWNIBP   // intervals, and linear bounds of the margins
	CROWN      = verify.MethodCROWN      // linear bounds of every neuron that is not stable
	AlphaCROWN = verify.MethodAlphaCROWN // the same with optimised slopes
)

// ParseBound reads the name of a bound: "ibp", "crown-ibp", "crown" or "alpha-crown".
func ParseBound(name string) (Bound, error) { return verify.ParseMethod(name) }

// Certificate is the outcome of Certify, one entry an image.
type Certificate struct {
	Robust []bool    // proved: no image of the ball is classified other than its label says
	Margin []float32 // proved lower bound of the label's lead in logits; −Inf if none

	result verify.Result
}

// Certify tries to prove that the model classifies every image of the ball around
// each image of x as its label says, in exact arithmetic and as executed in float32.
func (m *Model) Certify(ctx context.Context, x Batch, b Ball, how Bound) (*Certificate, error) {
	c := new(Certificate)
	if err := m.CertifyInto(ctx, x, b, how, c); err != nil {
		return nil, err
	}
	return c, nil
}

// CertifyInto is Certify into memory that is used again. From the second call on with a
// c for as many images, it allocates nothing.
func (m *Model) CertifyInto(ctx context.Context, x Batch, b Ball, how Bound, c *Certificate) error {
	if err := m.check(x, b); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, o, err := m.prove(how, b)
	if err != nil {
		return err
	}
	err = v.Certify(ctx, o, b.ball, x, &c.result)
	c.Robust, c.Margin = c.result.Certified, c.result.Margin
	return err
}

// Radii is the outcome of Radius, one entry an image.
type Radii struct {
	// Steps is the proved radius in steps: the ball step.Times(Steps[i]) is proved.
	// It is −1 where not even the image alone is.
	Steps  []int
	Eps    []string  // the same radius, exactly, as ParseBall reads it; "none" for −1
	Radius []float64 // the same radius, rounded down; 0 for −1
}

// Radius finds how far each image of x is proved to keep its label: the largest
// multiple of the ball step, up to limit of them, that Certify proves. A limit of 0
// means up to the largest distance between two images. Nothing is said about larger
// radii: a tighter bound may prove more. With the predicted labels, the result is the ε
// up to which these very predictions hold.
func (m *Model) Radius(ctx context.Context, x Batch, step Ball, limit int, how Bound) (*Radii, error) {
	if err := m.check(x, step); err != nil {
		return nil, err
	}
	largest, err := m.largest(step.ball, limit)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, o, err := m.prove(how, step)
	if err != nil {
		return nil, err
	}
	var r verify.RadiusResult
	if err := v.Radius(ctx, o, step.ball.Norm, step.ball.Eps, largest, x, &r); err != nil {
		return nil, err
	}
	eps := make([]string, len(x.Y))
	for i, k := range r.Steps {
		if eps[i] = "none"; k >= 0 {
			eps[i] = step.Times(k).Eps()
		}
	}
	return &Radii{r.Steps, eps, r.Radius}, nil
}

// largest returns the radius after limit steps, or where a search without limit ends.
func (m *Model) largest(step net.Ball, limit int) (net.Epsilon, error) {
	switch {
	case limit < 0:
		return net.Epsilon{}, fmt.Errorf("limit: %d steps, want at least 1, or 0 for all", limit)
	case limit > 0:
		return step.Eps.Times(limit), nil
	}
	return step.Norm.Largest(m.net.Input().Size()).Eps, nil
}

// prove returns the verifier, which is made when the first proof is asked for, and the
// options of a bound.
func (m *Model) prove(how Bound, b Ball) (*verify.Verifier, verify.Options, error) {
	o := verify.Options{Method: how, Ladder: true}
	if how < IBP || how > AlphaCROWN {
		return nil, o, fmt.Errorf("bound %d: want IBP, CROWNIBP, CROWN or AlphaCROWN", how)
	}
	if m.verifier == nil {
		v, err := verify.New(m.net, m.pool)
		if err != nil {
			return nil, o, err
		}
		m.verifier = v
	}
	if b.more != nil {
		b.more.of(m.verifier)
	}
	return m.verifier, o, nil
}
