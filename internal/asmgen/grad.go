package main

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// gradTiles are the GradRxK kernels of an ISA: R output channels times K
// weights. With pairs neighbouring weights share a register, and nothing but
// loads and FMAs is left. For the last channels and weights AVX2's do: 4x3 with
// a pair was slower (with three input channels, half of its loads would cross a
// cache line).
var gradTiles = map[string][][2]int{
	"avx2":   narrowGradTiles,
	"neon":   narrowGradTiles,
	"avx512": {{4, 12}, {4, 8}, {4, 4}},
}

var narrowGradTiles = [][2]int{
	{4, 3},
	{4, 2},
	{4, 1},
	{3, 3},
	{3, 2},
	{3, 1},
	{2, 3},
	{2, 2},
	{2, 1},
	{1, 3},
	{1, 2},
	{1, 1},
}

func emitGrad(t target) {
	for _, rk := range gradTiles[t.isa()] {
		gradKernel(t, rk[0], rk[1])
	}
}

// gradKernel emits GradRxK.
//
// Register map: vectors 0 … R·K−1 are the accumulators of (channel, weight),
// row by row, then K input vectors, then the streaming gradient vector. With
// pairs a register has two neighbouring weights or inputs, or the same gradient
// vector twice.
func gradKernel(t target, r, k int) {
	const (
		args, dy, x, cols, rows, groups, tiles, out, dyCol, xCol, tmp, sums reg = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	)
	var a asm.GradArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	weights := units(t, k)
	acc := func(i, j int) vec { return weights[j].of(vec(i*len(weights) + j)) }
	held := vec(r * len(weights))
	stream := held + vec(len(weights))

	t.text(fmt.Sprintf("Grad%dx%d", r, k),
		fmt.Sprintf("computes the gradient of %d output channels by %d weights; see GradArgs.", r, k), "a *GradArgs", 8)
	explain(t, `tile: weights, group, row, colloop: pixels.
%s args, %s gradient, %s input, %s columns, %s rows, %s groups and %s tiles left, %s output, %s and %s steps of a column, %s input of the tile, %s sums.
%s sums by (channel, weight), %s inputs, %s gradient.`,
		args, dy, x, cols, rows, groups, tiles, out, dyCol, xCol, tmp, sums,
		run{acc(0, 0), r * len(weights)}, run{weights[0].of(held), len(weights)}, weights[0].of(stream))
	t.loadArg(args, "a", 0)
	t.load(tiles, field(unsafe.Offsetof(a.Tiles)))
	t.load(out, field(unsafe.Offsetof(a.Out)))
	t.load(dyCol, field(unsafe.Offsetof(a.DYCol)))
	t.load(xCol, field(unsafe.Offsetof(a.XCol)))
	t.clear(tmp) // byte offset of the tile's first input vector
	t.load(sums, field(unsafe.Offsetof(a.Sums)))
	eachSum := func(f func(v vec, m mem), from int) {
		for i := range r {
			for j, u := range weights {
				f(acc(i, j), at(sums, 32*(i*k+u.first)+from))
			}
		}
	}

	t.label("tile")
	t.compareImm(sums, 0)
	t.jump(zero, "fresh")
	eachSum(t.vload, 0)
	t.addImm(sums, 32*r*k)
	t.jump(always, "ready")
	t.label("fresh")
	for v := range held {
		t.vzero(v)
	}
	t.label("ready")
	t.load(dy, field(unsafe.Offsetof(a.DY)))
	t.load(x, field(unsafe.Offsetof(a.X)))
	t.addReg(x, tmp)
	t.load(groups, field(unsafe.Offsetof(a.Groups)))
	t.label("group")
	t.load(rows, field(unsafe.Offsetof(a.Rows)))
	t.label("row")
	t.load(cols, field(unsafe.Offsetof(a.Cols)))
	t.label("colloop")
	for j, u := range weights {
		t.vload(u.of(held+vec(j)), at(x, 32*u.first))
	}
	for i := range r {
		t.vdup(weights[0].of(stream), at(dy, 32*i))
		for j, u := range weights {
			t.vfma(acc(i, j), u.of(held+vec(j)), u.of(stream))
		}
	}
	t.addReg(dy, dyCol)
	t.addReg(x, xCol)
	t.dec(cols)
	t.jump(notZero, "colloop")
	t.addMem(dy, field(unsafe.Offsetof(a.DYRow)))
	t.addMem(x, field(unsafe.Offsetof(a.XRow)))
	t.dec(rows)
	t.jump(notZero, "row")
	t.addMem(dy, field(unsafe.Offsetof(a.DYGroup)))
	t.addMem(x, field(unsafe.Offsetof(a.XGroup)))
	t.dec(groups)
	t.jump(notZero, "group")

	t.compareImm(out, 0)
	t.jump(notZero, "total")
	eachSum(t.vstore, -32*r*k)
	t.jump(always, "next")

	t.label("total")
	if s, ok := t.(summer); ok {
		rowOut := [4]reg{out, dy, x, rows}
		for i := 1; i < r; i++ {
			t.move(rowOut[i], rowOut[i-1])
			t.addMem(rowOut[i], field(unsafe.Offsetof(a.OutStride)))
		}
		for j := 0; j < len(weights); j += 2 {
			var v [8]vec
			var to [4]mem
			for i := range r {
				v[2*i], v[2*i+1] = acc(i, j), acc(i, j+1)
				to[i] = at(rowOut[i], 8*j)
			}
			s.laneSums16(v, held, to)
		}
	} else {
		t.move(dy, out)
		for i := range r {
			for j := range weights {
				t.lane8Sum(acc(i, j), held, at(dy, 4*j))
			}
			t.addMem(dy, field(unsafe.Offsetof(a.OutStride)))
		}
	}
	t.addImm(out, 4*k)
	t.label("next")
	t.addImm(tmp, 32*k)
	t.dec(tiles)
	t.jump(notZero, "tile")
	t.ret()
}

// summer is a target that adds up many lane vectors at once; then R must be 4
// and K a multiple of it.
type summer interface {
	laneSums16(v [8]vec, tmp vec, to [4]mem)
}
