package main

import (
	"fmt"
	"unsafe"

	"github.com/epsball/epsball/asm"
)

// emitNoise emits draws of noise by a table: of AVX2 alone, for others have nothing to look eight
// entries up with.
func emitNoise(t target) {
	a := t.(*avx2)
	const args, levels, quick, words, misses, keys, x, left, tmp reg = 0, 1, 2, 3, 4, 5, 6, 7, 8
	a.text("Noise", "draws values of noise of eight lanes, as NoiseArgs describes.", "a *NoiseArgs", 8)
	explain(a, `block: eight values.
%s arguments, %s levels, %s table, %s words, %s misses, %s keys, %s values, %s blocks left.
A product of 32 bits by 32 takes half of the lanes, so that words are in two halves: of even
lanes and of odd ones, above what is left of products.`, args, levels, quick, words, misses, keys, x, left)
	var n asm.NoiseArgs
	field := func(off uintptr) mem { return at(args, int(off)) }
	a.loadArg(args, "a", 0)
	for _, f := range []struct {
		r   reg
		off uintptr
	}{
		{levels, unsafe.Offsetof(n.Levels)},
		{quick, unsafe.Offsetof(n.Quick)},
		{words, unsafe.Offsetof(n.Words)},
		{misses, unsafe.Offsetof(n.Misses)},
		{keys, unsafe.Offsetof(n.Keys)},
		{x, unsafe.Offsetof(n.X)},
		{left, unsafe.Offsetof(n.Blocks)},
	} {
		a.load(f.r, field(f.off))
	}
	int32Of := func(v uint32) string { return fmt.Sprintf("$0x%08x", v) }
	three := func(name string, dst, p, q vec) { a.op(name, q.amd64(), p.amd64(), dst.amd64()) }
	shift := func(name string, dst, v vec, by int) { a.op(name, imm(by), v.amd64(), dst.amd64()) }
	splat32 := func(dst vec, m mem) { a.op("VPBROADCASTD", m.amd64(), dst.amd64()) }
	constant := func(dst vec, v uint32) {
		a.op("MOVL", int32Of(v), tmp.amd64())
		a.op("VMOVD", tmp.amd64(), dst.xmm())
		a.op("VPBROADCASTD", dst.xmm(), dst.amd64())
	}

	a.label("block")
	// Registers 0–7: the words, of even lanes and of odd ones; 8 and 9: factors; 10–13: products.
	c := [2][4]vec{{0, 1, 2, 3}, {4, 5, 6, 7}}
	free := [2][2]vec{{10, 11}, {12, 13}}
	const m0, m1, key vec = 8, 9, 14
	splat32(c[0][0], field(unsafe.Offsetof(n.First)))
	splat32(c[0][1], field(unsafe.Offsetof(n.Sample)))
	a.op("VPADDD", field(unsafe.Offsetof(n.Lanes)).amd64(), c[0][1].amd64(), c[0][1].amd64())
	splat32(c[0][2], field(unsafe.Offsetof(n.Third)))
	splat32(c[0][3], field(unsafe.Offsetof(n.Fourth)))
	for _, k := range []int{0, 2, 3} {
		a.vmove(c[1][k], c[0][k])
	}
	shift("VPSRLQ", c[1][1], c[0][1], 32)
	constant(m0, 0xD2511F53)
	constant(m1, 0xCD9E8D57)
	for round := range 10 {
		for half := range c {
			w, p0, p1 := &c[half], free[half][0], free[half][1]
			three("VPMULUDQ", p0, w[0], m0)
			three("VPMULUDQ", p1, w[2], m1)
			shift("VPSRLQ", w[0], p1, 32) // the first and third word are not needed any more
			shift("VPSRLQ", w[2], p0, 32)
			three("VPXOR", w[0], w[0], w[1])
			three("VPXOR", w[2], w[2], w[3])
			splat32(key, at(keys, 8*round))
			three("VPXOR", w[0], w[0], key)
			splat32(key, at(keys, 8*round+4))
			three("VPXOR", w[2], w[2], key)
			free[half] = [2]vec{w[1], w[3]}
			w[1], w[3] = p1, p0
		}
	}
	for k := range 4 { // both halves in one vector
		shift("VPSLLQ", c[1][k], c[1][k], 32)
		a.op("VPBLENDD", "$0xaa", c[1][k].amd64(), c[0][k].amd64(), c[0][k].amd64())
		a.vstore(c[0][k], at(words, 32*k))
	}
	w := c[0]
	var rest []vec // all but the words
	for v := range vec(16) {
		if v != w[0] && v != w[1] && v != w[2] && v != w[3] {
			rest = append(rest, v)
		}
	}
	top, index, mask, e, less, k, bad, low, zero, base, all := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6], rest[7], rest[8], rest[9], rest[10]
	constant(low, 0xffff)
	constant(all, 0x437f0000) // 255
	splat32(base, field(unsafe.Offsetof(n.Base)))
	a.vzero(zero)
	a.vzero(bad)
	for j := range 8 {
		if j%2 == 0 {
			three("VPAND", top, w[j/2], low)
		} else {
			shift("VPSRLD", top, w[j/2], 16)
		}
		shift("VPSRLD", index, top, 4)
		three("VPCMPEQD", mask, mask, mask)
		a.op("VPGATHERDD", mask.amd64(), fmt.Sprintf("(%s)(%s*4)", quick.amd64(), index.amd64()), e.amd64())
		three("VPAND", less, e, low)
		three("VPSUBD", less, less, top)
		three("VPCMPEQD", mask, less, zero)
		three("VPOR", mask, mask, e)
		shift("VPSRLD", mask, mask, 31)
		shift("VPSLLD", mask, mask, 31-j)
		three("VPOR", bad, bad, mask)
		shift("VPSRLD", e, e, 16)
		shift("VPSRLD", less, less, 31)
		splat32(k, at(levels, 4*j))
		three("VPADDD", k, k, e)
		three("VPADDD", k, k, less)
		three("VPADDD", k, k, base)
		a.op("VCVTDQ2PS", k.amd64(), k.amd64())
		a.vdiv(k, k, all)
		a.vstore(k, at(x, 32*j))
	}
	a.vstore(bad, at(misses, 0))
	a.addImm(levels, 32)
	a.addImm(words, 128)
	a.addImm(misses, 32)
	a.addImm(x, 256)
	a.op("INCL", field(unsafe.Offsetof(n.First)).amd64())
	a.dec(left)
	a.jump(notZero, "block")
	a.ret()
}
