package attack

import (
	"context"
	"errors"
	"fmt"

	"github.com/epsball/epsball/net"
)

// Config is an attack and the ball in which it is run.
type Config struct {
	Ball   net.Ball
	Method Method

	// EOT is the number of draws that a step averages if the target draws random numbers
	// (expectation over transformation: Athalye et al. 2018); 0: 1. The rule sees the
	// mean of the logits and the gradient of its loss there. That mean also decides what
	// is misclassified.
	EOT int

	// Lattice is the number of bits of a picture's values, 8, or 0 for none. Only points
	// whose pixels are multiples of 1/(2^bits − 1) are then evaluated and returned, but
	// for the images themselves.
	Lattice int

	// Recheck checks all points again when the batch is done: each must lie in the ball,
	// in exact arithmetic, and a separate forward pass must give the label and the margin
	// of the result. Run fails otherwise. It costs a forward pass, and allocates.
	Recheck bool

	// Prove, if not nil, looks for proofs that images withstand any attack in a ball,
	// and sets proofs[k] for image images[k] of the batch; res holds what was found so
	// far. Cascades with a stage for it call it, and do not attack those images any more.
	Prove func(ctx context.Context, ball net.Ball, b Batch, res *Result, images []int, proofs []Proof) error

	// Progress, if not nil, is called after each finished image with the
	// number finished so far, from any goroutine.
	Progress func(done int)
}

// Validate names the first field that makes no sense for a network with that number of
// classes.
func (c *Config) Validate(classes int) error {
	if err := c.Ball.Validate(); err != nil {
		return err
	}
	if c.EOT < 0 || c.EOT > maxCount {
		return fmt.Errorf("eot: %d draws, want 0 … %d", c.EOT, maxCount)
	}
	if err := checkLattice(c.Lattice); err != nil {
		return err
	}
	if c.Method == nil {
		return errors.New("method: none, want one such as PGD{}")
	}
	if err := c.Method.Validate(c.Ball, classes); err != nil {
		return fmt.Errorf("%s: %w", c.Method.Name(), err)
	}
	return nil
}
