package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// layerSet are the kernels of pooling, depthwise convolutions and activations other than
// ReLU. They are not part of ISA, which every program links.
type layerSet struct {
	depth, depthRow          [2]func(*asm.TapsArgs)                                    // for single images, for lane groups
	depthGrad                [depthGradTaps + 1][depthGradVecs + 1]func(*asm.TapsArgs) // by taps, vectors
	poolMax, poolSum         func(*asm.TapsArgs)
	poolMaxGrad, poolSumGrad func(*asm.TapsArgs)

	clip                  func(dst, src unsafe.Pointer, n int, lo, hi float32)
	clipGrad              func(dst, dy, x unsafe.Pointer, n int, lo, hi float32)
	leaky                 func(dst, src, x, slope unsafe.Pointer, n int)
	gate                  func(dst, src, gate unsafe.Pointer, n int)
	sigmoid, tanh         func(dst, src unsafe.Pointer, n int, table unsafe.Pointer)
	sigmoidGrad, tanhGrad func(dst, dy, y unsafe.Pointer, n int)
}

var genericLayers = layerSet{
	depth:    [2]func(*asm.TapsArgs){genericDepthValues, genericDepthLanes},
	depthRow: [2]func(*asm.TapsArgs){genericDepthValues, genericDepthLanes},
	depthGrad: [depthGradTaps + 1][depthGradVecs + 1]func(*asm.TapsArgs){
		1: {1: func(a *asm.TapsArgs) { genericDepthGrad(a, 1, 1) }, 4: func(a *asm.TapsArgs) { genericDepthGrad(a, 1, 4) }},
		3: {1: func(a *asm.TapsArgs) { genericDepthGrad(a, 3, 1) }, 4: func(a *asm.TapsArgs) { genericDepthGrad(a, 3, 4) }},
	},
	poolMax:     genericPoolMax,
	poolSum:     genericPoolSum,
	poolMaxGrad: genericPoolMaxGrad,
	poolSumGrad: genericPoolSumGrad,
	clip:        genericClip,
	clipGrad:    genericClipGrad,
	leaky:       genericLeaky,
	gate:        genericGate,
	sigmoid:     genericSigmoid,
	tanh:        genericTanh,
	sigmoidGrad: genericSigmoidGrad,
	tanhGrad:    genericTanhGrad,
}
