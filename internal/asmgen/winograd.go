package main

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// Winograd's F(4×4, 3×3) (Lavin & Gray 2016): both transforms are separable, so
// each runs a one-dimensional transform over six rows or columns into a buffer
// in L1, and then over the other direction. The products in between are those of
// fully connected layers, one for each of the 36 frequencies.

func emitWinograd(t target) {
	winogradIn(t)
	winogradOut(t)
}

// Registers of both kernels. Vectors 0–5 hold a row or column, 6–10 what it
// becomes, 11–15 constants and scratch.
const (
	wgArgs, wgBase, wgTmp, wgOff, wgN, wgStride, wgPtr, wgGate, wgBias reg = 0, 1, 2, 3, 4, 5, 6, 7, 8
)

var wg asm.WinogradArgs

func wgBegin(t target) {
	field := func(o uintptr) mem { return at(wgArgs, int(o)) }
	t.loadArg(wgArgs, "a", 0)
	t.load(wgN, field(unsafe.Offsetof(wg.N)))
	t.load(wgTmp, field(unsafe.Offsetof(wg.Tmp)))
	t.load(wgStride, field(unsafe.Offsetof(wg.Stride)))
	t.clear(wgOff)
}

// pixel makes wgPtr point at pixel i, channel off.
func wgPixel(t target, i int) mem {
	t.load(wgPtr, at(wgArgs, int(unsafe.Offsetof(wg.P))+8*i))
	return atIndex(wgPtr, wgOff, 0)
}

func winogradIn(t target) {
	t.text("WinogradIn", "transforms the 6×6 input pixels of one tile; see WinogradArgs.", "a *WinogradArgs", 8)
	explain(t, `loop: a channel a turn, first the rows of its tile, then the columns.
%s args, %s products, %s buffer, %s channel, %s channels left, %s distance of frequencies, %s pixel.
%s a row or column, %s what it becomes, %s constants.`,
		wgArgs, wgBase, wgTmp, wgOff, wgN, wgStride, wgPtr, fromTo(0, 5), fromTo(6, 8), fromTo(11, 15))
	wgBegin(t)
	const four, minus4, minus5, two, minus2 vec = 11, 12, 13, 14, 15
	t.vconst(four, "four8")
	t.vconst(minus4, "minusFour8")
	t.vconst(minus5, "minusFive8")
	t.vconst(two, "two8")
	t.vconst(minus2, "minusTwo8")
	// transform is Bᵀ on vectors 0–5; store(i, v) takes its i-th result.
	transform := func(store func(i int, v vec)) {
		t.vmove(6, 4) // 4d0 − 5d2 + d4
		t.vfma(6, 2, minus5)
		t.vfma(6, 0, four)
		store(0, 6)
		t.vmove(6, 4)
		t.vfma(6, 2, minus4) // d4 − 4d2
		t.vmove(7, 3)
		t.vfma(7, 1, minus4) // d3 − 4d1
		t.vadd(8, 6, 7)
		store(1, 8)
		t.vsub(8, 6, 7)
		store(2, 8)
		t.vsub(6, 4, 2) // d4 − d2
		t.vsub(7, 3, 1) // d3 − d1
		t.vmove(8, 6)
		t.vfma(8, 7, two)
		store(3, 8)
		t.vfma(6, 7, minus2)
		store(4, 6)
		t.vfma(5, 3, minus5) // 4d1 − 5d3 + d5
		t.vfma(5, 1, four)
		store(5, 5)
	}
	t.label("loop")
	for y := range 6 {
		for x := range 6 {
			t.vload(vec(x), wgPixel(t, 6*y+x))
		}
		transform(func(i int, v vec) { t.vstore(v, at(wgTmp, 32*(6*y+i))) })
	}
	t.load(wgBase, at(wgArgs, int(unsafe.Offsetof(wg.Base))))
	t.addReg(wgBase, wgOff)
	for x := range 6 {
		for y := range 6 {
			t.vload(vec(y), at(wgTmp, 32*(6*y+x)))
		}
		transform(func(_ int, v vec) {
			t.vstore(v, at(wgBase, 0))
			t.addReg(wgBase, wgStride)
		})
	}
	t.addImm(wgOff, 32)
	t.dec(wgN)
	t.jump(notZero, "loop")
	t.ret()
}

func winogradOut(t target) {
	t.text("WinogradOut", "transforms the products of one tile back to 4×4 output pixels; see WinogradArgs.", "a *WinogradArgs", 8)
	explain(t, `loop: a channel a turn, first the columns of its products, then the rows.
%s args, %s products (and epilogue), %s buffer, %s channel, %s channels left, %s distance of frequencies, %s pixel, %s gate's distance, %s bias.
%s a row or column, %s what it becomes, %s constants, %s bias, %s zero.`,
		wgArgs, wgBase, wgTmp, wgOff, wgN, wgStride, wgPtr, wgGate, wgBias, fromTo(0, 5), fromTo(6, 10), fromTo(11, 13), vec(14), vec(15))
	wgBegin(t)
	const two, four, eight, bias, zeroV vec = 11, 12, 13, 14, 15
	t.vconst(two, "two8")
	t.vconst(four, "four8")
	t.vconst(eight, "eight8")
	t.vzero(zeroV)
	t.load(wgBias, at(wgArgs, int(unsafe.Offsetof(wg.Bias))))
	t.load(wgGate, at(wgArgs, int(unsafe.Offsetof(wg.GateOff))))
	// transform is Aᵀ on vectors 0–5, to vectors 6, 8, 9, 7.
	out := [4]vec{6, 8, 9, 7}
	transform := func() {
		t.vadd(6, 1, 2)
		t.vsub(7, 1, 2)
		t.vadd(10, 3, 4)
		t.vsub(3, 3, 4)
		t.vmove(8, 7) // (m1−m2) + 2(m3−m4)
		t.vfma(8, 3, two)
		t.vmove(9, 6) // (m1+m2) + 4(m3+m4)
		t.vfma(9, 10, four)
		t.vfma(7, 3, eight) // (m1−m2) + 8(m3−m4) + m5
		t.vadd(7, 7, 5)
		t.vadd(6, 6, 0) // m0 + (m1+m2) + (m3+m4)
		t.vadd(6, 6, 10)
	}
	t.label("loop")
	t.load(wgBase, at(wgArgs, int(unsafe.Offsetof(wg.Base))))
	t.addReg(wgBase, wgOff)
	for x := range 6 {
		for y := range 6 {
			t.vload(vec(y), at(wgBase, 0))
			t.addReg(wgBase, wgStride)
		}
		transform()
		for y := range 4 {
			t.vstore(out[y], at(wgTmp, 32*(6*y+x)))
		}
	}
	t.vsplat(bias, at(wgBias, 0))
	t.addImm(wgBias, 4)
	// The epilogue is chosen anew for each channel: the branches predict.
	t.load(wgBase, at(wgArgs, int(unsafe.Offsetof(wg.Epilogue))))
	t.compareImm(wgBase, asm.EpilogueReLU)
	t.jump(zero, "relu")
	t.jump(greater, "gate")
	for _, mode := range []string{"none", "relu", "gate"} {
		t.label(mode)
		for y := 3; y >= 0; y-- {
			for x := range 6 {
				t.vload(vec(x), at(wgTmp, 32*(6*y+x)))
			}
			transform()
			for x := 3; x >= 0; x-- {
				v := out[x]
				m := wgPixel(t, 4*y+x)
				t.vadd(v, v, bias)
				switch mode {
				case "relu":
					t.vrelu(v, zeroV, 0)
				case "gate":
					t.move(wgBase, wgPtr)
					t.addReg(wgBase, wgGate)
					t.vload(0, atIndex(wgBase, wgOff, 0))
					t.vgate(v, 0, zeroV)
				}
				t.vstore(v, m)
			}
		}
		if mode != "gate" {
			t.jump(always, "next")
		}
	}
	t.label("next")
	t.addImm(wgOff, 32)
	t.dec(wgN)
	t.jump(notZero, "loop")
	t.ret()
}
