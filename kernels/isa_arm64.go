//go:build !purego

package kernels

import "github.com/epsball/epsball/asm"

// Every arm64 CPU that Go runs on has ASIMD.
var available = []*ISA{neon, generic}

var neon = &ISA{
	name: "neon",
	conv: [5]convSet{
		4: {[9]func(*asm.ConvArgs){1: asm.Conv4x1NEON, 2: asm.Conv4x2NEON, 3: asm.Conv4x3NEON}, []int{0, 1, 2, 3, 2, 3}},
		3: {[9]func(*asm.ConvArgs){4: asm.Conv3x4NEON}, []int{4}},
		2: {[9]func(*asm.ConvArgs){6: asm.Conv2x6NEON}, []int{6}},
		1: {[9]func(*asm.ConvArgs){8: asm.Conv1x8NEON}, []int{8}},
	},
	convPair: asm.Conv8x1NEON,
	small: [9][5]func(*asm.ConvArgs){
		8: {1: asm.Small8x1NEON},
		6: {2: asm.Small6x2NEON},
		3: {2: asm.Small3x2NEON},
		2: {2: asm.Small2x2NEON},
		1: {2: asm.Small1x2NEON, 4: asm.Small1x4NEON},
	},
	both: [9][5]func(*asm.ConvArgs){
		8: {1: asm.Both8x1NEON},
		6: {2: asm.Both6x2NEON},
		4: {2: asm.Both4x2NEON},
		2: {2: asm.Both2x2NEON, 4: asm.Both2x4NEON},
	},
	small16: [2]smallSet{
		{
			8: {1: asm.Small8x1BF16NEON},
			6: {2: asm.Small6x2BF16NEON},
			3: {2: asm.Small3x2BF16NEON},
			2: {2: asm.Small2x2BF16NEON},
			1: {2: asm.Small1x2BF16NEON, 4: asm.Small1x4BF16NEON},
		},
		{
			8: {1: asm.Small8x1F16NEON},
			6: {2: asm.Small6x2F16NEON},
			3: {2: asm.Small3x2F16NEON},
			2: {2: asm.Small2x2F16NEON},
			1: {2: asm.Small1x2F16NEON, 4: asm.Small1x4F16NEON},
		},
	},
	both16: [2]smallSet{
		{
			8: {1: asm.Both8x1BF16NEON},
			6: {2: asm.Both6x2BF16NEON},
			4: {2: asm.Both4x2BF16NEON},
			2: {2: asm.Both2x2BF16NEON, 4: asm.Both2x4BF16NEON},
		},
		{
			8: {1: asm.Both8x1F16NEON},
			6: {2: asm.Both6x2F16NEON},
			4: {2: asm.Both4x2F16NEON},
			2: {2: asm.Both2x2F16NEON, 4: asm.Both2x4F16NEON},
		},
	},
	winogradIn: asm.WinogradInNEON, winogradOut: asm.WinogradOutNEON,
	pgdStep:     asm.PGDStepNEON,
	selectMask:  asm.SelectLanesNEON,
	affine:      asm.IntervalAffineNEON,
	box:         asm.IntervalBoxNEON,
	boxEnd:      asm.BoxEndNEON,
	pause:       asm.PauseNEON,
	adamStep:    asm.AdamStepNEON,
	transpose4:  asm.Transpose4NEON,
	dealRows:    asm.DealRowsNEON,
	gatherRows:  asm.GatherRowsNEON,
	gatherLanes: asm.GatherLanesNEON,
	relax:       asm.RelaxNEON,
	relaxLanes:  asm.RelaxLanesNEON,
	relaxEach:   asm.RelaxEachNEON,
	climbSlopes: asm.ClimbSlopesNEON,
	add:         asm.AddNEON,
	addGate:     asm.AddGateNEON,
	boxAdd:      asm.IntervalAddNEON,
	peakFMA:     asm.PeakFMANEON,
	readMemory:  asm.ReadMemoryNEON,
	sparse:      [asm.SparseGroups + 1]func(*asm.SparseArgs){1: asm.Sparse1NEON, 2: asm.Sparse2NEON, 3: asm.Sparse3NEON},
}

// nativePlanes returns the kernels of planes of a set; nil: those of the generic one.
func nativePlanes(i *ISA) (back, ahead func(*asm.PlanesArgs)) {
	if i == generic {
		return nil, nil
	}
	return asm.PlanesBackNEON, asm.PlanesAheadNEON
}

// nativeGrads returns the gradient kernels of a set; nil: those of the generic one.
func nativeGrads(i *ISA) *gradSet {
	if i.name == "neon" {
		return &neonGrads
	}
	return nil
}

var neonGrads = gradSet{
	kernels: [5][gradWeights + 1]func(*asm.GradArgs){
		4: {1: asm.Grad4x1NEON, 2: asm.Grad4x2NEON, 3: asm.Grad4x3NEON},
		3: {1: asm.Grad3x1NEON, 2: asm.Grad3x2NEON, 3: asm.Grad3x3NEON},
		2: {1: asm.Grad2x1NEON, 2: asm.Grad2x2NEON, 3: asm.Grad2x3NEON},
		1: {1: asm.Grad1x1NEON, 2: asm.Grad1x2NEON, 3: asm.Grad1x3NEON},
	},
	weights: narrowWeights,
}

// nativeNoise: there is no kernel of noise.
func nativeNoise(*ISA) func(*asm.NoiseArgs) { return nil }
