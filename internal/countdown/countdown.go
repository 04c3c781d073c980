// Package countdown has a context for tests of what is interrupted: in the middle of
// something, whatever the speed of the machine.
package countdown

import (
	"context"
	"sync/atomic"
)

// Context is cancelled by a look at its Err.
type Context struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

// New returns a context that is cancelled when its Err has been looked at n times before.
func New(n int64) *Context {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Context{Context: ctx, cancel: cancel}
	c.left.Store(n)
	return c
}

func (c *Context) Err() error {
	if c.left.Add(-1) < 0 {
		c.cancel()
	}
	return c.Context.Err()
}
