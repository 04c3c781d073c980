//go:build !purego

package kernels

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/epsball/epsball/asm"
)

var available = func() []*ISA {
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		return []*ISA{avx2, generic}
	}
	return []*ISA{generic}
}()

var avx2 = &ISA{
	name: "avx2",
	conv: [5][9]func(*asm.ConvArgs){
		4: {1: asm.Conv4x1AVX2, 2: asm.Conv4x2AVX2, 3: asm.Conv4x3AVX2},
		3: {4: asm.Conv3x4AVX2},
		2: {6: asm.Conv2x6AVX2},
		1: {8: asm.Conv1x8AVX2},
	},
	grad: [5][4]func(*asm.GradArgs){
		4: {1: asm.Grad4x1AVX2, 2: asm.Grad4x2AVX2, 3: asm.Grad4x3AVX2},
		3: {1: asm.Grad3x1AVX2, 2: asm.Grad3x2AVX2, 3: asm.Grad3x3AVX2},
		2: {1: asm.Grad2x1AVX2, 2: asm.Grad2x2AVX2, 3: asm.Grad2x3AVX2},
		1: {1: asm.Grad1x1AVX2, 2: asm.Grad1x2AVX2, 3: asm.Grad1x3AVX2},
	},
	small: [7][5]func(*asm.ConvArgs){
		6: {2: asm.Small6x2AVX2},
		3: {2: asm.Small3x2AVX2},
		2: {2: asm.Small2x2AVX2},
		1: {2: asm.Small1x2AVX2, 4: asm.Small1x4AVX2},
	},
	winogradIn: asm.WinogradInAVX2, winogradOut: asm.WinogradOutAVX2,
	pgdStep:    asm.PGDStepAVX2,
	selectMask: asm.SelectLanesAVX2,
	affine:     asm.IntervalAffineAVX2,
	box:        asm.IntervalBoxAVX2,
	peakFMA:    asm.PeakFMAAVX2,
	readMemory: asm.ReadMemoryAVX2,
}
