package main

import "unsafe"

// rowPixels and rowTaps are the pixels that depthRow computes at once and the taps of a row.
const (
	rowPixels = 4
	rowTaps   = 3
)

// depthRow emits a depthwise convolution where the taps come in rows of three neighbours
// and the windows of four pixels overlap: each of the six vectors of a row is loaded
// once, where depth loads twelve.
//
// Registers: d and d2 are the bytes of one pixel and of two; the rest as in tapsWalk.
// Vectors: 0 … 3 and 4 … 7 sums of two neighbouring lane vectors, a cache line: six lines
// a row may lie a power of two apart, too many for a cache to keep until the second half;
// 8 … 13 a row of the input, 14 a weight; 8 and 9 later Least or zero, and gates.
func depthRow(t target, lanes bool) {
	const d, d2, weights, bias, weight, gate = tapsDst, tapsSrc, tapsFree, tapsFree + 1, tapsFree + 2, tapsFree + 3
	const x, wv, least, tmp vec = 8, 14, 8, 9
	e, isByElement := t.(byElement)
	name, size := "DepthRowValues", 32
	load := func(dst vec, m mem) { t.vload(dst, m) }
	loadWeight, fma := load, func(acc, x, w vec) { t.vfma(acc, x, w) }
	if lanes {
		name, size = "DepthRowLanes", 4
		load = func(dst vec, m mem) { t.vsplat(dst, m) }
		loadWeight = load
		if isByElement {
			loadWeight = func(dst vec, m mem) { e.loadWords(dst.halves()[0], 1, m) }
			fma = func(acc, x, w vec) { e.fmaElement(acc, x, w.halves()[0], 0) }
		}
	}
	w := tapsWalk{target: t}
	t.text(name, "is Depth where that applies which TapsArgs says of it.", "a *TapsArgs", 8)
	explain(t, `pixel: four pixels, two and one: lane vectors of a pixel, twoloop and oneloop: rows of taps.
%s args, %s and %s bytes of one and two pixels, %s and %s lane vectors of Dst and Src, %s bytes left of the pixel, %s tap, %s taps left, %s pixels of the row, %s pixels left, %s and %s weights and bias of the lane vector, %s weights of the tap, %s gate;
%s sums, %s inputs, %s weight.`, tapsArg, d, d2, tapsTo, tapsFrom, tapsLeft, tapsList, tapsN, tapsAt, tapsCount, weights, bias, weight, gate, fromTo(0, 7), fromTo(8, 13), wv)
	t.loadArg(tapsArg, "a", 0)
	t.load(d, w.field(unsafe.Offsetof(tapsArgs.Bytes)))
	t.move(d2, d)
	t.addReg(d2, d)
	t.load(tapsCount, w.field(unsafe.Offsetof(tapsArgs.Pixels)))

	// pixels calls f for the addresses of n pixels from base on, which is lost.
	pixels := func(n int, base reg, f func(p int, m mem)) {
		for p := range n {
			if p > 0 && p%3 == 0 {
				t.addReg(base, d2)
				t.addReg(base, d)
			}
			switch p % 3 {
			case 0:
				f(p, at(base, 0))
			case 1:
				f(p, atIndex(base, d, 0))
			default:
				f(p, atIndex(base, d2, 0))
			}
		}
	}
	move := []reg{tapsTo, tapsFrom}
	chunk := func(n int, label string) {
		acc := func(v, p int) vec { return vec(rowPixels*v + p) }
		for v := range n {
			load(acc(v, 0), at(bias, size*v))
			for p := 1; p < rowPixels; p++ {
				t.vmove(acc(v, p), acc(v, 0))
			}
		}
		t.load(tapsList, w.field(unsafe.Offsetof(tapsArgs.Taps)))
		t.load(tapsN, w.field(unsafe.Offsetof(tapsArgs.N)))
		t.label(label + "loop")
		t.load(tapsAt, at(tapsList, 0))
		t.addReg(tapsAt, tapsFrom)
		for v := range n {
			pixels(rowPixels+rowTaps-1, tapsAt, func(p int, m mem) {
				m.disp = 32 * v
				t.vload(x+vec(p), m)
			})
			for k := range rowTaps {
				t.load(weight, at(tapsList, k*tapSize+tapW))
				t.addReg(weight, weights)
				loadWeight(wv, at(weight, size*v))
				for p := range rowPixels {
					fma(acc(v, p), x+vec(p+k), wv)
				}
			}
			if v+1 < n { // back to the first pixel
				t.load(tapsAt, at(tapsList, 0))
				t.addReg(tapsAt, tapsFrom)
			}
		}
		t.addImm(tapsList, rowTaps*tapSize)
		t.addImm(tapsN, -rowTaps)
		t.jump(notZero, label+"loop")
		if n > 1 { // the next four pixels of the last row, which may come from memory
			t.addReg(tapsAt, d2)
			t.addReg(tapsAt, d)
			pixels(rowPixels, tapsAt, func(_ int, m mem) { t.prefetchL2(m) })
		}
		t.vsplat(least, w.field(unsafe.Offsetof(tapsArgs.Least)))
		for i := range vec(rowPixels * n) {
			t.vmax(i, least, i)
		}
		t.load(gate, w.field(unsafe.Offsetof(tapsArgs.Gated)))
		t.compareImm(gate, 0)
		t.jump(zero, label+"store")
		t.vzero(least)
		t.move(gate, tapsTo)
		t.addMem(gate, w.field(unsafe.Offsetof(tapsArgs.GateOff)))
		pixels(rowPixels, gate, func(p int, m mem) {
			for v := range n {
				m.disp = 32 * v
				t.vload(tmp, m)
				t.vgate(acc(v, p), tmp, least)
			}
		})
		t.label(label + "store")
		t.move(tapsAt, tapsTo)
		pixels(rowPixels, tapsAt, func(p int, m mem) {
			for v := range n {
				m.disp = 32 * v
				t.vstore(acc(v, p), m)
			}
		})
		for _, r := range move {
			t.addImm(r, 32*n)
		}
		t.addImm(weights, size*n)
		t.addImm(bias, size*n)
	}
	t.label("pixel")
	t.load(tapsTo, w.field(unsafe.Offsetof(tapsArgs.Dst)))
	t.load(tapsFrom, w.field(unsafe.Offsetof(tapsArgs.Src)))
	t.load(weights, w.field(unsafe.Offsetof(tapsArgs.W)))
	t.load(bias, w.field(unsafe.Offsetof(tapsArgs.Bias)))
	t.move(tapsLeft, d)
	t.addImm(tapsLeft, -64)
	t.jump(less, "rest")
	t.label("two")
	chunk(2, "two")
	t.addImm(tapsLeft, -64)
	t.jump(greaterEqual, "two")
	t.label("rest")
	t.addImm(tapsLeft, 64)
	t.jump(zero, "next")
	t.label("one")
	t.addImm(tapsLeft, -32)
	if !lanes {
		t.jump(greaterEqual, "whole")
		for _, r := range append(move, weights, bias) {
			t.addReg(r, tapsLeft)
		}
		t.clear(tapsLeft)
		t.label("whole")
	}
	chunk(1, "one")
	t.compareImm(tapsLeft, 0)
	t.jump(notZero, "one")
	t.label("next")
	t.addImm(tapsCount, -rowPixels)
	t.jump(zero, "end") // not beyond the last pixel: the collector of garbage sees these pointers
	for _, f := range []uintptr{unsafe.Offsetof(tapsArgs.Dst), unsafe.Offsetof(tapsArgs.Src)} {
		t.load(tapsAt, w.field(f))
		t.addReg(tapsAt, d2)
		t.addReg(tapsAt, d2)
		t.store(tapsAt, w.field(f))
	}
	t.jump(always, "pixel")
	t.label("end")
	t.ret()
}
