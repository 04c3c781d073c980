package main

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

func emitLines(t target) {
	linesBack(t)
	linesAhead(t)
}

// linesBack emits the step of coefficients backward through functions between lines.
//
// Register map: 0 v, 1 its negative part, 2 slope, then result, 3–4 scratch; 10–11 the
// sums, 13 zero.
func linesBack(t target) {
	const dst, src, low, up, at0, bias, n, args reg = 0, 1, 2, 3, 4, 5, 6, 7
	const v, neg, out, lower, tmp, sumT, sumB, zeroV vec = 0, 1, 2, 3, 4, 10, 11, 13
	t.text("LinesBack", `takes coefficients backward through functions that lie between lines, as
LinesArgs describes.`, "a *LinesArgs", 8)
	var a asm.LinesArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	explain(t, `loop: a lane vector a turn.
%s destination, %s source, %s lower and %s upper slopes, %s intercepts, %s biases, %s vectors left, %s args;
%s coefficients, %s negative part, %s result, %s scratch, %s and %s sums of t and b, %s zero.`,
		dst, src, low, up, at0, bias, n, args, v, neg, out, fromTo(lower, tmp), sumT, sumB, zeroV)
	t.loadArg(args, "a", 0)
	t.load(dst, field(unsafe.Offsetof(a.Dst)))
	t.load(src, field(unsafe.Offsetof(a.Src)))
	t.load(low, field(unsafe.Offsetof(a.Lower)))
	t.load(up, field(unsafe.Offsetof(a.Upper)))
	t.load(at0, field(unsafe.Offsetof(a.Intercept)))
	t.load(bias, field(unsafe.Offsetof(a.Bias)))
	t.load(n, field(unsafe.Offsetof(a.N)))
	for _, s := range []vec{sumT, sumB, zeroV} {
		t.vzero(s)
	}
	t.label("loop")
	t.vload(v, at(src, 0))
	t.vload(out, at(up, 0))
	t.vload(lower, at(low, 0))
	t.vselect(out, v, out, lower)
	t.vmul(out, v, out)
	t.vstore(out, at(dst, 0))
	t.vmin(neg, zeroV, v)
	t.vload(tmp, at(at0, 0))
	t.vmul(tmp, neg, tmp)
	t.vadd(sumT, sumT, tmp)
	t.vsplat(tmp, at(bias, 0))
	t.vmul(tmp, out, tmp)
	t.vadd(sumB, sumB, tmp)
	for _, r := range []reg{dst, src, low, up, at0} {
		t.addImm(r, 32)
	}
	t.addImm(bias, 4)
	t.dec(n)
	t.jump(notZero, "loop")
	for i, s := range []vec{sumT, sumB} {
		t.vstore(s, field(unsafe.Offsetof(a.Sums)+uintptr(32*i)))
	}
	t.ret()
}

// linesAhead emits the derivative of linesBack.
//
// Register map: 0 v, 1 its negative part, 2 slope, 3 z, 4–5 scratch; 12 scale, 13 zero.
func linesAhead(t target) {
	const coef, z, low, up, at0, ofUp, ofAt0, n, args reg = 0, 1, 2, 3, 4, 5, 6, 7, 8
	const v, neg, slope, value, tmp, tmp2, scale, zeroV vec = 0, 1, 2, 3, 4, 5, 12, 13
	t.text("LinesAhead", `takes values forward along the lines that LinesBack took, as LinesArgs
describes.`, "a *LinesArgs", 8)
	var a asm.LinesArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	explain(t, `loop: a lane vector a turn.
%s coefficients, %s values, %s lower and %s upper slopes, %s intercepts, %s and %s gradients of upper slopes and intercepts, %s vectors left, %s args;
%s coefficients, %s negative part, %s slope, %s values, %s scratch, %s scale, %s zero.`,
		coef, z, low, up, at0, ofUp, ofAt0, n, args, v, neg, slope, value, fromTo(tmp, tmp2), scale, zeroV)
	t.loadArg(args, "a", 0)
	t.load(coef, field(unsafe.Offsetof(a.Src)))
	t.load(z, field(unsafe.Offsetof(a.Dst)))
	t.load(low, field(unsafe.Offsetof(a.Lower)))
	t.load(up, field(unsafe.Offsetof(a.Upper)))
	t.load(at0, field(unsafe.Offsetof(a.Intercept)))
	t.load(ofUp, field(unsafe.Offsetof(a.OfUpper)))
	t.load(ofAt0, field(unsafe.Offsetof(a.OfIntercept)))
	t.load(n, field(unsafe.Offsetof(a.N)))
	t.vload(scale, field(unsafe.Offsetof(a.Scale)))
	t.vzero(zeroV)
	t.label("loop")
	t.vload(v, at(coef, 0))
	t.vload(value, at(z, 0))
	t.vload(slope, at(up, 0))
	t.vload(tmp, at(low, 0))
	t.vselect(slope, v, slope, tmp)
	t.comment("the value")
	t.vload(tmp, at(at0, 0))
	t.vselect(tmp, v, tmp, zeroV)
	t.vmul(tmp2, value, slope)
	t.vadd(tmp, tmp2, tmp)
	t.vstore(tmp, at(z, 0))
	t.comment("the coefficient")
	t.vmin(neg, zeroV, v)
	t.vmul(v, v, slope)
	t.vmul(v, v, scale)
	t.vstore(v, at(coef, 0))
	t.comment("gradients")
	t.vmul(neg, neg, scale)
	t.vload(tmp, at(ofAt0, 0))
	t.vadd(tmp, tmp, neg)
	t.vstore(tmp, at(ofAt0, 0))
	t.vmul(neg, neg, value)
	t.vload(tmp, at(ofUp, 0))
	t.vadd(tmp, tmp, neg)
	t.vstore(tmp, at(ofUp, 0))
	for _, r := range []reg{coef, z, low, up, at0, ofUp, ofAt0} {
		t.addImm(r, 32)
	}
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}
