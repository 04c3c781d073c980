package kernels

import (
	"math"
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

// floats are the n lane vectors at p.
func floats(p unsafe.Pointer, n int) []float32 { return unsafe.Slice((*float32)(p), n*Lanes) }

func genericClip(dst, src, _ unsafe.Pointer, n int, lo, hi float32) {
	d := floats(dst, n)
	for i, v := range floats(src, n) {
		d[i] = clip(v, lo, hi)
	}
}

func clip(v, lo, hi float32) float32 {
	if lo > v {
		v = lo
	}
	if hi < v {
		v = hi
	}
	return v
}

func genericClipGrad(dst, dy, x unsafe.Pointer, n int, lo, hi float32) {
	d, g := floats(dst, n), floats(dy, n)
	for i, v := range floats(x, n) {
		d[i] = clipGrad(g[i], v, lo, hi)
	}
}

func clipGrad(dy, x, lo, hi float32) float32 {
	if lo < x && x < hi {
		return dy
	}
	return 0
}

func genericLeaky(dst, src, _, slope unsafe.Pointer, n int) {
	d, s := floats(dst, n), floats(slope, n)
	for i, v := range floats(src, n) {
		d[i] = leaky(v, v, s[i])
	}
}

func genericLeakyGrad(dst, dy, x, slope unsafe.Pointer, n int) {
	d, g, s := floats(dst, n), floats(dy, n), floats(slope, n)
	for i, v := range floats(x, n) {
		d[i] = leaky(g[i], v, s[i])
	}
}

// leaky is v where x is positive and v·slope elsewhere.
func leaky(v, x, slope float32) float32 {
	if x > 0 {
		return v
	}
	return v * slope
}

func genericGate(dst, src, gate unsafe.Pointer, n int) {
	d, s := floats(dst, n), floats(src, n)
	for i, v := range floats(gate, n) {
		d[i] = epilogue(s[i], Gate, v)
	}
}

func genericSigmoid(dst, src unsafe.Pointer, n int) {
	d := floats(dst, n)
	for i, v := range floats(src, n) {
		d[i] = Sigmoid(v)
	}
}

func genericTanh(dst, src unsafe.Pointer, n int) {
	d := floats(dst, n)
	for i, v := range floats(src, n) {
		d[i] = Tanh(v)
	}
}

func genericSigmoidGrad(dst, dy, y unsafe.Pointer, n int) {
	d, g := floats(dst, n), floats(dy, n)
	for i, v := range floats(y, n) {
		d[i] = sigmoidGrad(g[i], v)
	}
}

func sigmoidGrad(dy, y float32) float32 { return float32(dy * float32(y*float32(1-y))) }

func genericTanhGrad(dst, dy, y unsafe.Pointer, n int) {
	d, g := floats(dst, n), floats(dy, n)
	for i, v := range floats(y, n) {
		d[i] = tanhGrad(g[i], v)
	}
}

func tanhGrad(dy, y float32) float32 { return float32(dy * float32(1-float32(y*y))) }

// expm1 returns u = 2^k and m with e^−a = u + u·m for a in [0, 87], |m| < 0.42: Cody and
// Waite's reduction a = −k·ln 2 − r with |r| ≤ 0.35, and m = r + r²·p(r).
func expm1(a float32) (u, m float32) {
	t := FMA32(a, -expLog2e, expRound)
	k := t - expRound
	r := FMA32(k, -expLn2Hi, -a)
	r = FMA32(k, -expLn2Lo, r)
	p := expTaylor[0]
	for _, c := range expTaylor[1:] {
		p = FMA32(p, r, c)
	}
	m = FMA32(p, float32(r*r), r)
	return math.Float32frombits((math.Float32bits(t) + expOne) << 23), m
}

const (
	expLog2e = 1.4426950408889634
	expRound = 0x1.8p23 // its sum with |k| ≤ 2²² is a whole number, in its last bits
	expLn2Hi = 0x1.62e4p-1
	expLn2Lo = 0x1.7f7d1cp-20
	expOne   = 127 // biased exponent of 1
	expMost  = 87  // e^−87 is still normal
	tanhMost = 10  // 1 to the last bit from 9.02 on
	// From here on Tanh subtracts from 1.
	tanhLarge = 0.5
)

// expTaylor are 1/7! … 1/2!: what is left out is below 2⁻²⁶ of e^r.
var expTaylor = [...]float32{1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2}
