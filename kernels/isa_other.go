//go:build (!amd64 && !arm64) || purego

package kernels

import "github.com/epsball/epsball/asm"

var available = []*ISA{generic}

func nativeGrads(*ISA) *gradSet { return nil }

func nativePlanes(*ISA) (back, ahead func(*asm.PlanesArgs)) { return nil, nil }
