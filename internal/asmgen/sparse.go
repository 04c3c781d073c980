package main

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// sparseGroups are the SparseP kernels of an ISA. With pairs, of channels, two splats of two
// weights serve all groups; AVX2's will do for one or two.
var sparseGroups = map[string][]int{
	"avx2":   {1, 2, 3},
	"neon":   {1, 2, 3},
	"avx512": {3, 4, 5},
}

func emitSparse(t target) {
	for _, groups := range sparseGroups[t.isa()] {
		sparse(t, groups)
	}
}

// sparse emits one output pixel of several lane groups, four channels a tile, from a
// list of inputs.
//
// Register map: accumulators by group and channel, then inputs, or the weights of pairs of
// channels, then a weight, or an input.
func sparse(t target, groups int) {
	const n, list, w, args, tiles, off, outOff reg = 0, 1, 2, 3, 4, 5, 6
	const in reg = 7 // one for each group
	chans := units(t, 4)
	acc := func(p, i int) vec { return chans[i].of(vec(len(chans)*p + i)) }
	first := vec(len(chans) * groups)
	t.text(fmt.Sprintf("Sparse%d", groups), "computes an output pixel of as many lane groups, as SparseArgs describes.", "a *SparseArgs", 8)
	var a asm.SparseArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	explain(t, `tile: four channels, loop: a term of their sums a turn.
%s terms left, %s list, %s weights, %s args, %s tiles left, %s offset, %s output channel, %s ... %s inputs by group;
%s sums by (group, channel), then what is held, inputs or pairs of weights, and the other one.`,
		n, list, w, args, tiles, off, outOff, in, in+reg(groups)-1, run{acc(0, 0), len(chans) * groups})
	t.loadArg(args, "a", 0)
	t.splatInit(off)
	t.load(w, field(unsafe.Offsetof(a.W)))
	t.load(tiles, field(unsafe.Offsetof(a.Tiles)))
	t.clear(outOff)
	for p := range groups {
		t.load(in+reg(p), field(unsafe.Offsetof(a.In)+uintptr(8*p)))
	}
	t.label("tile")
	for p := range groups {
		for i := range chans {
			t.vzero(acc(p, i).single())
		}
	}
	t.load(list, field(unsafe.Offsetof(a.List)))
	t.load(n, field(unsafe.Offsetof(a.N)))
	t.label("loop")
	x := func(p int) vec { return chans[0].of(first + vec(p)) }
	input := func(p int) mem { return atIndex(in+reg(p), off, 0) }
	weight := func(i int) mem { return atIndex(w, off, 4*i) }
	if t.span() > 1 { // hold the weights
		t.load32(off, at(list, 4))
		for i, c := range chans {
			t.vsplat(first.pair()+vec(i), weight(c.first))
		}
		t.load32(off, at(list, 0))
		for p := range groups {
			in := x(len(chans) + p%2)
			t.vdup(in, input(p))
			for i := range chans {
				t.vfma(acc(p, i), in, first.pair()+vec(i))
			}
		}
	} else { // hold the inputs
		t.load32(off, at(list, 0))
		for p := range groups {
			t.vload(x(p), input(p))
		}
		t.load32(off, at(list, 4))
		const held vec = 15
		e, isByElement := t.(byElement)
		if isByElement {
			e.loadWords(held.halves()[0], 4, weight(0))
		}
		for i := range chans {
			if !isByElement {
				t.vsplat(held, weight(i))
			}
			for p := range groups {
				if isByElement {
					e.fmaElement(acc(p, i), x(p), held.halves()[0], i)
				} else {
					t.vfma(acc(p, i), x(p), held)
				}
			}
		}
	}
	t.addImm(list, 8)
	t.dec(n)
	t.jump(notZero, "loop")
	for p := range groups {
		t.load(off, field(unsafe.Offsetof(a.Out)+uintptr(8*p)))
		for i, c := range chans {
			t.vstore(acc(p, i), atIndex(off, outOff, 32*c.first))
		}
	}
	t.addImm(outOff, 128)
	t.addMem(w, field(unsafe.Offsetof(a.WTile)))
	t.dec(tiles)
	t.jump(notZero, "tile")
	t.ret()
}
