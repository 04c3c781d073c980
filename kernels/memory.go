package kernels

import "unsafe"

// Alloc returns n zeroed float32 whose first element lies on a 64-byte
// boundary, so that lane vectors never straddle cache lines. Inlined, it would add 8 KB
// to a program.
//
//go:noinline
func Alloc(n int) []float32 {
	const pad = 16
	b := make([]float32, n+pad)
	skip := 0
	if r := uintptr(unsafe.Pointer(&b[0])) % 64; r != 0 {
		skip = int(64-r) / 4
	}
	return b[skip : skip+n : skip+n]
}

// base returns the address of the first element of s; nil for an empty slice.
func base(s []float32) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(s)) }
