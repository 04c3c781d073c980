package kernels

import "github.com/klauspost/cpuid/v2"

// caches holds the size in bytes of the L2 cache of one core, a typical one where
// the CPU does not tell. It steers speed alone, no result.
var caches = func() (c struct{ l2 int }) {
	c.l2 = 512 << 10
	if n := cpuid.CPU.Cache.L2; n >= 64<<10 {
		c.l2 = n
	}
	return c
}()
