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
	second bool
	used   uint32          // in this kernel
	free   map[string]half // by kernel, from the first time
	kernel string

	base, index reg // whose sum addr holds, if it does
	summed      bool
	stack       int // bytes of the next kernel's frame
}

func newNEON() *neon { return &neon{free: map[string]half{}} }

// again returns the target for the second time.
func (a *neon) again() target {
	a.endKernel()
	return &neon{free: a.free, second: true}
}

// Registers of the target's own, behind those of the kernels. R18 would be the
// platform's, R27 and on the assembler's, Go's and the calls'.
const (
	addr reg = 14 // a sum of base and index, or an address beyond an instruction's reach
	temp reg = 15
)

func (r reg) arm64() string { return "R" + strconv.Itoa(int(r)) }

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
	fmt.Fprintf(&a.buf, "\n// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $%d-%d\n", name, params, name, a.stack, argBytes)
	a.stack = 0
}

func (a *neon) endKernel() {
	if a.kernel != "" && a.used != 1<<32-1 {
		a.free[a.kernel] = half(bits.Len32(^a.used) - 1)
	}
	a.used, a.kernel, a.summed = 0, "", false
}

// scratch returns a register that the kernel does not use.
func (a *neon) scratch() half {
	h, ok := a.free[a.kernel]
	if a.second && !ok {
		panic("asmgen: " + a.kernel + " leaves no register free")
	}
	return h // the first time any: what is written is thrown away
}

func (a *neon) comment(format string, args ...any) {
	fmt.Fprintf(&a.buf, "\t// "+format+"\n", args...)
}

func (a *neon) regName(r reg) string { return r.arm64() }

func (a *neon) vecNames(first vec, n int) string {
	return runNames("v", 2*int(first), 2*(int(first)+n)-1)
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
func (a *neon) prefetchL2(m mem)          { a.op("PRFM", a.goMem(m), "PLDL2KEEP") }
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

func (a *neon) source() []byte {
	a.endKernel()
	return append([]byte("// Code generated by internal/asmgen. DO NOT EDIT.\n\n//go:build !purego\n\n#include \"textflag.h\"\n"), a.buf.Bytes()...)
}

func (a *neon) stubs() []stub { return a.decls }
