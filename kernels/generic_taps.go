package kernels

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// value returns the float32 off bytes behind p, which may lie in another slice.
//
//go:nocheckptr
func value(p unsafe.Pointer, off int) *float32 { return (*float32)(unsafe.Add(p, off)) }

// eachPixel calls f for each pixel with the offsets of its centre and its window. The
// kernels here take pixels of any length.
func eachPixel(a *asm.TapsArgs, f func(dst, src int, taps []asm.Tap)) {
	taps := unsafe.Slice((*asm.Tap)(a.Taps), a.N)
	for p := range a.Pixels {
		f(p*a.DstStep, p*a.SrcStep, taps)
	}
}

func genericDepthValues(a *asm.TapsArgs) { genericDepth(a, 1) }

func genericDepthLanes(a *asm.TapsArgs) { genericDepth(a, Lanes) }

func genericDepth(a *asm.TapsArgs, lanes int) {
	eachPixel(a, func(dst, src int, taps []asm.Tap) {
		for i := 0; i < a.Bytes; i += 4 {
			c := i / 4 / lanes * 4
			acc := *value(a.Bias, c)
			for _, t := range taps {
				acc = FMA32(*value(a.Src, src+t.At+i), *value(a.W, t.W+c), acc)
			}
			if a.Least > acc {
				acc = a.Least
			}
			if a.Gated != 0 && !(*value(a.Dst, dst+i+a.GateOff) > 0) {
				acc = 0
			}
			*value(a.Dst, dst+i) = acc
		}
	})
}

func genericPoolMax(a *asm.TapsArgs) {
	eachPixel(a, func(dst, src int, taps []asm.Tap) {
		for i := 0; i < a.Bytes; i += 4 {
			v := *value(a.Src, src+taps[0].At+i)
			for _, t := range taps[1:] {
				if x := *value(a.Src, src+t.At+i); x > v || x != x {
					v = x
				}
			}
			*value(a.Dst, dst+i) = v
		}
	})
}

func genericPoolSum(a *asm.TapsArgs) {
	eachPixel(a, func(dst, src int, taps []asm.Tap) {
		for i := 0; i < a.Bytes; i += 4 {
			v := *value(a.Src, src+taps[0].At+i)
			for _, t := range taps[1:] {
				v += *value(a.Src, src+t.At+i)
			}
			*value(a.Dst, dst+i) = v / a.Divisor
		}
	})
}

func genericPoolSumGrad(a *asm.TapsArgs) {
	eachPixel(a, func(dst, src int, taps []asm.Tap) {
		for i := 0; i < a.Bytes; i += 4 {
			q := *value(a.Src, src+i) / a.Divisor
			for _, t := range taps {
				*value(a.Dst, dst+t.At+i) += q
			}
		}
	})
}

func genericPoolMaxGrad(a *asm.TapsArgs) {
	eachPixel(a, func(dst, src int, taps []asm.Tap) {
		for i := 0; i < a.Bytes; i += 4 {
			y := *value(a.Y, src+i)
			for _, t := range taps {
				if *value(a.X, dst+t.At+i) == y {
					*value(a.Dst, dst+t.At+i) += *value(a.Src, src+i)
					break
				}
			}
		}
	})
}

func genericDepthGrad(a *asm.TapsArgs, taps, vecs int) {
	a.N = taps
	eachPixel(a, func(y, src int, taps []asm.Tap) {
		for _, t := range taps {
			for v := range vecs {
				sums, x, dy := vector(a.W, Lanes*t.W+v*vecBytes), vector(a.Src, src+t.At+v*vecBytes), vector(a.Y, y+v*vecBytes)
				for l := range sums {
					sums[l] = FMA32(x[l], dy[l], sums[l])
				}
			}
		}
	})
}
