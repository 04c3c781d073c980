package main

import "fmt"

// joinedPixels are the ConvRxPJoined kernels: R = 8 output channels times P pixels of two
// lane groups. An input is a pair, the same place of both groups, side by side in memory,
// so that a step is R·P FMAs, P loads and R splats of one weight, which loads do alone:
// nothing takes the place of an FMA. 8x3 has two FMAs a cycle (measured), 8x2 and 8x1, for
// the last pixels, 1.9 and 1.7: too many loads for one FMA.
var joinedPixels = []int{3, 2, 1}

// joinedUnroll is small: one step of 8x3 keeps the pipes busy for twelve cycles.
const joinedUnroll = 2

// joinedKernel emits ConvRxPJoined.
//
// Register map: vectors 0 … R·P−1 are the accumulators of (channel, pixel), row by row;
// the next P hold inputs, the rest stream weights. General registers are those of
// convKernel; the second tile of four channels has its weights at w2.
func joinedKernel(t pairs, p int) {
	const (
		args, w, segs, off       = regArgs, regW, regSegs, regOff
		ptr0                     = regPtr0
		w2, second           reg = 8, 9
		outOff, tiles            = regOutOff, regTiles
		r, perTile, vecBytes     = 8, 4, 64
	)
	ptr := func(j int) reg { return ptr0 + reg(j) }
	acc := func(i, j int) vec { return vec(i*p + j).pair() }
	held := func(j int) vec { return vec(r*p + j).pair() }
	stream := vec(r*p + p)
	next := func(k int) vec { return (stream + vec(k%(32-int(stream)))).pair() }

	outputs := func(each func(j int, first, second func(i int) mem)) {
		for j := range p {
			t.move(second, ptr(j))
			t.addMem(second, at(args, convArg.pair))
			each(j,
				func(i int) mem { return atIndex(ptr(j), outOff, 32*i) },
				func(i int) mem { return atIndex(second, outOff, 32*i) })
		}
	}

	t.text(fmt.Sprintf("Conv%dx%dJoined", r, p),
		fmt.Sprintf("computes %d output channels of %d pixels of two lane groups; see ConvArgs.", r, p), "a *ConvArgs", 8)
	explain(t, `batch: pixels, tile: channels, seg: rows of a window, kloop and single: k, two and one at a time.
%s args, %s and %s weights, %s segments left (and bias), %s -SegLen ... 0 along a segment, %s ... %s pixels, %s the second group's outputs, %s output channel, %s tiles left.
%s sums by (channel, pixel), %s inputs, the rest streams weights.`,
		args, w, w2, segs, off, ptr(0), ptr(p-1), second, outOff, tiles, run{acc(0, 0), r * p}, run{held(0), p})
	t.loadArg(args, "a", 0)

	beginTile(t)
	for i := range r {
		t.vsplatBoth(acc(i, 0), at(segs, 4*i))
		for j := 1; j < p; j++ {
			t.vmove(acc(i, j), acc(i, 0))
		}
	}
	t.load(off, at(args, convArg.resume))
	t.compareImm(off, 0)
	t.jump(zero, "start")
	for j := range p {
		t.load(ptr(j), at(args, convArg.out+8*j))
	}
	outputs(func(j int, first, second func(i int) mem) {
		for i := range r {
			t.vjoin(acc(i, j), first(i), second(i))
		}
	})
	t.label("start")
	for j := range p {
		t.load(ptr(j), at(args, convArg.in+8*j))
	}
	t.move(w2, w)
	t.addMem(w2, at(args, convArg.wTile))
	t.load(segs, at(args, convArg.segs))
	walk := segments{args, segs, off, pixelRegs(ptr0, p), vecBytes, []reg{w, w2}, 4 * perTile, joinedUnroll, nil}
	walk.turn = eachStep(func(u int, in func(j int) mem) {
		if u == joinedUnroll/2 {
			for _, w := range walk.weights {
				t.prefetch(at(w, prefetchAhead))
			}
		}
		for j := range p {
			t.vload(held(j), in(j))
		}
		for i := range r {
			b := next(i)
			t.vsplatBoth(b, at(walk.weights[i/perTile], 4*(u*perTile+i%perTile)))
			for j := range p {
				t.vfma(acc(i, j), held(j), b)
			}
		}
	})
	walk.emit(t)

	endTile(t, r, p, true, stream, func() {
		for i := range r {
			for j := range p {
				t.vrelu(acc(i, j), stream.pair(), held(0))
			}
		}
	}, func() {
		for j := range p {
			t.addReg(ptr(j), segs)
		}
		outputs(func(j int, first, second func(i int) mem) {
			for i := range r {
				t.vjoin(held(0), first(i), second(i))
				t.vgate(acc(i, j), held(0), stream.pair())
			}
		})
		for j := range p {
			t.load(ptr(j), at(args, convArg.out+8*j))
		}
	}, func() {
		outputs(func(j int, first, second func(i int) mem) {
			for i := range r {
				t.vsplit(acc(i, j), first(i), second(i))
			}
		})
	})
}

// joinKernel emits Join.
func joinKernel(t target) {
	const dst, a, b, n reg = 0, 1, 2, 3
	t.text("Join", "writes n pairs of lane vectors to dst, one of a and one of b each.", "dst, a, b unsafe.Pointer, n int", 32)
	for i, name := range []string{"dst", "a", "b", "n"} {
		t.loadArg(reg(i), name, 8*i)
	}
	t.label("loop")
	t.vload(0, at(a, 0))
	t.vload(1, at(b, 0))
	t.vstore(0, at(dst, 0))
	t.vstore(1, at(dst, 32))
	t.addImm(a, 32)
	t.addImm(b, 32)
	t.addImm(dst, 64)
	t.dec(n)
	t.jump(notZero, "loop")
	t.ret()
}
