//go:build (!amd64 && !arm64) || purego

package kernels

import "github.com/epsball/epsball/asm"

var available = []*ISA{generic}

func nativeGrads(*ISA) *gradSet { return nil }

func nativePlanes(*ISA) (back, ahead func(*asm.PlanesArgs)) { return nil, nil }

// nativeNoise: there is no kernel of noise.
func nativeNoise(*ISA) func(*asm.NoiseArgs) { return nil }
