//go:build !purego

package kernels

import "github.com/epsball/epsball/asm"

var vectorLines = lineSet{asm.LinesBackAVX2, asm.LinesAheadAVX2}

func (i *ISA) lineKernels() *lineSet {
	if i.name == generic.name {
		return &genericLines
	}
	return &vectorLines
}
