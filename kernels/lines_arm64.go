//go:build !purego

package kernels

import "github.com/epsball/epsball/asm"

var vectorLines = lineSet{asm.LinesBackNEON, asm.LinesAheadNEON}

func (i *ISA) lineKernels() *lineSet {
	if i.name == generic.name {
		return &genericLines
	}
	return &vectorLines
}
