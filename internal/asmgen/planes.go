package main

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// planes emits the way of neurons through planes in the input, of which each row has its own.
//
// Register map: 0 w or q, 1 its sign, 2 m, 3 and 4 scratch; 5 and 6 sums of a neuron, 7 θ, 8
// coefficients, 9–11 constants, 12 and 13 sums of all.
func planes(t target, ahead bool) {
	const neuron, left, weight, q, y, x, n, rows, own, args, tmpR reg = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
	const w, s, m, r, tmp, sum, slope, theta, coef, sign, one, zeroV, sumT, sumE vec = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
	name, doc := "PlanesBack", "takes coefficients of eight rows on neurons to what they read"
	if ahead {
		name, doc = "PlanesAhead", "gives eight rows the values of neurons at corners of what they read"
	}
	t.text(name, doc+", by\nplanes that PlanesArgs describes.", "a *PlanesArgs", 8)
	var a asm.PlanesArgs
	var p asm.PlaneNeuron
	field := func(off uintptr) mem { return at(args, int(off)) }
	of := func(off uintptr) mem { return at(neuron, int(off)) }
	lanes := func(i int) mem { return at(own, 32*i) }
	// Of an input with q at r: its sign, and m of a θ, which is left uncut in tmp.
	input := func() {
		t.vload(m, at(y, 0))
		t.vand(s, r, sign)
		t.vxor(m, m, s)
		t.vsub(tmp, theta, m)
		t.vmax(m, tmp, zeroV)
		t.vmin(m, m, one)
	}
	loop := func(label string, weights, inputs bool, body func()) {
		t.load(q, of(unsafe.Offsetof(p.Q)))
		t.load(y, field(unsafe.Offsetof(a.Y)))
		t.addMem(y, of(unsafe.Offsetof(p.Window)))
		if weights {
			t.load(weight, of(unsafe.Offsetof(p.W)))
		}
		if inputs {
			t.load(x, field(unsafe.Offsetof(a.X)))
			t.addMem(x, of(unsafe.Offsetof(p.Window)))
		}
		t.load(rows, of(unsafe.Offsetof(p.Rows)))
		t.label(label + "Row")
		t.load(n, of(unsafe.Offsetof(p.N)))
		t.label(label)
		t.vsplat(r, at(q, 0))
		input()
		body()
		t.addImm(q, 4)
		t.addImm(y, 32)
		if weights {
			t.addImm(weight, 4)
		}
		if inputs {
			t.addImm(x, 32)
		}
		t.dec(n)
		t.jump(notZero, label)
		t.addMem(y, of(unsafe.Offsetof(p.Skip)))
		if weights {
			t.addMem(weight, of(unsafe.Offsetof(p.WSkip)))
		}
		if inputs {
			t.addMem(x, of(unsafe.Offsetof(p.Skip)))
		}
		t.dec(rows)
		t.jump(notZero, label+"Row")
	}
	explain(t, `neuron: a neuron a turn; …Row: runs, fit, back and ahead: an input a turn.
%s neuron, %s neurons left, %s weights, %s q, %s y, %s x, %s inputs and %s runs left, %s lane vectors of the neuron, %s args, %s scratch;
%s weight, %s sign bit of q, %s m, %s q, %s scratch, %s S, %s D, %s θ, %s coefficients, %s sign bits, %s one, %s zero, %s and %s sums.`,
		neuron, left, weight, q, y, x, n, rows, own, args, tmpR, w, s, m, r, tmp, sum, slope, theta, coef, sign, one, zeroV, sumT, sumE)
	t.loadArg(args, "a", 0)
	t.load(neuron, field(unsafe.Offsetof(a.Neurons)))
	t.load(left, field(unsafe.Offsetof(a.Count)))
	t.load(own, field(unsafe.Offsetof(a.Own)))
	t.vconst(sign, "sign8")
	t.vconst(one, "one8")
	t.vzero(zeroV)
	if !ahead {
		t.vzero(sumT)
		t.vzero(sumE)
	}
	t.label("neuron")
	if !ahead {
		t.load(tmpR, field(unsafe.Offsetof(a.Lift)))
		t.compareImm(tmpR, 0)
		t.jump(zero, "lifted")
		t.load(tmpR, field(unsafe.Offsetof(a.Row)))
		t.addMem(tmpR, of(unsafe.Offsetof(p.Lane)))
		t.vload(tmp, at(tmpR, 0))
		t.vmin(coef, zeroV, tmp)
		t.vstore(coef, lanes(2))
		t.vmax(tmp, zeroV, tmp) // NaN stays, in both
		t.vstore(tmp, at(tmpR, 0))
		t.label("lifted")
	}
	t.vload(coef, lanes(2))
	t.vmove(w, coef)
	t.lane8Sum(w, tmp, field(unsafe.Offsetof(a.Sum)))
	t.load32(tmpR, field(unsafe.Offsetof(a.Sum)))
	t.compareImm(tmpR, 0)
	t.jump(zero, "next")
	t.vload(theta, lanes(0))
	if ahead {
		t.vzero(sum)
		loop("ahead", false, true, func() {
			t.vmul(m, r, m)
			t.vload(tmp, at(x, 0))
			t.vandNot(tmp, tmp, sign)
			t.vxor(m, m, tmp)
			t.vadd(sum, sum, m)
		})
		t.vload(tmp, lanes(1))
		t.vadd(sum, sum, tmp)
		t.load(tmpR, field(unsafe.Offsetof(a.Value)))
		t.addMem(tmpR, of(unsafe.Offsetof(p.Lane)))
		t.vload(tmp, at(tmpR, 0))
		t.vless(m, coef, zeroV)
		t.vselect(r, m, sum, tmp)
		t.vstore(r, at(tmpR, 0))
	} else {
		t.vzero(sum)
		t.vzero(slope)
		loop("fit", false, false, func() {
			t.vequal(tmp, tmp, m)
			t.vxor(r, r, s)
			t.vand(tmp, tmp, r)
			t.vadd(slope, slope, tmp)
			t.vmul(r, r, m)
			t.vadd(sum, sum, r)
		})
		t.vsplat(tmp, of(unsafe.Offsetof(p.Half)))
		t.vsub(w, tmp, sum)
		t.vdiv(r, w, slope)
		t.vless(s, zeroV, slope)
		t.vconst(m, "quarter8")
		t.vand(tmp, w, sign)
		t.vor(tmp, m, tmp)
		t.vequal(m, w, zeroV)
		t.vandNot(tmp, m, tmp)
		t.vselect(w, s, r, tmp)
		t.vadd(w, theta, w)
		t.vsub(tmp, zeroV, one)
		t.vmax(m, w, tmp)
		t.vadd(tmp, one, one)
		t.vmin(w, m, tmp)
		t.vless(m, coef, zeroV)
		t.vselect(theta, m, w, theta)
		t.vstore(theta, lanes(0))
		t.vzero(sum)
		loop("back", true, true, func() {
			t.vxor(r, r, s)
			t.vmul(r, r, m)
			t.vadd(sum, sum, r)
			t.vsplat(w, at(weight, 0))
			t.vmul(w, coef, w)
			t.vmul(w, w, m)
			t.vload(tmp, at(x, 0))
			t.vadd(tmp, tmp, w)
			t.vstore(tmp, at(x, 0))
		})
		t.vsplat(tmp, of(unsafe.Offsetof(p.Up)))
		t.vsub(tmp, tmp, sum)
		t.vmax(tmp, sum, tmp)
		t.vsplat(r, field(unsafe.Offsetof(a.Factor)))
		t.vmul(tmp, tmp, r)
		t.vsplat(r, field(unsafe.Offsetof(a.Tiny)))
		t.vadd(tmp, tmp, r)
		t.vstore(tmp, lanes(1))
		t.vmul(tmp, coef, tmp)
		t.vadd(sumT, sumT, tmp)
		t.vandNot(tmp, sign, coef)
		t.vsplat(r, of(unsafe.Offsetof(p.Error)))
		t.vmul(tmp, tmp, r)
		t.vadd(sumE, sumE, tmp)
	}
	t.label("next")
	t.addImm(own, 3*32)
	t.addImm(neuron, int(unsafe.Sizeof(p)))
	t.dec(left)
	t.jump(notZero, "neuron")
	if !ahead {
		t.vstore(sumT, field(unsafe.Offsetof(a.Sums)))
		t.vstore(sumE, field(unsafe.Offsetof(a.Sums)+32))
	}
	t.ret()
}
