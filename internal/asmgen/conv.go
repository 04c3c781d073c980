package main

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// convTiles are the ConvRxP kernels of an ISA: R output channels times P pixels.
// Twelve accumulators hide the FMA latency of two pipes; the narrow tiles serve
// the last output channels, 4x2 and 4x1 the last pixels. With pairs, one splat
// of two weights, an instruction that takes the place of an FMA, serves P of
// them: as many pixels as there are pointers. (For fewer channels or pixels AVX2's will do.)
var convTiles = map[string][][2]int{
	"avx2":   {{4, 3}, {4, 2}, {4, 1}, {3, 4}, {2, 6}, {1, 8}},
	"neon":   {{4, 3}, {4, 2}, {4, 1}, {3, 4}, {2, 6}, {1, 8}},
	"avx512": {{4, 8}, {3, 8}},
}

var convArg struct {
	tiles, segs, segLen, segSkip, wSegSkip, wTileSkip, w, bias, epilogue, gateOff, in, out int
	wTile, pair, inStart, resume                                                           int
	batches, table, next, inBase, outBase                                                  int
}

func init() {
	var c asm.ConvArgs
	o := &convArg
	o.tiles, o.segs = int(unsafe.Offsetof(c.Tiles)), int(unsafe.Offsetof(c.Segs))
	o.segLen, o.segSkip = int(unsafe.Offsetof(c.SegLen)), int(unsafe.Offsetof(c.SegSkip))
	o.wSegSkip, o.wTileSkip = int(unsafe.Offsetof(c.WSegSkip)), int(unsafe.Offsetof(c.WTileSkip))
	o.resume = int(unsafe.Offsetof(c.Resume))
	o.wTile, o.pair, o.inStart = int(unsafe.Offsetof(c.WTile)), int(unsafe.Offsetof(c.Pair)), int(unsafe.Offsetof(c.InStart))
	o.w, o.bias = int(unsafe.Offsetof(c.W)), int(unsafe.Offsetof(c.Bias))
	o.epilogue, o.gateOff = int(unsafe.Offsetof(c.Epilogue)), int(unsafe.Offsetof(c.GateOff))
	o.in, o.out = int(unsafe.Offsetof(c.In)), int(unsafe.Offsetof(c.Out))
	o.batches, o.table, o.next = int(unsafe.Offsetof(c.Batches)), int(unsafe.Offsetof(c.Table)), int(unsafe.Offsetof(c.Next))
	o.inBase, o.outBase = int(unsafe.Offsetof(c.InBase)), int(unsafe.Offsetof(c.OutBase))
}

// prefetchAhead is the distance in bytes at which weights are fetched (measured:
// 2 and 8 KiB gain less).
const prefetchAhead = 4096

func emitConv(t target) {
	for _, rp := range convTiles[t.isa()] {
		convKernel(t, rp[0], rp[1], false)
	}
	if t.span() == 1 {
		convKernel(t, 8, 1, true)
	}
	if two, ok := t.(pairs); ok {
		joinKernel(t)
		for _, p := range joinedPixels {
			joinedKernel(two, p)
		}
	}
}

// convKernel emits ConvRxP.
//
// Register map: vectors 0 … R·P−1 are the accumulators of (channel, pixel),
// row by row; the next min(R, P) hold the operand with fewer vectors (the
// pixels' inputs, or the broadcast weights), the rest stream the other one.
// With pairs a row is two channels: R/2 rows, the last may be one channel. A
// weight register then holds two weights, an input register the same input
// twice, and a pair of outputs is contiguous in memory.
// 8x1 takes two tiles of four channels at a time, for a single pixel has too few
// sums to fill the pipes: its channels 4 … 7 have their weights at w2.
// General registers: args, w (walks the packed weights), segs (counts
// segments), off (counts −SegLen … 0 along a segment), ptr[p] (end of the
// segment of pixel p; the output pointers during the epilogue), outOff (byte
// offset of the tile's first channel), tiles (counts down).
func convKernel(t target, r, p int, pair bool) {
	const (
		args, w, segs, off     = regArgs, regW, regSegs, regOff
		ptr0                   = regPtr0
		outOff, tiles          = regOutOff, regTiles
		w2                 reg = 5 // of pairs, which have one pixel
	)
	perTile := r // channels of a tile
	if pair {
		perTile = r / 2
	}
	weight := func(u, i int) mem { // of channel i
		if i >= perTile {
			return at(w2, 4*(u*perTile+i-perTile))
		}
		return at(w, 4*(u*perTile+i))
	}
	ptr := func(j int) reg { return ptr0 + reg(j) }
	chans := units(t, r)
	acc := func(i, j int) vec { return chans[i].of(vec(i*p + j)) }
	held := vec(len(chans) * p)              // first held operand
	stream := held + vec(min(len(chans), p)) // first streaming register
	nStream := t.vecs() - int(stream)        // how many of them
	next := func(k int) vec { return stream + vec(k%nStream) }

	t.text(fmt.Sprintf("Conv%dx%d", r, p),
		fmt.Sprintf("computes %d output channels of %d pixels; see ConvArgs.", r, p), "a *ConvArgs", 8)
	operands := "the rest inputs and weights"
	if _, ok := t.(byElement); !ok {
		held := run{chans[0].of(held), min(len(chans), p)}
		operands = fmt.Sprintf("%s the operand that is held, the rest streams the other one", t.vecNames(held.first, held.n))
	}
	explain(t, `batch: pixels, tile: channels, seg: rows of a window, kloop and single: k, four and one at a time.
%s args, %s weights, %s segments left (and bias), %s -SegLen ... 0 along a segment, %s ... %s pixels, %s output channel, %s tiles left.
%s sums by (channel, pixel), %s.`,
		args, w, segs, off, ptr(0), ptr(p-1), outOff, tiles, run{acc(0, 0), len(chans) * p}, operands)
	t.loadArg(args, "a", 0)
	t.splatInit(outOff)

	beginTile(t)
	for i, c := range chans {
		t.vsplat(acc(i, 0), at(segs, 4*c.first))
		for j := 1; j < p; j++ {
			t.vmove(acc(i, j), acc(i, 0))
		}
	}
	for j := range p {
		t.load(ptr(j), at(args, convArg.in+8*j))
	}
	if pair {
		t.move(w2, w)
		t.addMem(w2, at(args, convArg.wTile))
	}
	t.load(segs, at(args, convArg.segs))

	walk := segments{args, segs, off, pixelRegs(ptr0, p), 32, []reg{w}, 4 * perTile, 0, nil}
	if pair {
		walk.weights = append(walk.weights, w2)
	}
	fetch := func(u int) {
		if u == unroll/2 { // weights of large layers come from memory faster than it is noticed that they are walked
			for _, w := range walk.weights {
				t.prefetch(at(w, prefetchAhead))
			}
		}
	}
	// One step is R·P FMAs.
	walk.turn = eachStep(func(u int, in func(j int) mem) {
		fetch(u)
		if p <= len(chans) { // hold the inputs, stream the weights
			for j := range p {
				t.vdup(chans[0].of(held+vec(j)), in(j))
			}
			for i, c := range chans {
				b := c.of(next(i))
				t.vsplat(b, weight(u, c.first))
				for j := range p {
					t.vfma(acc(i, j), c.of(held+vec(j)), b)
				}
			}
			return
		}
		for i, c := range chans { // hold the weights, stream the inputs
			t.vsplat(c.of(held+vec(i)), weight(u, c.first))
		}
		for j := range p {
			x := next(j)
			if r == 1 {
				t.vfmaMem(acc(0, j), held, in(j))
				continue
			}
			t.vdup(chans[0].of(x), in(j))
			for i, c := range chans {
				t.vfma(acc(i, j), c.of(x), c.of(held+vec(i)))
			}
		}
	})
	if e, ok := t.(byElement); ok {
		walk.turn = convByElement(e, r, p, perTile, weight, fetch)
	}
	walk.emit(t)

	endTile(t, r, p, false, stream, func() {
		for i, c := range chans {
			for j := range p {
				t.vrelu(acc(i, j), c.of(stream), c.of(held))
			}
		}
	}, func() {
		for j := range p {
			t.move(off, ptr(j))
			t.addReg(off, segs)
			for i, c := range chans {
				t.vload(c.of(held), atIndex(off, outOff, 32*c.first))
				t.vgate(acc(i, j), c.of(held), c.of(stream))
			}
		}
	}, func() {
		for j := range p {
			for i, c := range chans {
				t.vstore(acc(i, j), atIndex(ptr(j), outOff, 32*c.first))
			}
		}
	})
}

// General registers of ConvRxP and ConvRxPJoined.
const (
	regArgs, regW, regSegs, regOff reg = 0, 1, 2, 3
	regPtr0                        reg = 4
	regOutOff, regTiles            reg = 12, 13
)

// beginTile emits the labels batch and tile, and leaves the address of the tile's biases in
// the register of segments.
func beginTile(t target) {
	t.label("batch")
	t.load(regTiles, at(regArgs, convArg.tiles))
	t.load(regW, at(regArgs, convArg.w))
	t.clear(regOutOff)

	t.label("tile")
	t.move(regSegs, regOutOff) // the bias of channel i lies at i*4, its output at i*32
	t.shiftRight(regSegs, 3)
	t.addMem(regSegs, at(regArgs, convArg.bias))
}

// endTile emits what comes after the sums of a tile: the epilogue, by relu, which finds zeros in
// zeros, or by gate, which finds the distance of gates in the register of segments; store; and
// the next tile, or batch.
func endTile(t target, r, p int, joined bool, zeros vec, relu, gate, store func()) {
	t.addMem(regW, at(regArgs, convArg.wTileSkip))
	for j := range p {
		t.load(regPtr0+reg(j), at(regArgs, convArg.out+8*j))
	}
	t.load(regOff, at(regArgs, convArg.epilogue))
	t.compareImm(regOff, asm.EpilogueReLU)
	t.jump(less, "store")
	t.vzero(zeros)
	t.jump(greater, "gate")
	relu()
	t.jump(always, "store")

	t.label("gate")
	t.load(regSegs, at(regArgs, convArg.gateOff))
	gate()

	t.label("store")
	store()
	t.addImm(regOutOff, 32*r)
	t.dec(regTiles)
	t.jump(notZero, "tile")
	nextBatch(t, p, joined)
	t.jump(always, "batch")
	t.label("done")
	t.ret()
}

// nextBatch takes the pixels of the next batch from the table, or jumps to done if there
// is none.
func nextBatch(t target, p int, joined bool) {
	const args, segs, off = regArgs, regSegs, regOff
	t.load(off, at(args, convArg.batches))
	t.dec(off)
	t.jump(zero, "done")
	t.store(off, at(args, convArg.batches))
	t.load(segs, at(args, convArg.table))
	t.addMem(segs, at(args, convArg.next))
	for j := range p {
		t.load32(off, at(segs, 8*j))
		if joined {
			t.shiftLeft(off, 6)
			t.addMem(off, at(args, convArg.inStart))
		} else {
			t.shiftLeft(off, 5)
		}
		t.addMem(off, at(args, convArg.inBase))
		t.store(off, at(args, convArg.in+8*j))
		t.load32(off, at(segs, 8*j+4))
		t.shiftLeft(off, 5)
		t.addMem(off, at(args, convArg.outBase))
		t.store(off, at(args, convArg.out+8*j))
	}
	t.load(off, at(args, convArg.next)) // not the pointer, which would end up behind the table
	t.addImm(off, 8*p)
	t.store(off, at(args, convArg.next))
}

// convByElement is the turn of convKernel where weights need no splat. A register
// has the weights of four channels; inputs and weights are loaded as soon as the
// register they go to has been used, for the cores that do not reorder: with 4x3
// all 32 registers are at work.
//
// Register map: accumulators as in convKernel, then lane vectors of inputs, and at
// the end the weights of two steps.
func convByElement(t byElement, r, p, perTile int, weight func(u, i int) mem, fetch func(u int)) func(int, func(j, u int) mem) {
	acc := func(i, j int) vec { return vec(i*p + j) }
	tiles := r / perTile
	weights := func(u, tile int) half { return half(2*t.vecs() - 1 - tiles*(u%2) - tile) }
	load := func(u, steps int) {
		if r == 1 && steps == unroll { // consecutive steps are elements of one register
			if u == 0 {
				t.loadWords(weights(0, 0), steps, weight(0, 0))
			}
			return
		}
		for tile := range tiles {
			t.loadWords(weights(u, tile), perTile, weight(u, tile*perTile))
		}
	}
	first := vec(r * p)
	nInputs := t.vecs() - tiles - int(first)
	return func(steps int, at func(j, u int) mem) {
		items := steps * p // an item is one pixel of one step
		input := func(k int) vec { return first + vec(k%nInputs) }
		loadInput := func(k int) { t.vload(input(k), at(k%p, k/p)) }
		load(0, steps)
		for k := range min(nInputs, items) {
			loadInput(k)
		}
		for k := range items {
			u, j := k/p, k%p
			if j == 0 {
				fetch(u)
				if u+1 < steps {
					load(u+1, steps)
				}
			}
			for i := range r {
				w, element := weights(u, i/perTile), i%perTile
				if r == 1 {
					w, element = weights(0, 0), u
				}
				t.fmaElement(acc(i, j), input(k), w, element)
			}
			if k+nInputs < items {
				loadInput(k + nInputs)
			}
		}
	}
}
