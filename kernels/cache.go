package kernels

// l2Cache is the size in bytes of the L2 cache of one core, a typical one where the
// CPU does not tell. It steers speed alone, no result.
var l2Cache = func() int {
	if n := sizeOfL2(); n >= 64<<10 {
		return n
	}
	return 512 << 10
}()

// tilesInCache returns how many tiles of weights of the given size stay in the L2
// cache while a sweep goes from pixel to pixel, perhaps 0.
func tilesInCache(bytes int) int { return l2Cache / 4 / bytes }
