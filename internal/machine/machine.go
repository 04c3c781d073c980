// Package machine says what a machine is and what it can do: its CPU and caches,
// the peak of its multiply-adds, the bandwidth of each level of its memory. It
// also confines the process to some CPUs and reports who else uses them.
package machine

import (
	"runtime"
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// CPUName is the brand of the CPU, or what is known instead.
func CPUName() string {
	if s := strings.TrimSpace(cpuid.CPU.BrandName); s != "" {
		return s
	}
	return "unknown " + runtime.GOARCH
}

// Cache is a data cache of one core.
type Cache struct {
	Level string // L1, L2 or L3
	Bytes int
}

// Caches lists the data caches of one core whose size is known, from the smallest
// on.
func Caches() []Cache {
	c := cpuid.CPU.Cache
	list := []Cache{}
	for _, l := range []Cache{{"L1", c.L1D}, {"L2", c.L2}, {"L3", c.L3}} {
		if l.Bytes > 0 {
			list = append(list, l)
		}
	}
	return list
}
