package attack

import (
	"context"

	"github.com/epsball/epsball/kernels"
)

// Whole is a Method that has no rule for single images: it attacks a batch as a whole,
// such as a cascade of other methods. An Attacker checks the batch and leaves the rest
// to its Run.
type Whole interface {
	Method
	NewRun(t Target, c Config, pool *kernels.Pool) (Run, error)
}

// Run attacks batches for one Attacker. Results have the size of the batch, and the
// images as Adv, when it is called.
type Run interface {
	Run(ctx context.Context, b Batch, res *Result) error
}
