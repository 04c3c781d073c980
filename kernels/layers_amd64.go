//go:build !purego

package kernels

func (i *ISA) layerKernels() *layerSet { return &genericLayers }
