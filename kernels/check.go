package kernels

import (
	"fmt"
	"math"
)

// A panic here is a bug of the caller inside this module: users' input is
// checked, with errors, before it comes this far.

// Inlined, it would add 2 KB to a program.
//
//go:noinline
func mustLen(what string, have, want int) {
	if have != want {
		wrongLength(what, "want", have, want)
	}
}

func mustFit(what string, have, need int) int {
	if have < need {
		wrongLength(what, "need", have, need)
	}
	return need
}

// wrongLength is not inlined where lengths are checked.
//
//go:noinline
func wrongLength(what, verb string, have, other int) {
	panic(fmt.Sprintf("kernels: %s: %d values, %s %d", what, have, verb, other))
}

func float32Mask(abs bool) uint32 {
	if abs {
		return 1<<31 - 1
	}
	return math.MaxUint32
}

func maskFloat32(v float32, mask uint32) float32 {
	return math.Float32frombits(math.Float32bits(v) & mask)
}
