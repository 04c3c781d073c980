package main

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// smallTiles are the SmallPxV kernels: P pixels times V vectors of eight output
// channels. 6x2 fills the FMA pipes; 1x4 is for fully connected layers of one
// image, which wait for memory; 1x2 takes its last tile. 8x1 is for the last
// channels when they are few: with fewer pixels it would wait for the same FMAs.
var smallTiles = [][2]int{{6, 2}, {3, 2}, {2, 2}, {1, 4}, {1, 2}, {8, 1}}

// bothTiles are the BothPxV kernels, chosen likewise: here 2x4 is for one image.
var bothTiles = [][2]int{{6, 2}, {4, 2}, {2, 2}, {2, 4}, {8, 1}}

func emitSmall(t target) {
	wt := weightType{"", 32, t.vload, nil}
	if e, ok := t.(byElement); ok {
		wt.loadHalf = func(dst half, m mem) { e.loadWords(dst, 4, m) }
	}
	emitTiles(t, wt)
}

// emitSmall16 emits the kernels for weights of 16 bits, which they expand.
func emitSmall16(t target) {
	bf16, f16 := weightType{"BF16", 16, t.vloadBF16, nil}, weightType{"F16", 16, t.vloadF16, nil}
	if e, ok := t.(byElement); ok {
		bf16.loadHalf, f16.loadHalf = e.loadHalfBF16, e.loadHalfF16
	}
	emitTiles(t, bf16)
	emitTiles(t, f16)
}

// weightType is a type of packed weights: its name, the bytes of eight of them, and
// what loads eight as a lane vector, or four as half of one where there are halves.
type weightType struct {
	suffix   string
	bytes    int
	load     func(dst vec, m mem)
	loadHalf func(dst half, m mem)
}

func emitTiles(t target, wt weightType) {
	for _, pv := range smallTiles {
		smallKernel(t, pv[0], pv[1], false, wt)
	}
	for _, pv := range bothTiles {
		smallKernel(t, pv[0], pv[1], true, wt)
	}
}

// smallKernel emits SmallPxV, or BothPxV.
//
// Register map: vectors 0 … P·V−1 are the accumulators of (pixel, vector), row
// by row; the next V hold the weights, the rest stream the pixels' inputs,
// broadcast (the last has the mask of |w|, if both are wanted). General registers as in convKernel, and w2, the second tile of a
// pair. With V = 1 there is one tile: its eight pixels take w2's register.
func smallKernel(t target, p, v int, both bool, wt weightType) {
	const (
		args, w, segs, off reg = 0, 1, 2, 3
		ptr0               reg = 4
		w2                 reg = 10
		outOff, tiles      reg = 12, 13
		tileVecs               = 2 // vectors of a tile
	)
	var a asm.ConvArgs
	ptr := func(j int) reg { return ptr0 + reg(j) }
	acc := func(j, i int) vec { return vec(j*v + i) }
	held := vec(p * v)
	stream := held + vec(v)
	abs, nStream, plain := vec(t.vecs()-1), t.vecs()-int(stream), p
	name, doc := fmt.Sprintf("Small%dx%d", p, v), fmt.Sprintf("computes %d output channels of %d pixels of single images; see ConvArgs.", 8*v, p)
	if both {
		nStream, plain = nStream-1, p/2
		name, doc = fmt.Sprintf("Both%dx%d", p, v), fmt.Sprintf("computes %d output channels of %d pixels, and with |w| of %d more; see ConvArgs.", 8*v, plain, plain)
	}
	next := func(j int) vec { return stream + vec(j%nStream) }
	pair := v > tileVecs
	stride := wt.bytes * min(v, tileVecs) // of the weights of a step
	weight := func(u, i int) mem {        // vector i of step u
		if i >= tileVecs {
			return at(w2, stride*u+wt.bytes*(i-tileVecs))
		}
		return at(w, stride*u+wt.bytes*i)
	}

	words, isByWord := t.(byWord)
	if isByWord {
		words.frame(32 * p * v)
	}
	t.text(name+wt.suffix, doc, "a *ConvArgs", 8)
	explain(t, `tile: output channels, seg: rows of a window, kloop and single: k, four and one at a time; part: the last tile.
%s args, %s weights, %s segments left (and bias), %s -SegLen ... 0 along a segment, %s ... %s pixels, %s output channel, %s tiles left.
%s sums by (pixel, vector), the rest weights and inputs.`,
		args, w, segs, off, ptr(0), ptr(p-1), outOff, tiles, run{0, p * v})
	t.loadArg(args, "a", 0)
	t.load(tiles, at(args, convArg.tiles))
	t.load(w, at(args, convArg.w))
	t.clear(outOff)
	elements, isByElement := t.(byElement)
	if both && !isByElement {
		t.vconst(abs, "abs8")
	}

	bias := func(from, to int) { // of pixels, from segs
		for i := range v {
			t.vload(acc(from, i), atIndex(segs, outOff, 32*i))
			for j := from + 1; j < to; j++ {
				t.vmove(acc(j, i), acc(from, i))
			}
		}
	}
	t.label("tile")
	t.load(segs, at(args, convArg.bias))
	bias(0, plain)
	if both {
		t.load(segs, at(args, int(unsafe.Offsetof(a.AbsBias))))
		bias(plain, p)
	}
	for j := range p {
		t.load(ptr(j), at(args, convArg.in+8*j))
	}
	if pair {
		t.move(w2, w)
		t.addMem(w2, at(args, int(unsafe.Offsetof(a.WTile))))
	}
	t.load(segs, at(args, convArg.segs))

	walk := segments{args, segs, off, pixelRegs(ptr0, p), 4, []reg{w}, stride, 0, nil}
	if pair {
		walk.weights = append(walk.weights, w2)
	}
	fetch := func(u int) {
		if plain == 1 && wt.bytes < 32 && stride*u%64 == 0 { // one image: each weight comes from memory (float32 streams well without)
			for _, w := range walk.weights {
				t.prefetch(at(w, stride*u+prefetchAhead))
			}
		}
	}
	walk.turn = eachStep(func(u int, in func(j int) mem) {
		fetch(u)
		for i := range v {
			wt.load(held+vec(i), weight(u, i))
		}
		for j := range p {
			if j == plain {
				for i := range v {
					t.vand(held+vec(i), held+vec(i), abs)
				}
			}
			x := next(j)
			t.vsplat(x, in(j))
			for i := range v {
				t.vfma(acc(j, i), held+vec(i), x)
			}
		}
	})
	if isByElement {
		walk.turn = smallByElement(elements, p, v, plain, wt, weight, fetch)
	}
	walk.emit(t)

	t.addMem(w, at(args, convArg.wTileSkip))
	for j := range p {
		t.load(ptr(j), at(args, convArg.out+8*j))
	}
	t.vzero(stream)
	e := smallEpilogue{t, p, v, acc, ptr, held, stream, outOff, segs, off}
	t.compareImm(tiles, 1)
	t.jump(notZero, "whole")
	t.load(w, at(args, int(unsafe.Offsetof(a.Mask)))) // no tile comes after this one
	t.compareImm(w, 0)
	t.jump(notZero, "part")

	t.label("whole")
	e.emit(args, -1, "")
	t.addImm(outOff, 32*v)
	t.dec(tiles)
	t.jump(notZero, "tile")
	t.ret()

	t.label("part")
	if isByWord {
		words.smallPart(e, args, w)
	} else {
		e.emit(args, w, "part")
	}
	t.ret()
}

// smallEpilogue is the end of SmallPxV: the epilogue and the stores of a tile.
type smallEpilogue struct {
	t                 target
	p, v              int
	acc               func(j, i int) vec
	ptr               func(j int) reg // the output pixels
	held, zero        vec
	outOff, gate, off reg
}

// emit emits it for all channels or those that mask points at. Labels begin with
// prefix.
func (e smallEpilogue) emit(args, mask reg, prefix string) {
	t := e.t
	each := func(f func(acc vec, j, i int)) {
		for j := range e.p {
			for i := range e.v {
				f(e.acc(j, i), j, i)
			}
		}
	}
	t.load(e.off, at(args, convArg.epilogue))
	t.compareImm(e.off, asm.EpilogueReLU)
	t.jump(less, prefix+"store")
	t.jump(greater, prefix+"gate")
	each(func(acc vec, _, _ int) { t.vrelu(acc, e.zero, e.held) })
	t.jump(always, prefix+"store")

	t.label(prefix + "gate")
	t.load(e.gate, at(args, convArg.gateOff))
	each(func(acc vec, j, i int) {
		if i == 0 {
			t.move(e.off, e.ptr(j))
			t.addReg(e.off, e.gate)
		}
		m := atIndex(e.off, e.outOff, 32*i)
		if mask < 0 {
			t.vload(e.held, m)
		} else {
			t.vload(e.held, at(mask, 32*i))
			t.(masked).vloadMask(e.held, e.held, m)
		}
		t.vgate(acc, e.held, e.zero)
	})

	t.label(prefix + "store")
	if mask < 0 {
		each(func(acc vec, j, i int) { t.vstore(acc, atIndex(e.ptr(j), e.outOff, 32*i)) })
		return
	}
	for i := range e.v {
		t.vload(e.held, at(mask, 32*i))
		for j := range e.p {
			t.(masked).vstoreMask(e.acc(j, i), e.held, atIndex(e.ptr(j), e.outOff, 32*i))
		}
	}
}

// smallByElement is the turn of smallKernel where inputs need no splat: a register
// has a pixel's inputs of all steps. The pixels from plain on take |w|.
//
// Register map: accumulators as in smallKernel, then one register a pixel, then the
// weights, loaded as soon as the registers they go to have been used: whole lane
// vectors where there is room for two, or halves.
func smallByElement(t byElement, p, v, plain int, wt weightType, weight func(u, i int) mem, fetch func(u int)) func(int, func(j, u int) mem) {
	acc := func(j, h int) half { return vec(j*v + h/2).halves()[h%2] } // half h of the V vectors
	input := func(j int) half { return half(2*p*v + j) }
	first := (input(p) + 1) &^ 1
	grain, room := 1, 2*t.vecs()-int(first) // halves in an item, and free
	if room >= 4 {
		grain = 2
	}
	room &^= grain - 1
	return func(steps int, at func(j, u int) mem) {
		items := 2 * v * steps / grain
		w := func(k, i int) half { return first + half((k*grain+i)%room) }
		load := func(k int) {
			u, h := k*grain/(2*v), k*grain%(2*v)
			m := weight(u, h/2)
			if grain == 2 {
				wt.load(vec(w(k, 0)/2), m)
				return
			}
			m.disp += wt.bytes / 2 * (h % 2)
			wt.loadHalf(w(k, 0), m)
		}
		for j := range p {
			t.loadWords(input(j), steps, at(j, 0))
		}
		for k := range min(room/grain, items) {
			load(k)
		}
		for k := range items {
			u, h := k*grain/(2*v), k*grain%(2*v)
			if h == 0 {
				fetch(u)
			}
			pixels := func(from, to int) {
				for i := range grain {
					for j := from; j < to; j++ {
						t.fmaHalf(acc(j, h+i), w(k, i), input(j), u)
					}
				}
			}
			pixels(0, plain)
			if plain < p {
				for i := range grain {
					t.absHalf(w(k, i))
				}
				pixels(plain, p)
			}
			if next := k + room/grain; next < items {
				load(next)
			}
		}
	}
}
