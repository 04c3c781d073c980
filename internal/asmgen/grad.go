package main

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// gradTiles are the GradRxK kernels: R output channels times K weights.
var gradTiles = [][2]int{
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
	for _, rk := range gradTiles {
		gradKernel(t, rk[0], rk[1])
	}
}

// gradKernel emits GradRxK.
//
// Register map: vectors 0 … R·K−1 are the accumulators of (channel, weight),
// row by row, then K input vectors, then the streaming gradient vectors.
func gradKernel(t target, r, k int) {
	const (
		args, dy, x, cols, rows, groups, tiles, out, dyCol, xCol, tmp reg = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
	)
	var a asm.GradArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	acc := func(i, j int) vec { return vec(i*k + j) }
	held := vec(r * k)
	stream := held + vec(k)

	t.text(fmt.Sprintf("Grad%dx%d", r, k),
		fmt.Sprintf("computes the gradient of %d output channels by %d weights; see GradArgs.", r, k), "a *GradArgs", 8)
	t.loadArg(args, "a", 0)
	t.load(tiles, field(unsafe.Offsetof(a.Tiles)))
	t.load(out, field(unsafe.Offsetof(a.Out)))
	t.load(dyCol, field(unsafe.Offsetof(a.DYCol)))
	t.load(xCol, field(unsafe.Offsetof(a.XCol)))
	t.clear(tmp) // byte offset of the tile's first input vector

	t.label("tile")
	for v := range vec(r * k) {
		t.vzero(v)
	}
	t.load(dy, field(unsafe.Offsetof(a.DY)))
	t.load(x, field(unsafe.Offsetof(a.X)))
	t.addReg(x, tmp)
	t.load(groups, field(unsafe.Offsetof(a.Groups)))
	t.label("group")
	t.load(rows, field(unsafe.Offsetof(a.Rows)))
	t.label("row")
	t.load(cols, field(unsafe.Offsetof(a.Cols)))
	t.label("colloop")
	for j := range k {
		t.vload(held+vec(j), at(x, 32*j))
	}
	for i := range r {
		t.vload(stream, at(dy, 32*i))
		for j := range k {
			t.vfma(acc(i, j), held+vec(j), stream)
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

	t.move(dy, out)
	for i := range r {
		for j := range k {
			t.lane8Sum(acc(i, j), held, at(dy, 4*j))
		}
		t.addMem(dy, field(unsafe.Offsetof(a.OutStride)))
	}
	t.addImm(out, 4*k)
	t.addImm(tmp, 32*k)
	t.dec(tiles)
	t.jump(notZero, "tile")
	t.ret()
}
