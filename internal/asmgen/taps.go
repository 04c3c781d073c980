package main

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

func emitTaps(t target) {
	depth(t, true)
	depth(t, false)
	depthRow(t, true)
	depthRow(t, false)
	poolMax(t)
	poolSum(t)
	poolSumGrad(t)
	poolMaxGrad(t)
	for _, taps := range []int{1, 3} {
		for _, vecs := range []int{1, 4} {
			depthGrad(t, taps, vecs)
		}
	}
}

var tapsArgs asm.TapsArgs

// tapSize is the size of an asm.Tap, whose W is tapW bytes on.
const (
	tapSize = int(unsafe.Sizeof(asm.Tap{}))
	tapW    = int(unsafe.Offsetof(asm.Tap{}.W))
)

// tapsWalk is the loop of the kernels that TapsArgs describes: over the pixels and, within
// one, over its lane vectors, four at once and then one. The last one of a pixel that is
// no multiple of lane vectors overlaps the one before.
//
// Register map: the fields below; kernels have 10 … 13 for themselves.
type tapsWalk struct {
	target
	roles  string // of the vectors, as explain takes it
	names  []any
	perVec []step // what else moves with the lane vectors
	whole  bool   // pixels are multiples of lane vectors
	setup  func() // if not nil, emits what comes before the first pixel
	// chunk emits v lane vectors; name begins its labels. left holds, negative, the
	// bytes by which a single one overlaps.
	chunk func(v int, name string)
}

// step is a register that starts at a field of the arguments for each pixel, and the bytes
// that it moves for a lane vector.
type step struct {
	r     reg
	field uintptr
	bytes int
}

const (
	tapsArg   reg = iota
	tapsDst       // of the pixel's first lane vector
	tapsSrc       // likewise
	tapsTo        // of the current lane vector
	tapsFrom      // likewise
	tapsLeft      // bytes left of the pixel
	tapsList      // of the current tap
	tapsN         // taps left
	tapsAt        // of the current tap's pixel
	tapsCount     // pixels left
	tapsFree      // the first that kernels have for themselves
)

func (w tapsWalk) field(off uintptr) mem { return at(tapsArg, int(off)) }

func (w tapsWalk) emit(name, doc string) {
	w.text(name, doc, "a *TapsArgs", 8)
	explain(w, `pixel: pixels, four and one: lane vectors of a pixel, fourloop and oneloop: taps; last: a vector that overlaps the one before.
%s args, %s and %s pixel of Dst and Src, %s and %s lane vectors there, %s bytes left of the pixel, %s tap, %s taps left, %s the tap's pixel, %s pixels left.`,
		tapsArg, tapsDst, tapsSrc, tapsTo, tapsFrom, tapsLeft, tapsList, tapsN, tapsAt, tapsCount)
	explain(w, w.roles, w.names...)
	w.loadArg(tapsArg, "a", 0)
	w.load(tapsDst, w.field(unsafe.Offsetof(tapsArgs.Dst)))
	w.load(tapsSrc, w.field(unsafe.Offsetof(tapsArgs.Src)))
	w.load(tapsCount, w.field(unsafe.Offsetof(tapsArgs.Pixels)))
	if w.setup != nil {
		w.setup()
	}
	w.label("pixel")
	w.move(tapsTo, tapsDst)
	w.move(tapsFrom, tapsSrc)
	for _, s := range w.perVec {
		w.load(s.r, w.field(s.field))
	}
	forward := func(v int) {
		w.addImm(tapsTo, 32*v)
		w.addImm(tapsFrom, 32*v)
		for _, s := range w.perVec {
			w.addImm(s.r, s.bytes*v)
		}
	}
	w.load(tapsLeft, w.field(unsafe.Offsetof(tapsArgs.Bytes)))
	w.addImm(tapsLeft, -128)
	w.jump(less, "few")
	w.label("four")
	w.chunk(4, "four")
	forward(4)
	w.addImm(tapsLeft, -128)
	w.jump(greaterEqual, "four")
	w.label("few")
	w.addImm(tapsLeft, 128)
	w.jump(zero, "next")
	w.label("one")
	w.addImm(tapsLeft, -32)
	if !w.whole {
		w.jump(greaterEqual, "whole")
		w.addReg(tapsTo, tapsLeft)
		w.addReg(tapsFrom, tapsLeft)
		for _, s := range w.perVec {
			w.addReg(s.r, tapsLeft)
		}
		w.chunk(1, "last")
		w.jump(always, "next")
		w.label("whole")
	}
	w.chunk(1, "one")
	forward(1)
	w.compareImm(tapsLeft, 0)
	w.jump(notZero, "one")
	w.label("next")
	w.addMem(tapsDst, w.field(unsafe.Offsetof(tapsArgs.DstStep)))
	w.addMem(tapsSrc, w.field(unsafe.Offsetof(tapsArgs.SrcStep)))
	w.dec(tapsCount)
	w.jump(notZero, "pixel")
	w.ret()
}

// taps emits the loop over the taps from the first one on, whose address is in tapsAt;
// base is where a tap at 0 would be.
func (w tapsWalk) taps(name string, first int, base reg, body func()) {
	w.load(tapsList, w.field(unsafe.Offsetof(tapsArgs.Taps)))
	if first > 0 {
		w.addImm(tapsList, first*tapSize)
	}
	w.load(tapsN, w.field(unsafe.Offsetof(tapsArgs.N)))
	w.addImm(tapsN, -first)
	w.jump(zero, name+"end")
	w.label(name + "loop")
	w.load(tapsAt, at(tapsList, 0))
	w.addReg(tapsAt, base)
	body()
	w.addImm(tapsList, tapSize)
	w.dec(tapsN)
	w.jump(notZero, name+"loop")
	w.label(name + "end")
}

// depth emits a depthwise convolution.
//
// Vectors: 0 … 3 sums; 4 and 5 scratch, 6 Least, 7 zero.
func depth(t target, lanes bool) {
	const weights, bias, weight, gate = tapsFree, tapsFree + 1, tapsFree + 2, tapsFree + 3
	const x, wv, least, zeroV vec = 4, 5, 6, 7
	name, doc, size := "DepthValues", "convolves each channel of single images by itself, as TapsArgs describes.", 32
	load := func(dst vec, base reg, i int) { t.vload(dst, at(base, 32*i)) }
	if lanes {
		name, doc, size = "DepthLanes", "convolves each channel of a lane group by itself, as TapsArgs describes.", 4
		load = func(dst vec, base reg, i int) { t.vsplat(dst, at(base, 4*i)) }
	}
	w := tapsWalk{target: t, whole: lanes}
	w.roles = `%s and %s weights and bias of the lane vector, %s weights of the tap, %s gate; %s sums, %s and %s scratch, %s Least, %s zero.`
	w.names = []any{weights, bias, weight, gate, fromTo(0, 3), x, wv, least, zeroV}
	w.perVec = []step{
		{weights, unsafe.Offsetof(tapsArgs.W), size}, {bias, unsafe.Offsetof(tapsArgs.Bias), size},
	}
	w.chunk = func(v int, label string) {
		for i := range v {
			load(vec(i), bias, i)
		}
		w.taps(label, 0, tapsFrom, func() {
			t.load(weight, at(tapsList, tapW))
			t.addReg(weight, weights)
			e, isByElement := t.(byElement)
			if isByElement && lanes {
				e.loadWords(wv.halves()[0], v, at(weight, 0))
			}
			for i := range v {
				switch {
				case isByElement && lanes:
					t.vload(x, at(tapsAt, 32*i))
					e.fmaElement(vec(i), x, wv.halves()[0], i)
				case isByElement:
					t.vload(x, at(tapsAt, 32*i))
					load(wv, weight, i)
					t.vfma(vec(i), x, wv)
				default:
					load(wv, weight, i)
					t.vfmaMem(vec(i), wv, at(tapsAt, 32*i))
				}
			}
		})
		t.vsplat(least, w.field(unsafe.Offsetof(tapsArgs.Least)))
		for i := range v {
			t.vmax(vec(i), least, vec(i))
		}
		t.load(gate, w.field(unsafe.Offsetof(tapsArgs.Gated)))
		t.compareImm(gate, 0)
		t.jump(zero, label+"store")
		t.vzero(zeroV)
		t.move(gate, tapsTo)
		t.addMem(gate, w.field(unsafe.Offsetof(tapsArgs.GateOff)))
		for i := range v {
			t.vload(x, at(gate, 32*i))
			t.vgate(vec(i), x, zeroV)
		}
		t.label(label + "store")
		for i := range v {
			t.vstore(vec(i), at(tapsTo, 32*i))
		}
	}
	w.emit(name, doc)
}

// first loads v lane vectors of the first tap.
func (w tapsWalk) first(v int) {
	w.load(tapsList, w.field(unsafe.Offsetof(tapsArgs.Taps)))
	w.load(tapsAt, at(tapsList, 0))
	w.addReg(tapsAt, tapsFrom)
	for i := range v {
		w.vload(vec(i), at(tapsAt, 32*i))
	}
}

// poolMax emits the maximum.
//
// Vectors: 0 … 3 maxima, 4 … 7 ones where no NaN was seen; 8 and 9 scratch, 10 ones.
func poolMax(t target) {
	const x, equal, ones vec = 8, 9, 10
	w := tapsWalk{target: t, roles: "%s maxima, %s ones where no NaN was seen, %s and %s scratch, %s ones."}
	w.names = []any{fromTo(0, 3), fromTo(4, 7), x, equal, ones}
	w.chunk = func(v int, label string) {
		w.first(v)
		t.vzero(x)
		t.vequal(ones, x, x)
		for i := range v {
			t.vequal(vec(4+i), vec(i), vec(i))
		}
		w.taps(label, 1, tapsFrom, func() {
			for i := range v {
				t.vload(x, at(tapsAt, 32*i))
				t.vequal(equal, x, x)
				t.vmax(vec(i), x, vec(i))
				t.vand(vec(4+i), vec(4+i), equal)
			}
		})
		for i := range v {
			t.vandNot(equal, vec(4+i), ones)
			t.vor(vec(i), vec(i), equal)
			t.vstore(vec(i), at(tapsTo, 32*i))
		}
	}
	w.emit("PoolMax", "is the maximum of each window of each channel, as TapsArgs describes.")
}

// poolSum emits the mean.
//
// Vectors: 0 … 3 sums, 4 scratch, 5 the divisor.
func poolSum(t target) {
	const x, divisor vec = 4, 5
	w := tapsWalk{target: t, roles: "%s sums, %s scratch, %s divisor."}
	w.names = []any{fromTo(0, 3), x, divisor}
	w.chunk = func(v int, label string) {
		w.first(v)
		w.taps(label, 1, tapsFrom, func() {
			for i := range v {
				t.vload(x, at(tapsAt, 32*i))
				t.vadd(vec(i), vec(i), x)
			}
		})
		t.vsplat(divisor, w.field(unsafe.Offsetof(tapsArgs.Divisor)))
		for i := range v {
			t.vdiv(vec(i), vec(i), divisor)
			t.vstore(vec(i), at(tapsTo, 32*i))
		}
	}
	w.emit("PoolSum", "is the mean of each window of each channel, as TapsArgs describes.")
}

// maskLast clears what a lane vector has in common with the one before.
func (w tapsWalk) maskLast(label string, v, tmp vec) {
	if label != "last" {
		return
	}
	w.load(tapsAt, w.field(unsafe.Offsetof(tapsArgs.Mask)))
	w.addReg(tapsAt, tapsLeft)
	w.vload(tmp, at(tapsAt, 32))
	w.vand(v, v, tmp)
}

// poolSumGrad emits the gradient of the mean.
//
// Vectors: 0 … 3 what a tap gets, 4 scratch, 5 the divisor.
func poolSumGrad(t target) {
	const x, divisor vec = 4, 5
	w := tapsWalk{target: t, roles: "%s what a tap gets, %s scratch, %s divisor."}
	w.names = []any{fromTo(0, 3), x, divisor}
	w.chunk = func(v int, label string) {
		t.vsplat(divisor, w.field(unsafe.Offsetof(tapsArgs.Divisor)))
		for i := range v {
			t.vload(vec(i), at(tapsFrom, 32*i))
			t.vdiv(vec(i), vec(i), divisor)
		}
		w.maskLast(label, 0, x)
		w.taps(label, 0, tapsTo, func() {
			for i := range v {
				t.vload(x, at(tapsAt, 32*i))
				t.vadd(x, x, vec(i))
				t.vstore(x, at(tapsAt, 32*i))
			}
		})
	}
	w.emit("PoolSumGrad", "adds the gradient of PoolSum, as TapsArgs describes.")
}

// poolMaxGrad emits the gradient of the maximum.
//
// Vectors: 0 … 3 the windows' gradients, until a tap has got them; 4 … 7 maxima; 8 … 10
// scratch.
func poolMaxGrad(t target) {
	const toX, fromY, x = tapsFree, tapsFree + 1, tapsFree + 2
	const equal, sum, part vec = 8, 9, 10
	w := tapsWalk{target: t, roles: "%s X less Dst, %s Y less Src, %s scratch; %s gradients until a tap has got them, %s maxima, %s scratch."}
	w.names = []any{toX, fromY, x, fromTo(0, 3), fromTo(4, 7), fromTo(equal, part)}
	w.setup = func() { // distances: X moves with Dst, and Y with Src
		t.load(toX, w.field(unsafe.Offsetof(tapsArgs.X)))
		t.load(fromY, w.field(unsafe.Offsetof(tapsArgs.Y)))
		t.move(x, tapsDst)
		t.neg(x)
		t.addReg(toX, x)
		t.move(x, tapsSrc)
		t.neg(x)
		t.addReg(fromY, x)
	}
	w.chunk = func(v int, label string) {
		t.move(x, tapsFrom)
		t.addReg(x, fromY)
		for i := range v {
			t.vload(vec(i), at(tapsFrom, 32*i))
			t.vload(vec(4+i), at(x, 32*i))
		}
		w.maskLast(label, 0, equal)
		w.taps(label, 0, tapsTo, func() {
			t.move(x, tapsAt)
			t.addReg(x, toX)
			for i := range v {
				t.vload(equal, at(x, 32*i))
				t.vequal(equal, equal, vec(4+i))
				t.vload(sum, at(tapsAt, 32*i))
				t.vand(part, vec(i), equal)
				t.vandNot(vec(i), equal, vec(i))
				t.vadd(sum, sum, part)
				t.vstore(sum, at(tapsAt, 32*i))
			}
		})
	}
	w.emit("PoolMaxGrad", "adds the gradient of PoolMax, as TapsArgs describes.")
}

// depthGrad emits the gradient of a depthwise convolution's weights.
//
// Vectors: 4·k + v for tap k and channel v; 12 and 13 scratch.
func depthGrad(t target, taps, vecs int) {
	const y, src, n, yStep, srcStep, args, list reg = 0, 1, 2, 3, 4, 5, 6
	const x, sums reg = 7, 10 // one for each tap
	const dy, xv vec = 12, 13
	acc := func(k, v int) vec { return vec(4*k + v) }
	name := map[[2]int]string{{1, 1}: "DepthGrad1x1", {1, 4}: "DepthGrad1x4", {3, 1}: "DepthGrad3x1", {3, 4}: "DepthGrad3x4"}[[2]int{taps, vecs}]
	t.text(name, "adds to the gradient of as many taps by lane vectors, as TapsArgs describes.", "a *TapsArgs", 8)
	field := func(off uintptr) mem { return at(args, int(off)) }
	explain(t, `loop: a pixel a turn.
%s gradient, %s input, %s pixels left, %s and %s steps, %s args, %s taps, %s ... inputs and %s ... sums by tap;
%s sums by tap, %s gradient, %s input.`, y, src, n, yStep, srcStep, args, list, x, sums, fromTo(acc(0, 0), acc(taps-1, vecs-1)), dy, xv)
	t.loadArg(args, "a", 0)
	t.load(y, field(unsafe.Offsetof(tapsArgs.Y)))
	t.load(src, field(unsafe.Offsetof(tapsArgs.Src)))
	t.load(n, field(unsafe.Offsetof(tapsArgs.Pixels)))
	t.load(yStep, field(unsafe.Offsetof(tapsArgs.DstStep)))
	t.load(srcStep, field(unsafe.Offsetof(tapsArgs.SrcStep)))
	t.load(list, field(unsafe.Offsetof(tapsArgs.Taps)))
	for k := range taps {
		t.load(x+reg(k), at(list, k*tapSize))
		t.addReg(x+reg(k), src)
		t.load(sums+reg(k), at(list, k*tapSize+tapW))
		t.shiftLeft(sums+reg(k), 3)
		t.addMem(sums+reg(k), field(unsafe.Offsetof(tapsArgs.W)))
		for v := range vecs {
			t.vload(acc(k, v), at(sums+reg(k), 32*v))
		}
	}
	_, isByElement := t.(byElement)
	t.label("loop")
	for v := range vecs {
		t.vload(dy, at(y, 32*v))
		for k := range taps {
			if isByElement {
				t.vload(xv, at(x+reg(k), 32*v))
				t.vfma(acc(k, v), dy, xv)
				continue
			}
			t.vfmaMem(acc(k, v), dy, at(x+reg(k), 32*v))
		}
	}
	t.addReg(y, yStep)
	for k := range taps {
		t.addReg(x+reg(k), srcStep)
	}
	t.dec(n)
	t.jump(notZero, "loop")
	for k := range taps {
		for v := range vecs {
			t.vstore(acc(k, v), at(sums+reg(k), 32*v))
		}
	}
	t.ret()
}
