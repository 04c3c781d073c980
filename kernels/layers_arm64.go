//go:build !purego

package kernels

import "github.com/epsball/epsball/asm"

func (i *ISA) layerKernels() *layerSet {
	if i.name == generic.name {
		return &genericLayers
	}
	return &neonLayers
}

var neonLayers = layerSet{
	depth:    [2]func(*asm.TapsArgs){asm.DepthValuesNEON, asm.DepthLanesNEON},
	depthRow: [2]func(*asm.TapsArgs){asm.DepthRowValuesNEON, asm.DepthRowLanesNEON},
	depthGrad: [depthGradTaps + 1][depthGradVecs + 1]func(*asm.TapsArgs){
		1: {1: asm.DepthGrad1x1NEON, 4: asm.DepthGrad1x4NEON},
		3: {1: asm.DepthGrad3x1NEON, 4: asm.DepthGrad3x4NEON},
	},
	poolMax:     asm.PoolMaxNEON,
	poolSum:     asm.PoolSumNEON,
	poolMaxGrad: asm.PoolMaxGradNEON,
	poolSumGrad: asm.PoolSumGradNEON,
	clip:        asm.ClipNEON,
	clipGrad:    asm.ClipGradNEON,
	leaky:       asm.LeakyNEON,
	gate:        asm.GateNEON,
	sigmoid:     asm.SigmoidNEON,
	tanh:        asm.TanhNEON,
	sigmoidGrad: asm.SigmoidGradNEON,
	tanhGrad:    asm.TanhGradNEON,
}
