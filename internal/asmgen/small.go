package main

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// smallTiles are the SmallPxV kernels: P pixels times V vectors of eight output
// channels. 6x2 fills the FMA pipes; 1x4 is for fully connected layers of one
// image, which wait for memory; 1x2 takes its last tile.
var smallTiles = [][2]int{{6, 2}, {3, 2}, {2, 2}, {1, 4}, {1, 2}}

func emitSmall(t target) {
	for _, pv := range smallTiles {
		smallKernel(t, pv[0], pv[1])
	}
}

// smallKernel emits SmallPxV.
//
// Register map: vectors 0 … P·V−1 are the accumulators of (pixel, vector), row
// by row; the next V hold the weights, the rest stream the pixels' inputs,
// broadcast. General registers as in convKernel, and w2, the second tile of a
// pair.
func smallKernel(t target, p, v int) {
	const (
		args, w, segs, off reg = 0, 1, 2, 3
		ptr0               reg = 4
		w2, mask           reg = 10, 11
		outOff, tiles      reg = 12, 13
		tileVecs               = 2 // vectors of a tile
	)
	var a asm.ConvArgs
	ptr := func(j int) reg { return ptr0 + reg(j) }
	acc := func(j, i int) vec { return vec(j*v + i) }
	held := vec(p * v)
	stream := held + vec(v)
	next := func(j int) vec { return stream + vec(j%(t.vecs()-int(stream))) }
	pair := v > tileVecs
	weight := func(u, i int) mem { // vector i of step u
		if i >= tileVecs {
			return at(w2, 64*u+32*(i-tileVecs))
		}
		return at(w, 64*u+32*i)
	}

	t.text(fmt.Sprintf("Small%dx%d", p, v),
		fmt.Sprintf("computes %d output channels of %d pixels of single images; see ConvArgs.", 8*v, p), "a *ConvArgs", 8)
	t.loadArg(args, "a", 0)
	t.load(tiles, at(args, convArg.tiles))
	t.load(w, at(args, convArg.w))
	t.clear(outOff)

	t.label("tile")
	t.load(segs, at(args, convArg.bias))
	for i := range v {
		t.vload(acc(0, i), atIndex(segs, outOff, 32*i))
		for j := 1; j < p; j++ {
			t.vmove(acc(j, i), acc(0, i))
		}
	}
	for j := range p {
		t.load(ptr(j), at(args, convArg.in+8*j))
	}
	if pair {
		t.move(w2, w)
		t.addMem(w2, at(args, int(unsafe.Offsetof(a.WTile))))
	}
	t.load(segs, at(args, convArg.segs))

	step := func(u, disp int) {
		for i := range v {
			t.vload(held+vec(i), weight(u, i))
		}
		for j := range p {
			x := next(j)
			t.vsplat(x, atIndex(ptr(j), off, disp))
			for i := range v {
				t.vfma(acc(j, i), held+vec(i), x)
			}
		}
	}
	walk := segments{args, segs, off, pixelRegs(ptr0, p), 4, []reg{w}, 64, step}
	if pair {
		walk.weights = append(walk.weights, w2)
	}
	walk.emit(t)

	t.addMem(w, at(args, convArg.wTileSkip))
	for j := range p {
		t.load(ptr(j), at(args, convArg.out+8*j))
	}
	t.load(off, at(args, convArg.epilogue))
	t.compareImm(off, asm.EpilogueReLU)
	t.jump(less, "store")
	t.vzero(stream)
	for j := range p {
		for i := range v {
			t.vmax(acc(j, i), stream, acc(j, i))
		}
	}
	t.label("store")
	t.compareImm(tiles, 1)
	t.jump(zero, "last")
	for j := range p {
		for i := range v {
			t.vstore(acc(j, i), atIndex(ptr(j), outOff, 32*i))
		}
	}
	t.addImm(outOff, 32*v)
	t.dec(tiles)
	t.jump(always, "tile")

	t.label("last")
	t.load(mask, at(args, int(unsafe.Offsetof(a.Mask))))
	for i := range v {
		t.vload(held, at(mask, 32*i))
		for j := range p {
			t.vstoreMask(acc(j, i), held, atIndex(ptr(j), outOff, 32*i))
		}
	}
	t.ret()
}
