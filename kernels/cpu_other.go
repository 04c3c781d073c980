//go:build !amd64 || purego

package kernels

// cacheOfCore does not know.
func cacheOfCore() int { return 0 }
