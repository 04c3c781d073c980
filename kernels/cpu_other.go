//go:build !amd64 || purego

package kernels

func sizeOfL2() int { return 0 }
