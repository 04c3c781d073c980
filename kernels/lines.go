package kernels

import (
	"math"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Lines lie below and above a function, one lane vector a neuron in each slice: Lower·z and
// Upper·z + Intercept. Linear bounds that are to be trained on go backward between them, a
// batch of images side by side, each with lines of its own. It is no part of ISA, which
// every program links.
type Lines struct{ Lower, Upper, Intercept []float32 }

// lineSet are the kernels of Lines.
type lineSet struct{ back, ahead func(*asm.LinesArgs) }

var genericLines = lineSet{genericLinesBack, genericLinesAhead}

// Back takes coefficients src backward through the functions: from those of their outputs
// to those of what they read, dst, so that a lower bound stays one. To sum it adds, for each
// lane, what has no factor: the intercepts, and dst times the neurons' bias. Chains of
// RelaxBlock terms in float32 are added in float64.
func (l *Lines) Back(isa *ISA, sc *Scratch, dst, src, bias []float32, sum *[Lanes]float64) {
	n := vectors(src)
	mustLen("destination", len(dst), len(src))
	l.mustHold(len(src))
	mustLen("biases", len(bias), n)
	raceRead(src)
	raceWrite(dst)
	a, set := &sc.lines, isa.lineKernels()
	for k := 0; k < n; k += RelaxBlock {
		l.point(a, k)
		a.Dst, a.Src, a.Bias = unsafe.Pointer(&dst[k*Lanes]), unsafe.Pointer(&src[k*Lanes]), unsafe.Pointer(&bias[k])
		a.N = min(RelaxBlock, n-k)
		set.back(a)
		for i := range sum {
			sum[i] += float64(a.Sums[0][i]) + float64(a.Sums[1][i])
		}
	}
	forgetLines(a)
}

// Ahead takes values z of what the functions read forward along the lines that Back took
// for src, in place, and src to scale times what Back made of it. To ofUpper and ofIntercept
// it adds the derivatives of scale times the bound to the upper lines, given that z is its
// derivative to what Back made.
func (l *Lines) Ahead(isa *ISA, sc *Scratch, z, src []float32, scale *[Lanes]float32, ofUpper, ofIntercept []float32) {
	n := vectors(src)
	mustLen("values", len(z), len(src))
	l.mustHold(len(src))
	mustLen("gradient of slopes", len(ofUpper), len(src))
	mustLen("gradient of intercepts", len(ofIntercept), len(src))
	if n == 0 {
		return
	}
	raceWrite(z)
	raceWrite(src)
	raceWrite(ofUpper)
	raceWrite(ofIntercept)
	a := &sc.lines
	l.point(a, 0)
	a.Dst, a.Src, a.OfUpper, a.OfIntercept = base(z), base(src), base(ofUpper), base(ofIntercept)
	a.N, a.Scale = n, *scale
	isa.lineKernels().ahead(a)
	forgetLines(a)
}

func (l *Lines) mustHold(n int) {
	mustLen("lower slopes", len(l.Lower), n)
	mustLen("upper slopes", len(l.Upper), n)
	mustLen("intercepts", len(l.Intercept), n)
	raceRead(l.Lower)
	raceRead(l.Upper)
	raceRead(l.Intercept)
}

// point gives a the lines from vector k on.
func (l *Lines) point(a *asm.LinesArgs, k int) {
	a.Lower, a.Upper = unsafe.Pointer(&l.Lower[k*Lanes]), unsafe.Pointer(&l.Upper[k*Lanes])
	a.Intercept = unsafe.Pointer(&l.Intercept[k*Lanes])
}

// forgetLines drops the pointers, which would keep memory alive.
func forgetLines(a *asm.LinesArgs) { *a = asm.LinesArgs{} }

func genericLinesBack(a *asm.LinesArgs) {
	a.Sums = [2][Lanes]float32{}
	sumT, sumB := &a.Sums[0], &a.Sums[1]
	bias := unsafe.Slice((*float32)(a.Bias), a.N)
	for k := range a.N {
		at := k * vecBytes
		src, dst := vector(a.Src, at), vector(a.Dst, at)
		lower, upper, intercept := vector(a.Lower, at), vector(a.Upper, at), vector(a.Intercept, at)
		for i, v := range src {
			slope, n := lower[i], v
			if math.Signbit(float64(v)) {
				slope = upper[i]
			}
			if 0 < v {
				n = 0
			}
			out := v * slope
			dst[i] = out
			sumT[i] += float32(n * intercept[i])
			sumB[i] += float32(out * bias[k])
		}
	}
}

func genericLinesAhead(a *asm.LinesArgs) {
	for k := range a.N {
		at := k * vecBytes
		src, dst := vector(a.Src, at), vector(a.Dst, at)
		lower, upper, intercept := vector(a.Lower, at), vector(a.Upper, at), vector(a.Intercept, at)
		ofUpper, ofIntercept := vector(a.OfUpper, at), vector(a.OfIntercept, at)
		for i, v := range src {
			slope, t, n, z := lower[i], float32(0), v, dst[i]
			if math.Signbit(float64(v)) {
				slope, t = upper[i], intercept[i]
			}
			if 0 < v {
				n = 0
			}
			dst[i] = float32(z*slope) + t
			src[i] = float32(v*slope) * a.Scale[i]
			n = float32(n * a.Scale[i])
			ofIntercept[i] += n
			ofUpper[i] += float32(n * z)
		}
	}
}
