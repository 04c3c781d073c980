//go:build (!amd64 && !arm64) || purego

package kernels

var available = []*ISA{generic}

func nativeGrads(*ISA) *gradSet { return nil }
