package main

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

func emitRelax(t target) {
	gatherLanes(t)
	relax(t, relaxPlain)
	relax(t, relaxLanes)
	relax(t, relaxEach)
	climbSlopes(t)
	planes(t, false)
	planes(t, true)
}

// relaxKind says where the kernel finds the parameters of a lane.
type relaxKind int

const (
	relaxPlain relaxKind = iota // those of the neuron, for all lanes
	relaxLanes                  // but lower slopes of its own
	relaxEach                   // all of its own
)

// gatherLanes emits the start of rows: of a matrix, eight of them side by side. Eight
// elements at a time are transposed, in two halves of four rows.
func gatherLanes(t target) {
	const dst, src, n, list reg = 0, 1, 2, 3
	const signs vec = 12 // of the first half, and one more of the second
	t.text("GatherLanes", `writes n lane vectors: lane l of vector k is the float32 at src +
4*k + offset[l], its sign bit flipped where that of sign[l] is set. Offsets count bytes.
Sign holds those of lanes 0-3 twice, then those of lanes 4-7 twice.`,
		"dst, src unsafe.Pointer, n int, offset *[8]int, sign *[16]uint32", 40)
	explain(t, `loop: eight lane vectors a turn, single: one.
%s destination, %s source, %s vectors left, %s ... %s offsets by lane;
%s rows, %s transposed, %s sign bits.`, dst, src, n, list+1, list+8, run{0, 8}, run{8, 4}, run{signs, 2})
	t.loadArg(list, "sign", 32)
	t.vload(signs, at(list, 0))
	t.vload(signs+1, at(list, 32))
	t.loadArg(list, "offset", 24)
	var index [8]reg
	for l := range index {
		index[l] = list + reg(l) + 1
		t.load(index[l], at(list, 8*l))
	}
	t.loadArg(dst, "dst", 0)
	t.loadArg(src, "src", 8)
	t.loadArg(n, "n", 16)
	t.addImm(n, -8)
	t.jump(less, "rest")
	t.label("loop")
	for half := range 2 {
		var v [4]vec
		for l := range v {
			v[l] = vec(4*half + l)
			t.vload(v[l], atIndex(src, index[4*half+l], 0))
		}
		t.vtranspose4(v, [4]vec{8, 9, 10, 11})
		for _, v := range v {
			t.vxor(v, v, signs+vec(half))
		}
		for k := range 8 {
			t.vstoreHalf(v[k%4], k/4, at(dst, 32*k+16*half))
		}
	}
	t.addImm(dst, 8*32)
	t.addImm(src, 8*4)
	t.addImm(n, -8)
	t.jump(greaterEqual, "loop")
	t.label("rest")
	t.addImm(n, 8)
	t.jump(zero, "done")
	t.loadArg(list, "sign", 32)
	t.vload(signs, at(list, 16))
	t.label("single")
	t.vgather(0, 1, src, index)
	t.vxor(0, 0, signs)
	t.vstore(0, at(dst, 0))
	t.addImm(dst, 32)
	t.addImm(src, 4)
	t.dec(n)
	t.jump(notZero, "single")
	t.label("done")
	t.ret()
}

// relax emits the step of a linear bound backward through a ReLU.
//
// Register map: 0 v, 1 its positive part, 2 its negative part, 3 out, 4 scratch;
// 10–12 the sums, 13 zero, 14 abs mask.
func relax(t target, kind relaxKind) {
	const dst, src, par, low, n, rows, args reg = 0, 1, 2, 3, 4, 5, 6
	const v, pos, neg, out, tmp, sumT, sumB, sumE, zeroV, abs vec = 0, 1, 2, 3, 4, 10, 11, 12, 13, 14
	name, slope := "Relax", "the neuron's first parameter"
	lanes, size := kind == relaxLanes, 4*asm.RelaxParams
	switch kind {
	case relaxLanes:
		name, slope = "RelaxLanes", "its lane of Lower"
	case relaxEach:
		name, slope, size = "RelaxEach", "its lane of the first one", 32*asm.RelaxParams
	}
	t.text(name, `takes the coefficients of eight rows backward through ReLUs, as
RelaxArgs describes; the lower slope is `+slope+`.`, "a *RelaxArgs", 8)
	var a asm.RelaxArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	explain(t, `row: runs, loop: a neuron a turn.
%s destination, %s source, %s parameters, %s lower slopes, %s neurons and %s runs left, %s args;
%s coefficients, %s positive and %s negative part, %s result, %s scratch, %s, %s and %s sums of t, b and e, %s zero, %s mask of |x|.`,
		dst, src, par, low, n, rows, args, v, pos, neg, out, tmp, sumT, sumB, sumE, zeroV, abs)
	t.loadArg(args, "a", 0)
	t.load(dst, field(unsafe.Offsetof(a.Dst)))
	t.load(src, field(unsafe.Offsetof(a.Src)))
	t.load(par, field(unsafe.Offsetof(a.Params)))
	if lanes {
		t.load(low, field(unsafe.Offsetof(a.Lower)))
	}
	t.load(rows, field(unsafe.Offsetof(a.Rows)))
	for _, s := range []vec{sumT, sumB, sumE, zeroV} {
		t.vzero(s)
	}
	t.vconst(abs, "abs8")
	t.label("row")
	t.load(n, field(unsafe.Offsetof(a.N)))
	t.label("loop")
	t.vload(v, at(src, 0))
	t.vmax(pos, zeroV, v)
	t.vmin(neg, zeroV, v)
	p := laneParams(t, par, tmp)
	if kind != relaxEach {
		p = relaxParams(t, par, tmp)
	}
	if lanes {
		t.vload(tmp, at(low, 0))
		t.vmul(out, pos, tmp)
	} else {
		p.mul(out, pos, 0)
	}
	p.fma(out, neg, 1)
	t.vstore(out, at(dst, 0))
	p.fma(sumT, neg, 2)
	p.fma(sumB, out, 3)
	t.vand(out, out, abs)
	p.fma(sumE, out, 4)
	t.addImm(dst, 32)
	t.addImm(src, 32)
	if lanes {
		t.addImm(low, 32)
	}
	t.addImm(par, size)
	t.dec(n)
	t.jump(notZero, "loop")
	t.addMem(par, field(unsafe.Offsetof(a.ParamSkip)))
	t.dec(rows)
	t.jump(notZero, "row")
	for i, s := range []vec{sumT, sumB, sumE} {
		t.vstore(s, field(unsafe.Offsetof(a.Sums)+uintptr(32*i)))
	}
	t.ret()
}

// params multiplies by the parameters of a neuron, counted from 0.
type params struct {
	mul, fma func(dst, x vec, i int)
}

// laneParams reads lane vectors of them; tmp is lost with each use.
func laneParams(t target, par reg, tmp vec) params {
	return params{
		mul: func(dst, x vec, i int) {
			t.vload(tmp, at(par, 32*i))
			t.vmul(dst, x, tmp)
		},
		fma: func(acc, x vec, i int) {
			t.vload(tmp, at(par, 32*i))
			t.vfma(acc, x, tmp)
		},
	}
}

// relaxParams reads them from memory at par; tmp is lost with each use.
func relaxParams(t target, par reg, tmp vec) params {
	e, ok := t.(byElement)
	if !ok {
		return params{
			mul: func(dst, x vec, i int) {
				t.vsplat(tmp, at(par, 4*i))
				t.vmul(dst, x, tmp)
			},
			fma: func(acc, x vec, i int) {
				t.vsplat(tmp, at(par, 4*i))
				t.vfma(acc, x, tmp)
			},
		}
	}
	const four, last half = 30, 31 // of lane vector 15, which no ISA needs here
	e.loadWords(four, 4, at(par, 0))
	e.loadWords(last, 1, at(par, 16))
	word := func(i int) half { return four + half(i/4) }
	return params{
		mul: func(dst, x vec, i int) { e.mulElement(dst, x, word(i), i%4) },
		fma: func(acc, x vec, i int) { e.fmaElement(acc, x, word(i), i%4) },
	}
}

// climbSlopes emits a step of lower slopes up their gradients, on the way forward.
//
// Register map: 0 row, 1 value, 2–3 and 5 scratch, 4 mask; 6–14 constants.
func climbSlopes(t target) {
	const row, value, slope, first, second, par, n, rows, args reg = 0, 1, 2, 3, 4, 5, 6, 7, 8
	const v, x, t0, t1, mask, t2, beta1, rest1, beta2, rest2, rate, scale, tiny, zeroV, one vec = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
	t.text("ClimbSlopes", `takes values of eight rows forward through the lines of ReLUs, and lower
slopes up their gradients, as ClimbArgs describes.`, "a *ClimbArgs", 8)
	var a asm.ClimbArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	explain(t, `row: runs, loop: a neuron a turn.
%s coefficients, %s values, %s slopes, %s and %s moments, %s parameters, %s neurons and %s runs left, %s args;
%s coefficients, %s values, %s, %s and %s scratch, %s mask of the slopes that move, %s Beta1, %s Rest1, %s Beta2, %s Rest2, %s Rate, %s Scale, %s Tiny, %s zero, %s one.`,
		row, value, slope, first, second, par, n, rows, args, v, x, t0, t1, t2, mask, beta1, rest1, beta2, rest2, rate, scale, tiny, zeroV, one)
	t.loadArg(args, "a", 0)
	t.load(row, field(unsafe.Offsetof(a.Row)))
	t.load(value, field(unsafe.Offsetof(a.Value)))
	t.load(slope, field(unsafe.Offsetof(a.Slope)))
	t.load(first, field(unsafe.Offsetof(a.First)))
	t.load(second, field(unsafe.Offsetof(a.Second)))
	t.load(par, field(unsafe.Offsetof(a.Params)))
	t.load(rows, field(unsafe.Offsetof(a.Rows)))
	t.vsplat(beta1, field(unsafe.Offsetof(a.Beta1)))
	t.vsplat(rest1, field(unsafe.Offsetof(a.Rest1)))
	t.vsplat(beta2, field(unsafe.Offsetof(a.Beta2)))
	t.vsplat(rest2, field(unsafe.Offsetof(a.Rest2)))
	t.vsplat(rate, field(unsafe.Offsetof(a.Rate)))
	t.vsplat(scale, field(unsafe.Offsetof(a.Scale)))
	t.vsplat(tiny, field(unsafe.Offsetof(a.Tiny)))
	t.vconst(one, "one8")
	t.vzero(zeroV)
	t.label("row")
	t.load(n, field(unsafe.Offsetof(a.N)))
	t.label("loop")
	t.vload(v, at(row, 0))
	t.vload(x, at(value, 0))
	t.vsplat(t0, at(par, 4*2))
	t.vless(mask, zeroV, v)
	t.vless(t1, zeroV, t0)
	t.vand(mask, mask, t1)
	t.vsplat(t1, at(par, 4*1))
	t.vmul(t1, t1, x)
	t.vadd(t0, t1, t0) // the upper line
	t.vload(t1, at(slope, 0))
	t.vmul(t1, t1, x)
	t.vselect(t0, mask, t1, t0)
	t.vstore(t0, at(value, 0))
	t.vmul(v, v, x) // the gradient
	t.vload(x, at(first, 0))
	t.vmul(t0, x, beta1)
	t.vmul(t1, v, rest1)
	t.vadd(t0, t0, t1)
	t.vselect(x, mask, t0, x)
	t.vstore(x, at(first, 0))
	t.vload(t0, at(second, 0))
	t.vmul(t1, t0, beta2)
	t.vmul(v, v, v)
	t.vmul(v, v, rest2)
	t.vadd(t1, t1, v)
	t.vselect(t0, mask, t1, t0)
	t.vstore(t0, at(second, 0))
	t.vmul(t0, t0, scale)
	t.vsqrt(t0, t0)
	t.vadd(t0, t0, tiny)
	t.vmul(x, x, rate)
	t.vdiv(x, x, t0)
	t.vload(t0, at(slope, 0))
	t.vadd(x, x, t0)
	t.vmax(t1, x, zeroV)
	t.vmin(t2, t1, one)
	t.vselect(t0, mask, t2, t0)
	t.vstore(t0, at(slope, 0))
	for _, r := range []reg{row, value, slope, first, second} {
		t.addImm(r, 32)
	}
	t.addImm(par, 4*asm.RelaxParams)
	t.dec(n)
	t.jump(notZero, "loop")
	t.addMem(par, field(unsafe.Offsetof(a.ParamSkip)))
	t.dec(rows)
	t.jump(notZero, "row")
	t.ret()
}
