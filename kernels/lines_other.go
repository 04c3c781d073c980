//go:build (!amd64 && !arm64) || purego

package kernels

func (i *ISA) lineKernels() *lineSet { return &genericLines }
