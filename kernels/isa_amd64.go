//go:build !purego

package kernels

import (
	"golang.org/x/sys/cpu"

	"github.com/epsball/epsball/asm"
)

var available = func() []*ISA {
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return []*ISA{generic}
	}
	if !cpu.X86.HasF16C { // no CPU is known to lack it
		for _, i := range []*ISA{avx2, avx512} {
			i.small16[Float16-1], i.both16[Float16-1] = smallSet{}, smallSet{}
		}
	}
	if x := &cpu.X86; !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512DQ || !x.HasAVX512VL {
		return []*ISA{avx2, generic}
	}
	return []*ISA{avx512, avx2, generic}
}()

var avx2 = &ISA{
	name: "avx2",
	conv: [5]convSet{
		4: {[9]func(*asm.ConvArgs){1: asm.Conv4x1AVX2, 2: asm.Conv4x2AVX2, 3: asm.Conv4x3AVX2}, []int{0, 1, 2, 3, 2, 3}},
		3: {[9]func(*asm.ConvArgs){4: asm.Conv3x4AVX2}, []int{4}},
		2: {[9]func(*asm.ConvArgs){6: asm.Conv2x6AVX2}, []int{6}},
		1: {[9]func(*asm.ConvArgs){8: asm.Conv1x8AVX2}, []int{8}},
	},
	convPair: asm.Conv8x1AVX2,
	small: [9][5]func(*asm.ConvArgs){
		8: {1: asm.Small8x1AVX2},
		6: {2: asm.Small6x2AVX2},
		3: {2: asm.Small3x2AVX2},
		2: {2: asm.Small2x2AVX2},
		1: {2: asm.Small1x2AVX2, 4: asm.Small1x4AVX2},
	},
	both: [9][5]func(*asm.ConvArgs){
		8: {1: asm.Both8x1AVX2},
		6: {2: asm.Both6x2AVX2},
		4: {2: asm.Both4x2AVX2},
		2: {2: asm.Both2x2AVX2, 4: asm.Both2x4AVX2},
	},
	small16: [2]smallSet{
		{
			8: {1: asm.Small8x1BF16AVX2},
			6: {2: asm.Small6x2BF16AVX2},
			3: {2: asm.Small3x2BF16AVX2},
			2: {2: asm.Small2x2BF16AVX2},
			1: {2: asm.Small1x2BF16AVX2, 4: asm.Small1x4BF16AVX2},
		},
		{
			8: {1: asm.Small8x1F16AVX2},
			6: {2: asm.Small6x2F16AVX2},
			3: {2: asm.Small3x2F16AVX2},
			2: {2: asm.Small2x2F16AVX2},
			1: {2: asm.Small1x2F16AVX2, 4: asm.Small1x4F16AVX2},
		},
	},
	both16: [2]smallSet{
		{
			8: {1: asm.Both8x1BF16AVX2},
			6: {2: asm.Both6x2BF16AVX2},
			4: {2: asm.Both4x2BF16AVX2},
			2: {2: asm.Both2x2BF16AVX2, 4: asm.Both2x4BF16AVX2},
		},
		{
			8: {1: asm.Both8x1F16AVX2},
			6: {2: asm.Both6x2F16AVX2},
			4: {2: asm.Both4x2F16AVX2},
			2: {2: asm.Both2x2F16AVX2, 4: asm.Both2x4F16AVX2},
		},
	},
	winogradIn: asm.WinogradInAVX2, winogradOut: asm.WinogradOutAVX2,
	pgdStep:     asm.PGDStepAVX2,
	selectMask:  asm.SelectLanesAVX2,
	affine:      asm.IntervalAffineAVX2,
	box:         asm.IntervalBoxAVX2,
	boxEnd:      asm.BoxEndAVX2,
	pause:       asm.PauseAVX2,
	adamStep:    asm.AdamStepAVX2,
	transpose4:  asm.Transpose4AVX2,
	dealRows:    asm.DealRowsAVX2,
	gatherRows:  asm.GatherRowsAVX2,
	gatherLanes: asm.GatherLanesAVX2,
	relax:       asm.RelaxAVX2,
	relaxLanes:  asm.RelaxLanesAVX2,
	relaxEach:   asm.RelaxEachAVX2,
	climbSlopes: asm.ClimbSlopesAVX2,
	add:         asm.AddAVX2,
	addGate:     asm.AddGateAVX2,
	boxAdd:      asm.IntervalAddAVX2,
	peakFMA:     asm.PeakFMAAVX2,
	readMemory:  asm.ReadMemoryAVX2,
	sparse:      [asm.SparseGroups + 1]func(*asm.SparseArgs){1: asm.Sparse1AVX2, 2: asm.Sparse2AVX2, 3: asm.Sparse3AVX2},
}

var avx512 = newAVX512(!doublePumped())

// newAVX512 keeps AVX2's kernels where nothing is to be gained: one channel
// alone, the gradients of the last channels and weights, what memory bounds;
// unless wide, all convolutions.
func newAVX512(wide bool) *ISA {
	i := *avx2
	i.name = "avx512"
	if wide {
		i.conv[4], i.conv[3] = conv512[0], conv512[1]
		i.joined = &joined512
		i.sparse[3], i.sparse[4], i.sparse[5] = asm.Sparse3AVX512, asm.Sparse4AVX512, asm.Sparse5AVX512
	}
	i.peakFMA, i.readMemory = asm.PeakFMAAVX512, asm.ReadMemoryAVX512
	return &i
}

// conv512, of four channels and of three, pays where a 512-bit FMA takes no longer than a 256-bit one.
//
// A step of 4x8 takes 9 cycles, for two shuffles take the place of FMAs, one of AVX2's 4xP
// two for each pixel.
var conv512 = [2]convSet{
	{
		[9]func(*asm.ConvArgs){1: asm.Conv4x1AVX2, 2: asm.Conv4x2AVX2, 3: asm.Conv4x3AVX2, 8: asm.Conv4x8AVX512},
		[]int{0, 1, 2, 3, 2, 8, 8, 8, 8},
	},
	{[9]func(*asm.ConvArgs){4: asm.Conv3x4AVX2, 8: asm.Conv3x8AVX512}, []int{4, 4, 4, 4, 4, 8}},
}

// joined512 need no shuffles.
var joined512 = joinedSet{
	convSet{
		[9]func(*asm.ConvArgs){1: asm.Conv8x1JoinedAVX512, 2: asm.Conv8x2JoinedAVX512, 3: asm.Conv8x3JoinedAVX512},
		[]int{0, 1, 2, 3, 2, 3},
	},
	asm.JoinAVX512,
}

// nativePlanes returns the kernels of planes of a set; nil: those of the generic one.
func nativePlanes(i *ISA) (back, ahead func(*asm.PlanesArgs)) {
	if i == generic {
		return nil, nil
	}
	return asm.PlanesBackAVX2, asm.PlanesAheadAVX2
}

// nativeNoise returns the kernel of noise of a set; nil: the generic one.
func nativeNoise(i *ISA) func(*asm.NoiseArgs) {
	if i == generic {
		return nil
	}
	return asm.NoiseAVX2
}

// nativeGrads returns the gradient kernels of a set; nil: those of the generic one.
func nativeGrads(i *ISA) *gradSet {
	switch i.name {
	case "avx2":
		return &avx2Grads
	case "avx512":
		g := avx2Grads
		k := &g.kernels[4]
		k[4], k[8], k[12] = asm.Grad4x4AVX512, asm.Grad4x8AVX512, asm.Grad4x12AVX512
		g.weights[4] = []int{12, 8, 4, 3, 2, 1}
		return &g
	}
	return nil
}

var avx2Grads = gradSet{
	kernels: [5][gradWeights + 1]func(*asm.GradArgs){
		4: {1: asm.Grad4x1AVX2, 2: asm.Grad4x2AVX2, 3: asm.Grad4x3AVX2},
		3: {1: asm.Grad3x1AVX2, 2: asm.Grad3x2AVX2, 3: asm.Grad3x3AVX2},
		2: {1: asm.Grad2x1AVX2, 2: asm.Grad2x2AVX2, 3: asm.Grad2x3AVX2},
		1: {1: asm.Grad1x1AVX2, 2: asm.Grad1x2AVX2, 3: asm.Grad1x3AVX2},
	},
	weights: narrowWeights,
}
