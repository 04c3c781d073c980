package main

import (
	"unsafe"

	"github.com/epsball/epsball/asm"
)

func emitSparse(t target) {
	for groups := 1; groups <= asm.SparseGroups; groups++ {
		sparse(t, groups)
	}
}

// sparse emits one output pixel of several lane groups, four channels a tile, from a
// list of inputs.
//
// Register map: 4·p + i for group p and channel i; 12–14 the inputs, 15 a weight.
func sparse(t target, groups int) {
	const n, list, w, args, tiles, off reg = 0, 1, 2, 3, 4, 5
	const in, out reg = 6, 9 // one for each group
	acc := func(p, i int) vec { return vec(4*p + i) }
	x := func(p int) vec { return vec(12 + p) }
	const weight vec = 15
	name := []string{"Sparse1", "Sparse2", "Sparse3"}[groups-1]
	t.text(name, "computes an output pixel of as many lane groups, as SparseArgs describes.", "a *SparseArgs", 8)
	var a asm.SparseArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	explain(t, `tile: four channels, loop: a term of their sums a turn.
%s terms left, %s list, %s weights, %s args, %s tiles left, %s offset, %s ... inputs, %s ... outputs by group;
%s sums by (group, channel), %s inputs, %s weight.`,
		n, list, w, args, tiles, off, in, out, run{acc(0, 0), 4 * groups}, run{x(0), groups}, weight)
	t.loadArg(args, "a", 0)
	t.load(w, field(unsafe.Offsetof(a.W)))
	t.load(tiles, field(unsafe.Offsetof(a.Tiles)))
	for p := range groups {
		t.load(in+reg(p), field(unsafe.Offsetof(a.In)+uintptr(8*p)))
		t.load(out+reg(p), field(unsafe.Offsetof(a.Out)+uintptr(8*p)))
	}
	t.label("tile")
	for p := range groups {
		for i := range 4 {
			t.vzero(acc(p, i))
		}
	}
	t.load(list, field(unsafe.Offsetof(a.List)))
	t.load(n, field(unsafe.Offsetof(a.N)))
	t.label("loop")
	t.load32(off, at(list, 0))
	for p := range groups {
		t.vload(x(p), atIndex(in+reg(p), off, 0))
	}
	t.load32(off, at(list, 4))
	e, isByElement := t.(byElement)
	if isByElement {
		e.loadWords(weight.halves()[0], 4, atIndex(w, off, 0))
	}
	for i := range 4 {
		if !isByElement {
			t.vsplat(weight, atIndex(w, off, 4*i))
		}
		for p := range groups {
			if isByElement {
				e.fmaElement(acc(p, i), x(p), weight.halves()[0], i)
			} else {
				t.vfma(acc(p, i), x(p), weight)
			}
		}
	}
	t.addImm(list, 8)
	t.dec(n)
	t.jump(notZero, "loop")
	for p := range groups {
		for i := range 4 {
			t.vstore(acc(p, i), at(out+reg(p), 32*i))
		}
		t.addImm(out+reg(p), 128)
	}
	t.addMem(w, field(unsafe.Offsetof(a.WTile)))
	t.dec(tiles)
	t.jump(notZero, "tile")
	t.ret()
}
