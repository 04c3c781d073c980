package main

import (
	"bytes"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// neon is arm64 with ASIMD, which all of them have: a lane vector is two
// registers of four float32, so that vec v has halves 2v and 2v+1. General
// instructions are written in Go's names; Go's assembler lacks most of the
// others, which are all words (arm64.go).
type neon struct {
	buf   bytes.Buffer
	decls []stub

	// A kernel is written twice: the first time tells which registers it leaves
	// free, of which the operations that need one take the last in the second.
	used   uint32          // in this kernel
	free   map[string]half // by kernel, from the first time
	kernel string

	base, index reg // whose sum addr holds, if it does
	summed      bool
}

func newNEON() *neon { return &neon{free: map[string]half{}} }

// again returns the target for the second time.
func (a *neon) again() target {
	a.endKernel()
	return &neon{free: a.free}
}

// arm64Regs leaves out R18 (the platform's) and R27 on, which are the
// assembler's, Go's and the calls'.
var arm64Regs = [...]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// Registers of the target's own, behind those of the kernels.
const (
	addr reg = 14 // a sum of base and index, or an address beyond an instruction's reach
	temp reg = 15
)

func (r reg) arm64() string { return "R" + strconv.Itoa(arm64Regs[r]) }

func (a *neon) isa() string    { return "neon" }
func (a *neon) suffix() string { return "neon_arm64" }
func (a *neon) vecs() int      { return 16 }
func (a *neon) span() int      { return 1 }
func (a *neon) indexed() bool  { return false }

func (v vec) halves() [2]half { return [2]half{half(2 * v), half(2*v + 1)} }

func (a *neon) op(name string, operands ...string) {
	a.buf.WriteString(strings.TrimRight(fmt.Sprintf("\t%-6s %s", name, strings.Join(operands, ", ")), " ") + "\n")
}

// word emits an instruction on vector registers.
func (a *neon) word(w word, registers ...half) {
	for _, r := range registers {
		a.used |= 1 << r
	}
	fmt.Fprintf(&a.buf, "\tWORD   $0x%08x // %s\n", w.bits, w.text)
}

func (a *neon) text(name, doc, params string, argBytes int) {
	a.endKernel()
	name += "NEON"
	a.kernel = name
	a.decls = append(a.decls, stub{name, doc, params})
	fmt.Fprintf(&a.buf, "\n// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, params, name, argBytes)
}

func (a *neon) endKernel() {
	if a.kernel != "" && a.used != 1<<32-1 {
		a.free[a.kernel] = half(bits.Len32(^a.used) - 1)
	}
	a.used, a.kernel, a.summed = 0, "", false
}

// scratch returns a register that the kernel does not use.
func (a *neon) scratch() half {
	if h, ok := a.free[a.kernel]; ok {
		return h
	}
	if len(a.free) > 0 && a.used == 1<<32-1 {
		panic(a.kernel + " leaves no register free")
	}
	return 0 // the first time: what is written is thrown away
}

func (a *neon) comment(format string, args ...any) {
	fmt.Fprintf(&a.buf, "\t// "+format+"\n", args...)
}

func (a *neon) loadArg(dst reg, name string, off int) {
	a.changed(dst)
	a.op("MOVD", fmt.Sprintf("%s+%d(FP)", name, off), dst.arm64())
}

func (a *neon) splatArg(dst vec, name string, off int) {
	a.op("MOVWU", fmt.Sprintf("%s+%d(FP)", name, off), temp.arm64())
	a.dupGeneral(dst)
}

// dupGeneral splats temp.
func (a *neon) dupGeneral(dst vec) {
	for _, h := range dst.halves() {
		a.word(encDupGeneral(h, temp), h)
	}
}

func (a *neon) label(name string) {
	a.summed = false
	if strings.HasSuffix(name, "loop") {
		a.op("PCALIGN", "$16")
	}
	fmt.Fprintf(&a.buf, "%s:\n", name)
}

func (a *neon) jump(c cond, label string) {
	a.op(map[cond]string{always: "B", zero: "BEQ", notZero: "BNE", less: "BLT", lessEqual: "BLE", greater: "BGT", greaterEqual: "BGE"}[c], label)
}

func (a *neon) ret()   { a.op("RET") }
func (a *neon) pause() { a.op("YIELD") }

// changed notes that a general register has a new value.
func (a *neon) changed(r reg) {
	if r == a.base || r == a.index || r == addr {
		a.summed = false
	}
}

// place returns a base register and an offset that fits for the address m.
func (a *neon) place(m mem, fits func(disp int) bool) (reg, int) {
	if m.index >= 0 {
		if !a.summed || a.base != m.base || a.index != m.index {
			a.op("ADD", m.index.arm64(), m.base.arm64(), addr.arm64())
			a.base, a.index, a.summed = m.base, m.index, true
		}
		m.base = addr
	}
	if fits(m.disp) {
		return m.base, m.disp
	}
	a.summed = false
	a.op("ADD", imm(m.disp), m.base.arm64(), addr.arm64())
	return addr, 0
}

func (a *neon) goMem(m mem) string {
	base, disp := a.place(m, func(int) bool { return true })
	if disp == 0 {
		return "(" + base.arm64() + ")"
	}
	return fmt.Sprintf("%d(%s)", disp, base.arm64())
}

func (a *neon) general(name string, dst reg, operands ...string) {
	a.op(name, append(operands, dst.arm64())...)
	a.changed(dst)
}

func (a *neon) load(dst reg, m mem)       { a.general("MOVD", dst, a.goMem(m)) }
func (a *neon) load32(dst reg, m mem)     { a.general("MOVW", dst, a.goMem(m)) }
func (a *neon) store(src reg, m mem)      { a.op("MOVD", src.arm64(), a.goMem(m)) }
func (a *neon) prefetch(m mem)            { a.op("PRFM", a.goMem(m), "PLDL1KEEP") }
func (a *neon) move(dst, src reg)         { a.general("MOVD", dst, src.arm64()) }
func (a *neon) clear(dst reg)             { a.general("MOVD", dst, "ZR") }
func (a *neon) addReg(dst, src reg)       { a.general("ADDS", dst, src.arm64()) }
func (a *neon) neg(dst reg)               { a.general("NEG", dst, dst.arm64()) }
func (a *neon) shiftLeft(dst reg, n int)  { a.general("LSL", dst, imm(n)) }
func (a *neon) shiftRight(dst reg, n int) { a.general("LSR", dst, imm(n)) }
func (a *neon) dec(dst reg)               { a.general("SUBS", dst, imm(1)) }
func (a *neon) compareImm(r reg, n int)   { a.op("CMP", imm(n), r.arm64()) }

func (a *neon) addImm(dst reg, n int) {
	if n < 0 {
		a.general("SUBS", dst, imm(-n))
		return
	}
	a.general("ADDS", dst, imm(n))
}

func (a *neon) addMem(dst reg, m mem) {
	a.op("MOVD", a.goMem(m), temp.arm64())
	a.addReg(dst, temp)
}

func (a *neon) pair(op string, v vec, m mem) {
	base, disp := a.place(m, pairFits)
	h := v.halves()
	a.word(encPair(op, h[0], h[1], base, disp), h[:]...)
}

func (a *neon) vload(dst vec, m mem)  { a.pair("ldp", dst, m) }
func (a *neon) vstore(src vec, m mem) { a.pair("stp", src, m) }
func (a *neon) vdup(dst vec, m mem)   { a.vload(dst, m) }
func (a *neon) splatInit(reg)         {}

func (a *neon) scalar(op, as string, h half, m mem) {
	base, disp := a.place(m, func(disp int) bool { return scalarFits(as, disp) })
	a.word(encScalar(op, as, h, base, disp), h)
}

func (a *neon) vsplat(dst vec, m mem) {
	h := dst.halves()
	a.scalar("ldr", "s", h[0], m)
	a.word(encTwo("dup", h[1], h[0]), h[1])
	a.word(encTwo("dup", h[0], h[0]), h[0])
}

// loadWords loads n ≤ 4 float32 from memory to the first elements of a register.
func (a *neon) loadWords(dst half, n int, m mem) {
	as := []string{1: "s", 2: "d", 3: "d", 4: "q"}[n]
	a.scalar("ldr", as, dst, m)
	if n == 3 {
		base, disp := a.place(mem{m.base, m.index, m.disp + 8}, func(disp int) bool { return disp == 0 })
		if disp != 0 {
			panic("place gave an offset")
		}
		a.word(encLoadElement(dst, 2, base), dst)
	}
}

func (a *neon) loadHalf(dst half, m mem) { a.scalar("ldr", "q", dst, m) }

// widen loads 16-bit values as float32: eight for a lane vector, by what takes the
// lower four of a register and what takes the upper four, or four for a half.
func (a *neon) widen(low, high string, dst vec, m mem) {
	h := dst.halves()
	a.scalar("ldr", "q", h[0], m)
	a.word(encTwo(high, h[1], h[0]), h[1])
	a.word(encTwo(low, h[0], h[0]))
}

func (a *neon) widenHalf(low string, dst half, m mem) {
	a.scalar("ldr", "d", dst, m)
	a.word(encTwo(low, dst, dst))
}

func (a *neon) vloadBF16(dst vec, m mem)     { a.widen("shll", "shll2", dst, m) }
func (a *neon) vloadF16(dst vec, m mem)      { a.widen("fcvtl", "fcvtl2", dst, m) }
func (a *neon) loadHalfBF16(dst half, m mem) { a.widenHalf("shll", dst, m) }
func (a *neon) loadHalfF16(dst half, m mem)  { a.widenHalf("fcvtl", dst, m) }

func (a *neon) fmaElement(acc, x vec, w half, element int) {
	for i, h := range acc.halves() {
		a.fmaHalf(h, x.halves()[i], w, element)
	}
}

func (a *neon) fmaHalf(acc, x, w half, element int) {
	a.word(encElement("fmla", acc, x, w, element), acc, x, w)
}

func (a *neon) mulElement(dst, x vec, w half, element int) {
	for i, h := range dst.halves() {
		a.word(encElement("fmul", h, x.halves()[i], w, element), h, w)
	}
}

func (a *neon) absHalf(h half) { a.word(encTwo("fabs", h, h), h) }

// three emits an operation on both halves.
func (a *neon) three(op string, dst, x, y vec) {
	for i, d := range dst.halves() {
		n, m := x.halves()[i], y.halves()[i]
		a.word(encThree(op, d, n, m), d, n, m)
	}
}

func (a *neon) two(op string, dst, x vec) {
	for i, d := range dst.halves() {
		n := x.halves()[i]
		a.word(encTwo(op, d, n), d, n)
	}
}

func (a *neon) vmove(dst, src vec) {
	for i, d := range dst.halves() {
		a.word(encMove(d, src.halves()[i]), d)
	}
}

func (a *neon) vzero(dst vec) {
	for _, d := range dst.halves() {
		a.word(encZero(d), d)
	}
}

func (a *neon) vadd(dst, x, y vec)       { a.three("fadd", dst, x, y) }
func (a *neon) vsub(dst, x, y vec)       { a.three("fsub", dst, x, y) }
func (a *neon) vmul(dst, x, y vec)       { a.three("fmul", dst, x, y) }
func (a *neon) vdiv(dst, x, y vec)       { a.three("fdiv", dst, x, y) }
func (a *neon) vsqrt(dst, x vec)         { a.two("fsqrt", dst, x) }
func (a *neon) vfma(acc, x, y vec)       { a.three("fmla", acc, x, y) }
func (a *neon) vand(dst, x, y vec)       { a.three("and", dst, x, y) }
func (a *neon) vor(dst, x, y vec)        { a.three("orr", dst, x, y) }
func (a *neon) vxor(dst, x, y vec)       { a.three("eor", dst, x, y) }
func (a *neon) vandNot(dst, mask, v vec) { a.three("bic", dst, v, mask) }
func (a *neon) vaddInt(dst, x, y vec)    { a.three("add", dst, x, y) }
func (a *neon) vsubInt(dst, x, y vec)    { a.three("sub", dst, x, y) }

func (a *neon) vfmaMem(vec, vec, mem) { panic("asmgen: FMAs of arm64 take no memory") }

// choose leaves yes where test holds and no elsewhere.
func (a *neon) choose(dst, yes, no vec, test func(mask half, i int)) {
	for i, d := range dst.halves() {
		y, n := yes.halves()[i], no.halves()[i]
		mask := d
		if dst == yes || dst == no {
			mask = a.scratch()
		}
		test(mask, i)
		switch dst {
		case yes:
			a.word(encThree("bif", d, n, mask), d)
		case no:
			a.word(encThree("bit", d, y, mask), d)
		default:
			a.word(encThree("bsl", d, y, n), d)
		}
	}
}

func (a *neon) vmax(dst, x, y vec) {
	a.choose(dst, x, y, func(mask half, i int) {
		a.word(encThree("fcmgt", mask, x.halves()[i], y.halves()[i]))
	})
}

func (a *neon) vmin(dst, x, y vec) {
	a.choose(dst, x, y, func(mask half, i int) {
		a.word(encThree("fcmgt", mask, y.halves()[i], x.halves()[i]))
	})
}

func (a *neon) vselect(dst, mask, yes, no vec) {
	a.choose(dst, yes, no, func(sign half, i int) {
		a.word(encTwo("sshr31", sign, mask.halves()[i]))
	})
}

func (a *neon) vrelu(v, _, tmp vec) {
	for i, h := range v.halves() {
		mask := tmp.halves()[i]
		a.word(encTwo("fcmlt0", mask, h), mask)
		a.word(encThree("bic", h, h, mask), h)
	}
}

func (a *neon) vgate(v, gate, _ vec) {
	a.two("fcmgt0", gate, gate)
	a.vand(v, v, gate)
}

func (a *neon) vnonzero(dst, x, _ vec) {
	a.two("fabs", dst, x)
	a.two("fcmgt0", dst, dst)
}

func (a *neon) vless(dst, x, y vec) { a.three("fcmgt", dst, y, x) }

func (a *neon) vconst(dst vec, name string) {
	for _, c := range laneConsts {
		if c.name == name {
			a.op("MOVD", "$0x"+c.bits, temp.arm64())
			a.dupGeneral(dst)
			return
		}
	}
	panic("asmgen: no constant " + name)
}

// eachMasked calls f for each lane of v whose mask is negative, between jumps;
// f must emit the given number of instructions.
func (a *neon) eachMasked(v, mask vec, instructions int, f func(h half, element, lane int)) {
	for lane := range 8 {
		i, e := lane/4, lane%4
		a.word(encGet(temp, mask.halves()[i], e))
		a.op("TBZ", "$31", temp.arm64(), fmt.Sprintf("%d(PC)", instructions+1))
		f(v.halves()[i], e, lane)
	}
}

func (a *neon) vstoreMask(src, mask vec, m mem) {
	base, disp := a.place(m, func(int) bool { return true })
	a.eachMasked(src, mask, 2, func(h half, e, lane int) {
		a.word(encGet(temp, h, e), h)
		a.op("MOVW", temp.arm64(), fmt.Sprintf("%d(%s)", disp+4*lane, base.arm64()))
	})
}

// vloadMask may have one register for dst and mask: a lane's mask is read before
// the lane is written.
func (a *neon) vloadMask(dst, mask vec, m mem) {
	base, disp := a.place(m, func(int) bool { return true })
	for lane := range 8 {
		i, e := lane/4, lane%4
		d := dst.halves()[i]
		a.word(encGet(temp, mask.halves()[i], e))
		a.op("TBNZ", "$31", temp.arm64(), "3(PC)")
		a.op("MOVD", "ZR", temp.arm64())
		a.op("B", "2(PC)")
		a.op("MOVWU", fmt.Sprintf("%d(%s)", disp+4*lane, base.arm64()), temp.arm64())
		a.word(encPut(d, e, temp), d)
	}
}

func (a *neon) vgather(dst, _ vec, base reg, index [8]reg) {
	for lane, x := range index {
		h, e := dst.halves()[lane/4], lane%4
		if e == 0 {
			a.word(encIndexed("s", h, base, x), h)
			continue
		}
		at, _ := a.place(atIndex(base, x, 0), func(int) bool { return true })
		a.word(encLoadElement(h, e, at), h)
	}
}

func (a *neon) vtranspose4(v, tmp [4]vec) {
	for i := range 2 {
		r := func(v vec) half { return v.halves()[i] }
		for j := 0; j < 4; j += 2 {
			a.word(encThree("trn1", r(tmp[j]), r(v[j]), r(v[j+1])), r(tmp[j]))
			a.word(encThree("trn2", r(tmp[j+1]), r(v[j]), r(v[j+1])), r(tmp[j+1]))
		}
		for j := range 2 {
			a.word(encThree("trn1d", r(v[j]), r(tmp[j]), r(tmp[j+2])))
			a.word(encThree("trn2d", r(v[j+2]), r(tmp[j]), r(tmp[j+2])))
		}
	}
}

func (a *neon) vstoreHalf(src vec, high int, m mem) { a.scalar("str", "q", src.halves()[high], m) }

func (a *neon) lane8Sum(v, tmp vec, m mem) {
	h, t := v.halves(), tmp.halves()[0]
	a.word(encThree("fadd", h[0], h[0], h[1]))
	a.word(encSwap(t, h[0]), t)
	a.word(encThree("fadd", h[0], h[0], t))
	a.word(encTwo("faddp", h[0], h[0]))
	a.scalar("str", "s", h[0], m)
}

func (a *neon) source() []byte {
	a.endKernel()
	return append([]byte("// Code generated by internal/asmgen. DO NOT EDIT.\n\n//go:build !purego\n\n#include \"textflag.h\"\n"), a.buf.Bytes()...)
}

func (a *neon) stubs() []stub { return a.decls }
