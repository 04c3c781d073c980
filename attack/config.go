package attack

import (
	"errors"
	"fmt"

	"github.com/epsball/epsball/net"
)

// Config is an attack and the ball in which it is run.
type Config struct {
	Ball   net.Ball
	Method Method

	// Recheck checks all points again when the batch is done: each must lie in the ball,
	// in exact arithmetic, and a separate forward pass must give the label and the margin
	// of the result. Run fails otherwise. It costs a forward pass, and allocates.
	Recheck bool

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
	if c.Method == nil {
		return errors.New("method: none, want one such as PGD{}")
	}
	if err := c.Method.Validate(c.Ball, classes); err != nil {
		return fmt.Errorf("%s: %w", c.Method.Name(), err)
	}
	return nil
}
