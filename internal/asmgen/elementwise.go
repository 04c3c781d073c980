package main

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

func emitElementwise(t target) {
	pgdStep(t)
	selectLanes(t)
	interval(t, true)
	interval(t, false)
	boxEnd(t)
	adamStep(t)
	transpose(t)
	dealRows(t)
	gatherRows(t)
	add(t)
	addGate(t)
	intervalAdd(t)
}

// pgdStep emits the fused Linf ascent step with projection.
func pgdStep(t target) {
	const x, g, lo, hi, n reg = 0, 1, 2, 3, 4
	const alpha, sign, zeroV vec = 15, 14, 13
	t.text("PGDStep", `is one projected sign step over n lane vectors, in place:
v = x + (grad > 0 ? alpha : grad < 0 ? -alpha : 0)
v = lo > v ? lo : v
x = hi < v ? hi : v`,
		"x, grad, lo, hi unsafe.Pointer, n int, alpha float32", 44)
	explain(t, `loop: a lane vector a turn.
%s x, %s gradient, %s and %s box, %s vectors left;
%s scratch, %s zero, %s sign bit, %s alpha.`, x, g, lo, hi, n, fromTo(0, 4), zeroV, sign, alpha)
	t.loadArg(x, "x", 0)
	t.loadArg(g, "grad", 8)
	t.loadArg(lo, "lo", 16)
	t.loadArg(hi, "hi", 24)
	t.loadArg(n, "n", 32)
	t.splatArg(alpha, "alpha", 40)
	t.vconst(sign, "sign8")
	t.vzero(zeroV)
	t.label("loop")
	t.vload(0, at(g, 0))
	t.vand(1, 0, sign)
	t.vxor(1, 1, alpha)
	t.vnonzero(0, 0, zeroV)
	t.vand(1, 1, 0)
	t.vload(2, at(x, 0))
	t.vadd(1, 2, 1)
	t.vload(3, at(lo, 0))
	t.vmax(1, 3, 1)
	t.vload(4, at(hi, 0))
	t.vmin(1, 4, 1)
	t.vstore(1, at(x, 0))
	for _, r := range []reg{x, g, lo, hi} {
		t.addImm(r, 32)
	}
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// selectLanes emits a lane-wise conditional copy.
func selectLanes(t target) {
	const dst, src, mask, n reg = 0, 1, 2, 3
	t.text("SelectLanes", "copies lane l of n lane vectors from src to dst where the sign bit of mask[l] is set.",
		"dst, src, mask unsafe.Pointer, n int", 32)
	explain(t, `loop: a lane vector a turn.
%s destination, %s source, %s vectors left; %s scratch, %s mask.`,
		dst, src, n, fromTo(0, 1), vec(3))
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(mask, "mask", 16)
	t.loadArg(n, "n", 24)
	t.vload(3, at(mask, 0))
	t.label("loop")
	t.vload(0, at(src, 0))
	t.vload(1, at(dst, 0))
	t.vselect(0, 3, 0, 1)
	t.vstore(0, at(dst, 0))
	t.addImm(dst, 32)
	t.addImm(src, 32)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// interval emits the element-wise pass between two layers of interval bounds.
//
// Register map: 0 lo, 1 hi, 2 centre, 3–5 scratch; 6 ReLU mask, 7 zero,
// 8 half, 9 abs mask, 10–14 the constants of IntervalArgs.
func interval(t target, affine bool) {
	const c, r, n, args reg = 0, 1, 2, 3
	const lo, hi, mid, t0, t1, t2, relu, zeroV, half, abs, rel, add0, mulR, mulC, add vec = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
	if affine {
		t.text("IntervalAffine", `turns n lane vectors of centre c and radius r of an affine
layer's output, in place, into centre and inflated radius of the next one's input:
hi = c + r; hi = hi + (|hi|*Rel + Abs)
lo = c - r; lo = lo - (|lo|*Rel + Abs)
ReLU: lo = 0 > lo ? 0 : lo; hi = 0 > hi ? 0 : hi
then as IntervalBox. Every operation rounds once, none is fused.`,
			"c, r unsafe.Pointer, n int, a *IntervalArgs", 32)
	} else {
		t.text("IntervalBox", `turns n lane vectors of bounds lo (in c) and hi (in r), in place,
into centre and inflated radius:
mid = (lo+hi) * 0.5
r = max(hi-mid, mid-lo), the second if either is NaN
c, r = mid, (r*MulR + |mid|*MulC) + Add
Every operation rounds once, none is fused.`,
			"c, r unsafe.Pointer, n int, a *IntervalArgs", 32)
	}
	var a asm.IntervalArgs
	explain(t, `loop: a lane vector a turn.
%s centre, %s radius, %s vectors left, %s constants;
%s lower and %s upper bound, %s centre, %s scratch, %s 1/2, %s mask of |x|, %s MulR, %s MulC, %s Add.`,
		c, r, n, args, lo, hi, mid, fromTo(t0, t2), half, abs, mulR, mulC, add)
	if affine {
		explain(t, "%s ReLU mask, %s zero, %s Rel, %s Abs.", relu, zeroV, rel, add0)
	}
	t.loadArg(c, "c", 0)
	t.loadArg(r, "r", 8)
	t.loadArg(n, "n", 16)
	t.loadArg(args, "a", 24)
	t.vconst(half, "half8")
	t.vconst(abs, "abs8")
	t.vsplat(mulR, at(args, int(unsafe.Offsetof(a.MulR))))
	t.vsplat(mulC, at(args, int(unsafe.Offsetof(a.MulC))))
	t.vsplat(add, at(args, int(unsafe.Offsetof(a.Add))))
	if affine {
		t.vsplat(rel, at(args, int(unsafe.Offsetof(a.Rel))))
		t.vsplat(add0, at(args, int(unsafe.Offsetof(a.Abs))))
		t.vsplat(relu, at(args, int(unsafe.Offsetof(a.ReLU))))
		t.vzero(zeroV)
	}
	t.label("loop")
	if affine {
		t.vload(t0, at(c, 0))
		t.vload(t1, at(r, 0))
		t.vadd(hi, t0, t1)
		t.vsub(lo, t0, t1)
		for _, b := range []vec{hi, lo} {
			t.vand(t0, b, abs)
			t.vmul(t0, t0, rel)
			t.vadd(t0, t0, add0)
			if b == hi {
				t.vadd(b, b, t0)
			} else {
				t.vsub(b, b, t0)
			}
			t.comment("clamp where the ReLU mask is set")
			t.vmax(t1, zeroV, b)
			t.vand(t1, t1, relu)
			t.vandNot(b, relu, b)
			t.vor(b, b, t1)
		}
	} else {
		t.vload(lo, at(c, 0))
		t.vload(hi, at(r, 0))
	}
	t.vadd(mid, lo, hi)
	t.vmul(mid, mid, half)
	t.vsub(t0, hi, mid)
	t.vsub(t1, mid, lo)
	t.vmax(t0, t0, t1)
	t.vmul(t0, t0, mulR)
	t.vand(t2, mid, abs)
	t.vmul(t2, t2, mulC)
	t.vadd(t0, t0, t2)
	t.vadd(t0, t0, add)
	t.vstore(mid, at(c, 0))
	t.vstore(t0, at(r, 0))
	t.addImm(c, 32)
	t.addImm(r, 32)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// boxEnd emits one end of the box around pixels. The sum of a pixel and the two
// parts of ε is kept in three parts by Knuth's TwoSum; the first is the nearest
// float32 and the sign of the others tells on which side of it the sum lies.
//
// Register map: 0–6 values, 8–15 constants.
func boxEnd(t target) {
	const dst, x, n reg = 0, 1, 2
	const e1, e2, doubt, up, abs, least, one, zeroV vec = 8, 9, 10, 11, 12, 13, 14, 15
	t.text("BoxEnd", `is dst = x + e1 + e2 for n lane vectors of pixels, rounded down, or up if
up is all ones, and clamped to [0, 1]; NaN where that is in doubt: where the sum is
within doubt of the float32 nearest to it, or below 2^-20 in magnitude.`,
		"dst, x unsafe.Pointer, n int, e1, e2, doubt float32, up uint32", 40)
	explain(t, `loop: a lane vector a turn.
%s destination, %s x, %s vectors left;
%s values, %s and %s parts of the distance, %s doubt, %s mask if up, %s mask of |x|, %s 2^-20, %s one, %s zero.`,
		dst, x, n, fromTo(0, 5), e1, e2, doubt, up, abs, least, one, zeroV)
	t.loadArg(dst, "dst", 0)
	t.loadArg(x, "x", 8)
	t.loadArg(n, "n", 16)
	t.splatArg(e1, "e1", 24)
	t.splatArg(e2, "e2", 28)
	t.splatArg(doubt, "doubt", 32)
	t.splatArg(up, "up", 36)
	t.vconst(abs, "abs8")
	t.vconst(least, "least8")
	t.vconst(one, "one8")
	t.vzero(zeroV)
	// twoSum leaves a + b in sum and what it lacks in err; tmp is lost.
	twoSum := func(sum, err, tmp, a, b vec) {
		t.vadd(sum, a, b)
		t.vsub(tmp, sum, a)
		t.vsub(err, sum, tmp)
		t.vsub(err, a, err)
		t.vsub(tmp, b, tmp)
		t.vadd(err, err, tmp)
	}
	t.label("loop")
	t.vload(0, at(x, 0))
	twoSum(1, 2, 3, 0, e1)
	twoSum(4, 5, 3, 2, e2)
	twoSum(0, 2, 3, 1, 4)
	t.vadd(2, 2, 5) // the sum less its nearest float32, in register 0
	t.vand(1, 2, abs)
	t.vless(1, 1, doubt)
	t.vand(3, 0, abs)
	t.vless(3, 3, least)
	t.vor(1, 1, 3)
	t.vless(3, 2, zeroV)
	t.vandNot(3, up, 3)
	t.vaddInt(0, 0, 3) // −1 unit in the last place
	t.vless(3, zeroV, 2)
	t.vand(3, 3, up)
	t.vsubInt(0, 0, 3)
	t.vmax(0, zeroV, 0)
	t.vmin(0, one, 0)
	t.vor(0, 0, 1)
	t.vstore(0, at(dst, 0))
	t.addImm(dst, 32)
	t.addImm(x, 32)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// adamStep emits an update of the weights.
//
// Register map: 0 gradient, 1 and 2 moments, 3–5 scratch, 6–11 the constants of
// AdamArgs.
func adamStep(t target) {
	const w, g, m, v, n, args reg = 0, 1, 2, 3, 4, 5
	const grad, first, second, t0, t1, t2, beta1, rest1, beta2, rest2, alpha, tiny vec = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	t.text("AdamStep", `updates n lane vectors of weights w and their moments m and v by the
gradient grad, in place:
m = m*Beta1 + grad*Rest1
v = v*Beta2 + (grad*grad)*Rest2
w = w - (m*Alpha) / (sqrt(v) + Tiny)
Every operation rounds once, none is fused.`,
		"w, grad, m, v unsafe.Pointer, n int, a *AdamArgs", 48)
	var a asm.AdamArgs
	explain(t, `loop: a lane vector a turn.
%s weights, %s gradient, %s and %s moments, %s vectors left, %s constants;
%s gradient, %s and %s moments, %s scratch, %s Beta1, %s Rest1, %s Beta2, %s Rest2, %s Alpha, %s Tiny.`,
		w, g, m, v, n, args, grad, first, second, fromTo(t0, t2), beta1, rest1, beta2, rest2, alpha, tiny)
	t.loadArg(w, "w", 0)
	t.loadArg(g, "grad", 8)
	t.loadArg(m, "m", 16)
	t.loadArg(v, "v", 24)
	t.loadArg(n, "n", 32)
	t.loadArg(args, "a", 40)
	t.vsplat(beta1, at(args, int(unsafe.Offsetof(a.Beta1))))
	t.vsplat(rest1, at(args, int(unsafe.Offsetof(a.Rest1))))
	t.vsplat(beta2, at(args, int(unsafe.Offsetof(a.Beta2))))
	t.vsplat(rest2, at(args, int(unsafe.Offsetof(a.Rest2))))
	t.vsplat(alpha, at(args, int(unsafe.Offsetof(a.Alpha))))
	t.vsplat(tiny, at(args, int(unsafe.Offsetof(a.Tiny))))
	t.label("loop")
	t.vload(grad, at(g, 0))
	t.vload(first, at(m, 0))
	t.vload(second, at(v, 0))
	t.vmul(first, first, beta1)
	t.vmul(t0, grad, rest1)
	t.vadd(first, first, t0)
	t.vmul(second, second, beta2)
	t.vmul(t1, grad, grad)
	t.vmul(t1, t1, rest2)
	t.vadd(second, second, t1)
	t.vstore(first, at(m, 0))
	t.vstore(second, at(v, 0))
	t.vsqrt(t0, second)
	t.vadd(t0, t0, tiny)
	t.vmul(t1, first, alpha)
	t.vdiv(t1, t1, t0)
	t.vload(t2, at(w, 0))
	t.vsub(t2, t2, t1)
	t.vstore(t2, at(w, 0))
	for _, r := range []reg{w, g, m, v} {
		t.addImm(r, 32)
	}
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// transpose emits a transposition of four rows.
func transpose(t target) {
	const dst, src, stride, rows, n, by2, by3, src2 reg = 0, 1, 2, 3, 4, 5, 6, 7
	const mask vec = 15
	t.text("Transpose4", `writes 8·n columns of four rows at src, rowStride bytes apart, as rows of
four at dst, dstStride bytes apart, each word ANDed with mask.`,
		"dst, src unsafe.Pointer, dstStride, rowStride, n int, mask uint32", 44)
	explain(t, `loop: eight columns a turn.
%s destination, %s and %s source and its third row, %s, %s and %s one to three rows of the destination, %s a row of the source, %s turns left;
%s columns, %s scratch, %s mask.`, dst, src, src2, stride, by2, by3, rows, n, fromTo(0, 3), fromTo(4, 7), mask)
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(stride, "dstStride", 16)
	t.loadArg(rows, "rowStride", 24)
	t.loadArg(n, "n", 32)
	t.splatArg(mask, "mask", 40)
	t.move(by2, stride)
	t.addReg(by2, stride)
	t.move(by3, by2)
	t.addReg(by3, stride)
	t.move(src2, src)
	t.addReg(src2, rows)
	t.addReg(src2, rows)
	t.label("loop")
	v, tmp := [4]vec{0, 1, 2, 3}, [4]vec{4, 5, 6, 7}
	for i, m := range []mem{at(src, 0), atIndex(src, rows, 0), at(src2, 0), atIndex(src2, rows, 0)} {
		t.vload(v[i], m)
		t.vand(v[i], v[i], mask)
	}
	t.vtranspose4(v, tmp)
	for half := range 2 {
		for i, m := range []mem{at(dst, 0), atIndex(dst, stride, 0), atIndex(dst, by2, 0), atIndex(dst, by3, 0)} {
			t.vstoreHalf(v[i], half, m)
		}
		t.addReg(dst, by2)
		t.addReg(dst, by2)
	}
	t.addImm(src, 32)
	t.addImm(src2, 32)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// dealRows emits the copy of a column of cache lines to four places.
func dealRows(t target) {
	const dst, src, stride, rows, n, by2, by3 reg = 0, 1, 2, 3, 4, 5, 6
	const mask vec = 15
	t.text("DealRows", `takes 16 words from each of n rows at src, rowStride bytes apart, ANDs them
with mask and appends four each to the places at dst, dstStride bytes apart.`,
		"dst, src unsafe.Pointer, dstStride, rowStride, n int, mask uint32", 44)
	explain(t, `loop: a row a turn.
%s destination, %s source, %s, %s and %s one to three distances of the places, %s a row, %s rows left;
%s words, %s mask.`, dst, src, stride, by2, by3, rows, n, fromTo(0, 1), mask)
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(stride, "dstStride", 16)
	t.loadArg(rows, "rowStride", 24)
	t.loadArg(n, "n", 32)
	t.splatArg(mask, "mask", 40)
	t.move(by2, stride)
	t.addReg(by2, stride)
	t.move(by3, by2)
	t.addReg(by3, stride)
	t.label("loop")
	t.vload(0, at(src, 0))
	t.vload(1, at(src, 32))
	t.vand(0, 0, mask)
	t.vand(1, 1, mask)
	for i, m := range []mem{at(dst, 0), atIndex(dst, stride, 0), atIndex(dst, by2, 0), atIndex(dst, by3, 0)} {
		t.vstoreHalf(vec(i/2), i%2, m)
	}
	t.addReg(src, rows)
	t.addImm(dst, 16)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// gatherRows emits the copy of four lane vectors of each row.
func gatherRows(t target) {
	const dst, src, rows, n reg = 0, 1, 2, 3
	t.text("GatherRows", "copies the first four lane vectors of n rows at src, rowStride bytes apart, to dst, one after the other.",
		"dst, src unsafe.Pointer, rowStride, n int", 32)
	explain(t, `loop: a row a turn.
%s destination, %s source, %s a row, %s rows left; %s its lane vectors.`,
		dst, src, rows, n, fromTo(0, 3))
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(rows, "rowStride", 16)
	t.loadArg(n, "n", 24)
	t.label("loop")
	for i := range 4 {
		t.vload(vec(i), at(src, 32*i))
	}
	for i := range 4 {
		t.vstore(vec(i), at(dst, 32*i))
	}
	t.addReg(src, rows)
	t.addImm(dst, 128)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// add emits the end of a residual block.
func add(t target) {
	const dst, src, n reg = 0, 1, 2
	const relu, zeroV vec = 6, 7
	t.text("Add", `is v = dst + src; dst = relu is all ones ? (0 > v ? 0 : v) : v for n lane
vectors.`, "dst, src unsafe.Pointer, n int, relu uint32", 28)
	explain(t, `loop: a lane vector a turn.
%s destination, %s source, %s vectors left; %s scratch, %s ReLU mask, %s zero.`,
		dst, src, n, fromTo(0, 1), relu, zeroV)
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(n, "n", 16)
	t.splatArg(relu, "relu", 24)
	t.vzero(zeroV)
	t.label("loop")
	t.vload(0, at(dst, 0))
	t.vload(1, at(src, 0))
	t.vadd(0, 0, 1)
	t.vmax(1, zeroV, 0)
	t.vand(1, 1, relu)
	t.vandNot(0, relu, 0)
	t.vor(0, 0, 1)
	t.vstore(0, at(dst, 0))
	t.addImm(dst, 32)
	t.addImm(src, 32)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// addGate emits the sum of two gradients behind a ReLU.
func addGate(t target) {
	const dst, src, gate, n reg = 0, 1, 2, 3
	const zeroV vec = 7
	t.text("AddGate", "is dst = gate > 0 ? dst + src : +0 for n lane vectors.",
		"dst, src, gate unsafe.Pointer, n int", 32)
	explain(t, `loop: a lane vector a turn.
%s destination, %s source, %s gate, %s vectors left; %s scratch, %s zero.`,
		dst, src, gate, n, fromTo(0, 1), zeroV)
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(gate, "gate", 16)
	t.loadArg(n, "n", 24)
	t.vzero(zeroV)
	t.label("loop")
	t.vload(0, at(dst, 0))
	t.vload(1, at(src, 0))
	t.vadd(0, 0, 1)
	t.vload(1, at(gate, 0))
	t.vgate(0, 1, zeroV)
	t.vstore(0, at(dst, 0))
	t.addImm(dst, 32)
	t.addImm(src, 32)
	t.addImm(gate, 32)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}

// intervalAdd emits the sum of two intervals.
func intervalAdd(t target) {
	const c, r, sc, sr, n, args reg = 0, 1, 2, 3, 4, 5
	const abs, mulR, mulC, add vec = 9, 12, 13, 14
	t.text("IntervalAdd", `is c = c + sc; r = ((r + sr)*MulR + |c|*MulC) + Add for n lane vectors of
centres and radii. Every operation rounds once, none is fused.`,
		"c, r, sc, sr unsafe.Pointer, n int, a *IntervalArgs", 48)
	var a asm.IntervalArgs
	explain(t, `loop: a lane vector a turn.
%s and %s centre and radius, %s and %s those to add, %s vectors left, %s constants;
%s scratch, %s mask of |x|, %s MulR, %s MulC, %s Add.`, c, r, sc, sr, n, args, fromTo(0, 2), abs, mulR, mulC, add)
	t.loadArg(c, "c", 0)
	t.loadArg(r, "r", 8)
	t.loadArg(sc, "sc", 16)
	t.loadArg(sr, "sr", 24)
	t.loadArg(n, "n", 32)
	t.loadArg(args, "a", 40)
	t.vconst(abs, "abs8")
	t.vsplat(mulR, at(args, int(unsafe.Offsetof(a.MulR))))
	t.vsplat(mulC, at(args, int(unsafe.Offsetof(a.MulC))))
	t.vsplat(add, at(args, int(unsafe.Offsetof(a.Add))))
	t.label("loop")
	t.vload(0, at(c, 0))
	t.vload(1, at(sc, 0))
	t.vadd(0, 0, 1)
	t.vload(1, at(r, 0))
	t.vload(2, at(sr, 0))
	t.vadd(1, 1, 2)
	t.vmul(1, 1, mulR)
	t.vand(2, 0, abs)
	t.vmul(2, 2, mulC)
	t.vadd(1, 1, 2)
	t.vadd(1, 1, add)
	t.vstore(0, at(c, 0))
	t.vstore(1, at(r, 0))
	for _, p := range []reg{c, r, sc, sr} {
		t.addImm(p, 32)
	}
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}
