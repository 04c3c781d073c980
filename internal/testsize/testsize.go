// Package testsize says how much work a test is to do: all of it, or a part where it would take
// minutes.
package testsize

import (
	"testing"

	"github.com/epsball/epsball/kernels"
)

// Small reports whether tests are to do a part of their work: with -short, and where the pure
// Go kernels are the only ones, which are up to three orders of magnitude slower.
func Small() bool { return testing.Short() || len(kernels.Available()) == 1 }

// Of returns all, or where tests are Small part.
func Of(all, part int) int {
	if Small() {
		return part
	}
	return all
}
