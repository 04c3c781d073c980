package kernels

import "sync"

// l2Cache is the size in bytes of the L2 cache of one core, a typical one where the
// CPU does not tell. It steers speed alone, no result. It is asked for when the first
// plan is made: in a virtual machine the question takes as long as a small network.
func l2Cache() int {
	l2.once.Do(func() {
		if l2.size = cacheOfCore(); l2.size < 64<<10 {
			l2.size = 512 << 10
		}
	})
	return l2.size
}

var l2 struct {
	once sync.Once
	size int
}

// tilesInCache returns how many tiles of weights of the given size stay in the L2
// cache while a sweep goes from pixel to pixel, perhaps 0.
func tilesInCache(bytes int) int { return l2Cache() / 4 / bytes }
