//go:build !purego

package kernels

import "github.com/epsball/epsball/asm"

func (i *ISA) layerKernels() *layerSet {
	if i.name == generic.name {
		return &genericLayers
	}
	return &avx2Layers
}

// avx2Layers serve AVX-512 too: memory bounds them.
var avx2Layers = layerSet{
	depth:    [2]func(*asm.TapsArgs){asm.DepthValuesAVX2, asm.DepthLanesAVX2},
	depthRow: [2]func(*asm.TapsArgs){asm.DepthRowValuesAVX2, asm.DepthRowLanesAVX2},
	depthGrad: [depthGradTaps + 1][depthGradVecs + 1]func(*asm.TapsArgs){
		1: {1: asm.DepthGrad1x1AVX2, 4: asm.DepthGrad1x4AVX2},
		3: {1: asm.DepthGrad3x1AVX2, 4: asm.DepthGrad3x4AVX2},
	},
	poolMax:     asm.PoolMaxAVX2,
	poolSum:     asm.PoolSumAVX2,
	poolMaxGrad: asm.PoolMaxGradAVX2,
	poolSumGrad: asm.PoolSumGradAVX2,
	clip:        asm.ClipAVX2,
	clipGrad:    asm.ClipGradAVX2,
	leaky:       asm.LeakyAVX2,
	gate:        asm.GateAVX2,
	sigmoid:     asm.SigmoidAVX2,
	tanh:        asm.TanhAVX2,
	sigmoidGrad: asm.SigmoidGradAVX2,
	tanhGrad:    asm.TanhGradAVX2,
}
