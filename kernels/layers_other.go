//go:build (!amd64 && !arm64) || purego

package kernels

func (i *ISA) layerKernels() *layerSet { return &genericLayers }
