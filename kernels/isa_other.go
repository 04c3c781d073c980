//go:build !amd64 || purego

package kernels

var available = []*ISA{generic}
